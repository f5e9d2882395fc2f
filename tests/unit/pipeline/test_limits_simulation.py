"""Ten minutes of a provider that counts strictly: its quota is used, nothing is refused, and nobody is starved."""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import Usage
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.limits import limits
from core.llm.pipeline.upstream import Upstream
from core.llm.routing.tokens import estimate_input
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, a_call, a_target, an_answer

MINUTES = 10
WORD = "lorem "


@dataclass
class StrictProvider:
    """Counts requests and tokens when a request arrives, in a sliding minute and in buckets of one minute's quota."""

    clock: FakeClock
    rng: random.Random
    requests_per_minute: int
    tokens_per_minute: int
    refused: int = 0
    requests: int = 0
    tokens: int = 0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _buckets: tuple[float, float] = (0.0, 0.0)
    _at: float = 0.0

    async def __call__(self, call: Call) -> Reply:
        await self.clock.sleep(self.rng.uniform(0.0, 0.2))  # on its way
        usage = usage_of(call)
        if not self.admits(usage.total):
            self.refused += 1
            raise ProviderError("rate_limit", "too many", status_code=429, retry_after=5.0)
        self.requests += 1
        self.tokens += usage.total
        await self.clock.sleep(self.rng.uniform(0.2, 1.2))
        return Reply(call, response=an_answer(usage=usage))

    def admits(self, tokens: int) -> bool:
        """Whether one more request of so many tokens is within all limits; it is counted if so."""
        now = self.clock.monotonic()
        while self._seen and self._seen[0][0] <= now - 60.0:
            self._seen.popleft()
        since, self._at = now - self._at, now
        requests = max(0.0, self._buckets[0] - since * self.requests_per_minute / 60) + 1
        used = max(0.0, self._buckets[1] - since * self.tokens_per_minute / 60) + tokens
        if (
            max(requests, len(self._seen) + 1) > self.requests_per_minute
            or max(used, sum(amount for _, amount in self._seen) + tokens) > self.tokens_per_minute
        ):
            self._buckets = requests - 1, used - tokens
            return False
        self._buckets = requests, used
        self._seen.append((now, tokens))
        return True


def usage_of(call: Call) -> Usage:
    """What the provider counts: a little less than was estimated, and most of what was allowed."""
    share, answer = call.request.metadata["counted"], call.request.metadata["answer"]
    return Usage(input=int(estimate_input(call.request) * share), output=answer)


@dataclass
class Waits:
    """Seconds from asking to being sent, of small requests and of large ones."""

    small: list[float] = field(default_factory=list)
    large: list[float] = field(default_factory=list)


async def simulate(seed: int, rpm: int, tpm: int, large_share: float) -> tuple[StrictProvider, Waits]:
    """Forty callers that want more than there is, for ten minutes."""
    clock, rng = FakeClock(), random.Random(seed)
    provider = StrictProvider(clock, rng, rpm, tpm)
    target = a_target(rate_limits={"requests_per_minute": rpm, "tokens_per_minute": tpm})
    handler = limits(target, Upstream(clock.monotonic()), a_call(clock=clock).events)(provider)
    waits, end = Waits(), clock.monotonic() + MINUTES * 60

    async def caller() -> None:
        await clock.sleep(rng.uniform(0.0, 2.0))
        while clock.monotonic() < end:
            large = rng.random() < large_share
            words = rng.randint(2500, 4000) if large else rng.randint(50, 250)
            facts = {"counted": rng.uniform(0.9, 1.05), "answer": rng.randint(80, 120)}
            call = a_call(clock=clock, messages=WORD * words, max_tokens=120, metadata=facts)
            attempt = call.attempt = AttemptTrace(1, ALPHA, 0.0)
            try:
                async with await handler(call):
                    pass
            except ProviderError:
                continue  # the provider has counted it
            finally:
                # Also where it still waits in the end: who is starved has never been sent.
                (waits.large if large else waits.small).append(attempt.queued)

    callers = [asyncio.create_task(caller()) for _ in range(40)]
    try:
        await clock.advance(MINUTES * 60)
    finally:
        for task in callers:
            task.cancel()
        ends = await asyncio.gather(*callers, return_exceptions=True)
    assert not [end for end in ends if isinstance(end, Exception)], "a caller was turned away, and asked no more"
    return provider, waits


@pytest.mark.parametrize(
    ("seed", "rpm", "tpm", "large_share"),
    [
        (1, 60, 10**9, 0.1),
        (2, 10**6, 120_000, 0.1),
        (3, 90, 90_000, 0.1),
        (4, 200, 80_000, 0.02),
        (5, 100, 150_000, 0.2),
    ],
)
async def test_a_quota_is_used_up_and_never_overdrawn(seed: int, rpm: int, tpm: int, large_share: float) -> None:
    """The provider refuses nothing in ten minutes, and at least 97 % of what it would have allowed was used."""
    provider, waits = await simulate(seed, rpm, tpm, large_share)
    assert provider.refused == 0
    assert 0.97 <= max(provider.requests / (rpm * MINUTES), provider.tokens / (tpm * MINUTES)) <= 1.0
    assert len(waits.large) > 10
    assert max(waits.large) <= 2 * max(waits.small)
    assert fmean(waits.large) <= 2 * fmean(waits.small)


class OverloadedServer:
    """Serves so many calls at a time, each for a second, and refuses the others at once."""

    def __init__(self, clock: FakeClock, capacity: int) -> None:
        self.clock = clock
        self.capacity = capacity
        self.running = self.answered = self.refused = 0

    async def __call__(self, call: Call) -> Reply:
        if self.running >= self.capacity:
            self.refused += 1
            raise ProviderError("overloaded", "busy", status_code=503)
        self.running += 1
        try:
            await self.clock.sleep(1.0)
        finally:
            self.running -= 1
        self.answered += 1
        return Reply(call, response=an_answer())

    async def minute(self) -> tuple[float, float]:
        """The share of its capacity that was used in the next minute, and of the calls that it refused."""
        self.answered = self.refused = 0
        await self.clock.advance(60)
        return self.answered / (60 * self.capacity), self.refused / (self.answered + self.refused)


async def test_how_much_a_server_can_carry_is_found_out() -> None:
    """Fifty callers and ten places: few calls are refused, most places are used, and more places are found."""
    clock = FakeClock()
    server, upstream = OverloadedServer(clock, 10), Upstream(clock.monotonic())
    handler = limits(a_target(), upstream, a_call(clock=clock).events)(server)

    async def caller() -> None:
        while True:
            try:
                async with await handler(a_call(clock=clock)):
                    pass
            except ProviderError:
                await clock.sleep(1.0)

    callers = [asyncio.create_task(caller()) for _ in range(50)]
    try:
        await server.minute()
        used, refused = await server.minute()
        assert used > 0.8
        assert refused < 0.06
        server.capacity = 25
        await server.minute()
        used, refused = await server.minute()
        assert used > 0.75
        assert refused < 0.06
    finally:
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    assert upstream.limits.status(clock.monotonic()).in_flight == 0
