"""The gate under any order of events: nobody is asked before the time they named, also with calls under way."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.llm.common.events import EventBus
from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.key_states import LONGEST_GATE
from core.llm.pipeline.keys import KeyPool, keys
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, a_call, an_answer, an_error

SECRETS = ("k1", "k2")


@dataclass
class Sent:
    """A request under way: with which key, and what will end it."""

    task: asyncio.Task[Any]
    key: str
    ending: asyncio.Future[ProviderError | None]


class GateMachine(RuleBasedStateMachine):
    """For each key the latest moment that was named for it: no request goes out before, none is held back after."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.upstream = Upstream(self.clock.monotonic())
        config = ProviderConfig.model_validate({"api_keys": list(SECRETS)})
        self.upstream.keys.offer(config)
        pool = KeyPool(config, self.upstream.keys, ALPHA, self.clock, EventBus())
        self.handler = keys(pool)(self.send)
        self.until = dict.fromkeys(SECRETS, 0.0)
        self.running: list[Sent] = []
        self.arriving: list[tuple[str, asyncio.Future[ProviderError | None]]] = []

    async def send(self, call: Call) -> Reply:
        """The provider: keeps the request until the test ends it."""
        ending: asyncio.Future[ProviderError | None] = self.loop.create_future()
        self.arriving.append((call.api_key or "", ending))
        error = await ending
        if error is not None:
            raise error
        return Reply(call, response=an_answer())

    async def attempt(self) -> None:
        async with await self.handler(a_call(clock=self.clock)):
            pass

    def turns(self) -> None:
        async def some() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some())

    @precondition(lambda self: len(self.running) < 6)
    @rule()
    def ask(self) -> None:
        """A further request: with a key that may be used now, or not at all."""
        now = self.clock.monotonic()
        ready = {key for key, until in self.until.items() if until <= now}
        task = self.loop.create_task(self.attempt())
        self.turns()
        if self.arriving:
            key, ending = self.arriving.pop()
            assert key in ready, f"{key} was used {self.until[key] - now:.3f} s too early"
            self.running.append(Sent(task, key, ending))
            return
        assert not ready, "a key is ready, and was not used"
        error = task.exception()
        assert isinstance(error, ProviderError)
        assert error.code == "gated"
        assert error.retry_after is not None
        assert abs(error.retry_after - (min(self.until.values()) - now)) < 1e-6

    @precondition(lambda self: self.running)
    @rule(
        place=st.integers(0, 5),
        hint=st.sampled_from([0.5, 5.0, 60.0, 2000.0]),
        whose=st.sampled_from(["key", "provider"]),
    )
    def refuse(self, place: int, hint: float, whose: str) -> None:
        """One under way is told to wait, its key alone or everybody; a later, shorter hint changes nothing."""
        sent = self.running.pop(place % len(self.running))
        scope: Any = whose
        sent.ending.set_result(an_error("rate_limit", scope=scope, retry_after=hint))
        self.turns()
        assert isinstance(sent.task.exception(), ProviderError)
        until = self.clock.monotonic() + min(hint, LONGEST_GATE)
        for key in SECRETS if whose == "provider" else (sent.key,):
            self.until[key] = max(self.until[key], until)

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, 5))
    def answer(self, place: int) -> None:
        """One that was sent before the hint came is answered: that opens no gate."""
        sent = self.running.pop(place % len(self.running))
        sent.ending.set_result(None)
        self.turns()
        assert sent.task.exception() is None

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, 5))
    def leave(self, place: int) -> None:
        """A caller goes away."""
        sent = self.running.pop(place % len(self.running))
        sent.task.cancel()
        self.turns()
        assert sent.task.cancelled()

    @rule(seconds=st.sampled_from([0.4, 4.0, 30.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock._monotonic += seconds

    @invariant()
    def they_agree_about_when_each_is_ready(self) -> None:
        now = self.clock.monotonic()
        for key, until in self.until.items():
            resting = self.upstream.keys.all_resting((key,), now, ALPHA.model)
            assert (resting is not None) == (until > now), key
            assert resting is None or abs(resting.resting_until - until) < 1e-6, key

    def teardown(self) -> None:
        for sent in self.running:
            sent.task.cancel()
        self.turns()
        self.loop.close()


GateMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.hypothesis
class TestF23(GateMachine.TestCase):  # type: ignore[name-defined,misc]  # a class that hypothesis makes
    """F23 for any sequence of hints, answers and departures."""

    def test_F23_any_sequence(self) -> None:
        """Asking, being told to wait, being answered and leaving in any order."""
        self.runTest()
