"""Sending nothing to a provider that keeps failing, and finding out when it is back."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.pipeline.breaker import Admission, Breaker, breaker
from core.llm.pipeline.handler import Handler
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_error, answered


class BreakerModel(RuleBasedStateMachine):
    """The breaker beside a model in plain words, under any order of calls beginning and ending."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.rng = random.Random(1)
        self.now = 0.0
        self.running: list[Any] = []
        """Admitted attempts: was each one a probe?"""
        self.state = "closed"
        self.row = 0
        self.results: list[tuple[float, bool]] = []
        self.good = 0

    def probing(self) -> bool:
        return any(self.running)

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def an_attempt_begins(self) -> None:
        if self.state == "open" and self.now >= self.breaker.open_until:
            self.state, self.good = "half_open", 0
        expected = {"closed": "call", "open": None, "half_open": None if self.probing() else "probe"}[self.state]
        admission = self.breaker.admit(self.now)
        assert admission == expected
        if admission is not None:
            self.running.append(admission == "probe")

    @precondition(lambda self: self.running)
    @rule(data=st.data(), end=st.sampled_from(["good", "bad", "bad", "given up"]))
    def an_attempt_ends(self, data: st.DataObject, end: str) -> None:
        probe = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        admission: Admission = "probe" if probe else "call"
        if end == "given up":
            self.breaker.released(admission)
            return
        if end == "good":
            self.breaker.succeeded(self.now, admission)
        else:
            self.breaker.failed(self.now, self.rng, admission)
        if probe:
            self.good = self.good + 1 if end == "good" else 0
            if end == "bad":
                self.state = "open"
            elif self.good == Breaker.PROBES_TO_CLOSE:
                self.state, self.row, self.results = "closed", 0, []
        elif self.state == "closed":
            self.row = 0 if end == "good" else self.row + 1
            self.results.append((self.now, end == "good"))
            recent = [good for when, good in self.results if when >= self.now - Breaker.WINDOW]
            bad = len(recent) >= 20 and recent.count(False) >= len(recent) / 2
            if end == "bad" and (self.row >= 5 or bad):
                self.state = "open"

    @invariant()
    def the_states_agree(self) -> None:
        assert self.breaker.state == self.state

    @invariant()
    def F94_at_most_one_probe_is_out(self) -> None:
        assert sum(self.running) <= 1


TestBreakerModel = BreakerModel.TestCase
TestBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def opened(clock: FakeClock) -> Breaker:
    """A breaker that has just opened."""
    state = Breaker()
    for _ in range(Breaker.CONSECUTIVE):
        state.failed(clock.monotonic(), random.Random(0), "call")
    assert state.state == "open"
    return state


def guarded(state: Breaker, inner: Handler, events: EventBus | None = None) -> Handler:
    """*inner* behind *state*."""
    return breaker(state, ALPHA, events or EventBus())(inner)


async def test_F33_after_five_failures_nothing_is_sent_and_the_error_says_when_it_will_be() -> None:
    """An open breaker answers at once, with the time until its next probe."""
    events = EventBus()
    seen = EventRecorder(events)
    inner = Scripted(*[an_error() for _ in range(5)])
    handler = guarded(Breaker(), inner, events)
    clock = FakeClock()
    for _ in range(5):
        with pytest.raises(ProviderError):
            await handler(a_call(clock=clock))
    with pytest.raises(ProviderError) as refusal:
        await handler(a_call(clock=clock))
    assert inner.calls == 5
    assert (refusal.value.type, refusal.value.code, refusal.value.billing) == ("overloaded", "circuit_open", "none")
    assert not refusal.value.retryable
    assert 4.0 <= (refusal.value.retry_after or 0) <= 6.0
    assert [event.state for event in seen.of(ProviderStateChanged)] == ["open"]


@pytest.mark.parametrize(
    ("kind", "code", "counts"),
    [
        ("server_error", None, True),
        ("overloaded", None, True),
        pytest.param("network_error", "connect", True, id="F3"),
        ("timeout", "first_token_timeout", True),
        pytest.param("protocol", "content_type", True, id="F38"),
        pytest.param("rate_limit", None, False, id="F97-429"),
        pytest.param("authentication", None, False, id="F17"),
        pytest.param("model_not_found", None, False, id="F19"),
        ("invalid_request", None, False),
        ("content_filter", None, False),
        pytest.param("timeout", "pool_exhausted", False, id="F5"),
        pytest.param("network_error", "stale_connection", False, id="F10"),
        pytest.param("timeout", "deadline_exceeded", False, id="F95-own-deadline"),
        ("cancelled", "drained", False),
        ("unknown", "provider_defect", False),
    ],
)
async def test_only_what_says_something_about_the_provider_counts(
    kind: ErrorType, code: str | None, counts: bool
) -> None:
    """Refusals, rate limits and the caller's own deadline leave the breaker closed."""
    state = Breaker()
    handler = guarded(state, Scripted(*[an_error(kind, code=code) for _ in range(6)]))
    for _ in range(6):
        with pytest.raises(ProviderError):
            await handler(a_call())
    assert (state.state == "open") is counts


async def test_F95_a_thousand_cancelled_calls_leave_the_breaker_closed() -> None:
    """Callers who give up say nothing about the provider."""
    state = Breaker()
    handler = guarded(state, Scripted(*[asyncio.CancelledError() for _ in range(1000)]))
    for _ in range(1000):
        with pytest.raises(asyncio.CancelledError):
            await handler(a_call())
    assert state.state == "closed"


async def test_F94_half_open_lets_one_of_a_hundred_callers_through() -> None:
    """While the probe is out the others are refused; its answer counts as one of three."""
    clock = FakeClock()
    state = opened(clock)
    await clock.advance(7.0)
    gate = asyncio.Event()

    async def slow(call: Any) -> Any:
        await gate.wait()
        return await Scripted("ok")(call)

    inner = Scripted(*[slow] * 100)
    handler = guarded(state, inner)
    tasks = [asyncio.create_task(answered(handler, a_call(clock=clock))) for _ in range(100)]
    await clock.settle()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert inner.calls == 1
    assert sum(isinstance(result, ProviderError) for result in results) == 99


async def test_F94_three_good_probes_close_it() -> None:
    """The third answer in a row brings the provider back, and that is published once."""
    clock, events = FakeClock(), EventBus()
    seen = EventRecorder(events)
    state = opened(clock)
    handler = guarded(state, Scripted(), events)
    await clock.advance(7.0)
    states = []
    for _ in range(3):
        await answered(handler, a_call(clock=clock))
        states.append(state.state)
    assert states == ["half_open", "half_open", "closed"]
    assert [event.state for event in seen.of(ProviderStateChanged)] == ["closed"]


async def test_a_bad_probe_opens_it_for_longer_each_time() -> None:
    """Open times double from five seconds to thirty, give or take a fifth."""
    clock = FakeClock()
    state = opened(clock)
    lengths = [state.open_until - clock.monotonic()]
    for _ in range(4):
        await clock.advance(state.open_until - clock.monotonic())
        with pytest.raises(ProviderError):
            await guarded(state, Scripted(an_error()))(a_call(clock=clock))
        lengths.append(state.open_until - clock.monotonic())
    for length, middle in zip(lengths, [5.0, 10.0, 20.0, 30.0, 30.0], strict=True):
        assert 0.8 * middle <= length <= 1.2 * middle


async def test_a_probe_that_its_caller_gives_up_makes_room_for_the_next() -> None:
    """A cancelled probe says nothing, and must not block every later one."""
    clock = FakeClock()
    state = opened(clock)
    await clock.advance(7.0)
    with pytest.raises(asyncio.CancelledError):
        await guarded(state, Scripted(asyncio.CancelledError()))(a_call(clock=clock))
    assert (await answered(guarded(state, Scripted("back")), a_call(clock=clock))).content == "back"


async def test_a_call_from_before_the_outage_is_no_probe() -> None:
    """When it ends late, neither its success nor its end lets a second probe out or closes anything."""
    clock = FakeClock()
    state = Breaker()
    reply = await guarded(state, Scripted("late"))(a_call(clock=clock))
    for _ in range(Breaker.CONSECUTIVE):
        state.failed(clock.monotonic(), random.Random(0), "call")
    await clock.advance(7.0)
    assert state.admit(clock.monotonic()) == "probe"
    async with reply:
        pass
    assert state.admit(clock.monotonic()) is None


async def test_a_stream_that_breaks_counts_and_one_that_is_left_does_not() -> None:
    """How the reply ends decides, not how it began."""
    state = Breaker()
    for _ in range(Breaker.CONSECUTIVE):
        reply = await guarded(state, Scripted("beginning"))(a_call())
        await reply.end("abandoned")
    after_leaving = state.state
    for _ in range(Breaker.CONSECUTIVE):
        reply = await guarded(state, Scripted("beginning"))(a_call())
        await reply.end("failed", an_error("protocol", code="truncated"))
    assert (after_leaving, state.state) == ("closed", "open")
