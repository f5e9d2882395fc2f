"""The layer that asks the breakers before each attempt, and tells them how it ended."""

import asyncio
import random
from typing import Any

import pytest

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.pipeline.breaker import Breaker
from core.llm.pipeline.provider_breaker import ProviderBreaker
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.pipeline.circuit_rig import OTHER, a_stream, fails, guarded, opened
from tests.unit.pipeline.support import Scripted, a_call, an_error, answered


async def test_F33_after_three_failures_nothing_is_sent_and_the_error_says_when_it_will_be() -> None:
    """An open breaker answers at once, with the time until its next probe."""
    events, clock = EventBus(), FakeClock()
    seen = EventRecorder(events)
    inner = Scripted(*[an_error() for _ in range(3)])
    handler = guarded(ProviderBreaker(), inner, events)
    for _ in range(3):
        await fails(handler, clock)
    refusal = await fails(handler, clock)
    assert inner.calls == 3
    assert (refusal.type, refusal.code, refusal.billing) == ("overloaded", "circuit_open", "none")
    assert not refusal.retryable
    assert 4.0 <= (refusal.retry_after or 0) <= 6.0
    assert [(event.subject, event.state) for event in seen.of(ProviderStateChanged)] == [("alpha", "open")]


@pytest.mark.parametrize(
    ("kind", "code", "counts"),
    [
        ("server_error", None, True),
        pytest.param("network_error", "connect", True, id="F3"),
        pytest.param("protocol", "content_type", True, id="F38"),
        pytest.param("rate_limit", None, False, id="F97-429"),
        pytest.param("authentication", None, False, id="F17"),
        pytest.param("model_not_found", None, False, id="F19"),
        pytest.param("timeout", "pool_exhausted", False, id="F5"),
        pytest.param("timeout", "deadline_exceeded", False, id="F95-own-deadline"),
        ("unknown", "provider_defect", False),
    ],
)
async def test_only_what_says_something_about_the_other_side_counts(
    kind: ErrorType, code: str | None, counts: bool
) -> None:
    """Refusals, rate limits and the caller's own deadline leave the breaker closed, however many there are."""
    state, clock = ProviderBreaker(), FakeClock()
    errors = [an_error(kind, code=code) for _ in range(20 if not counts else 3)]
    handler = guarded(state, Scripted(*errors))
    for _ in errors:
        await fails(handler, clock)
    assert (state.state == "open") is counts
    assert state.in_flight == 0


async def test_F97_the_only_upstream_of_a_group_is_never_left_alone_for_its_rate_limit() -> None:
    """A thousand 429s later the next call is sent: waiting is the business of the key."""
    state, clock = ProviderBreaker(), FakeClock()
    inner = Scripted(*[an_error("rate_limit", retry_after=1.0) for _ in range(1000)])
    handler = guarded(state, inner)
    for _ in range(1000):
        await fails(handler, clock)
    assert (await answered(handler, a_call(clock=clock))).content == "hello"
    assert inner.calls == 1001


@pytest.mark.parametrize("how", ["cancelled", "deadline", "abandoned"])
async def test_F95_a_thousand_calls_that_their_callers_give_up_leave_the_breaker_closed(how: str) -> None:
    """Cancelled, out of their own time, or left in the middle of a stream: none says anything about the provider."""
    state, clock = ProviderBreaker(), FakeClock()
    outcome: Any = {
        "cancelled": asyncio.CancelledError(),
        "deadline": an_error("timeout", code="deadline_exceeded", retryable=False),
        "abandoned": "beginning",
    }[how]
    handler = guarded(state, Scripted(*[outcome] * 1000))
    for _ in range(1000):
        if how == "abandoned":
            await (await handler(a_call(clock=clock))).end("abandoned")
        else:
            with pytest.raises((ProviderError, asyncio.CancelledError)):
                await handler(a_call(clock=clock))
    assert (state.state, state.in_flight, state.model("m").in_flight) == ("closed", 0, 0)
    assert (await answered(handler, a_call(clock=clock))).content == "hello"


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
    assert (state.in_flight, inner.calls) == (1, 1)
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert inner.calls == 1
    assert sum(isinstance(result, ProviderError) for result in results) == 99
    assert state.state == "half_open"


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("invalid_request", 400, "closed"),
        ("rate_limit", 429, "closed"),
        ("context_length", 400, "closed"),
        ("rate_limit", None, "half_open"),
        ("model_not_found", 404, "half_open"),
        ("authentication", 401, "half_open"),
    ],
)
async def test_F94_a_refusal_that_only_a_working_provider_can_give_is_a_good_probe(
    kind: ErrorType, status: int | None, state: str
) -> None:
    """A burst of rate limits after an outage must not keep everybody away; the page of a proxy proves nothing."""
    clock, events = FakeClock(), EventBus()
    seen = EventRecorder(events)
    provider = opened(clock)
    await clock.advance(7.0)
    handler = guarded(provider, Scripted(*[an_error(kind, status_code=status) for _ in range(3)]), events)
    for _ in range(3):
        await fails(handler, clock)
    assert provider.state == state
    assert seen.of(ProviderStateChanged)[-1].state == state
    assert (provider.in_flight, provider.model("m").in_flight) == (0, 0)


async def test_F94_a_probe_that_streams_for_long_holds_nobody_up() -> None:
    """Its first output shows that the provider is there: after three of them the breaker is closed, none has ended."""
    clock, events = FakeClock(), EventBus()
    seen = EventRecorder(events)
    state = opened(clock)
    await clock.advance(7.0)
    handler = guarded(state, Scripted(*[a_stream] * 3), events)
    running = [await handler(a_call("stream", clock=clock)) for _ in range(3)]
    assert state.state == "closed"
    assert [event.state for event in seen.of(ProviderStateChanged)] == ["half_open", "closed"]
    assert (await answered(handler, a_call(clock=clock))).content == "hello"
    for reply in running:
        await reply.end("answered")
    assert (state.in_flight, state.model("m").in_flight) == (0, 0)


async def test_F94_the_probe_of_a_model_that_streams_for_long_holds_nobody_up_either() -> None:
    """Its provider is well, so that only the breaker of the model waits for three first outputs."""
    clock, state = FakeClock(), ProviderBreaker()
    narrow = state.model("m")
    for _ in range(Breaker.CONSECUTIVE):
        narrow.admit(clock.monotonic())
        narrow.failed(clock.monotonic(), random.Random(0), "call")
    await clock.advance(7.0)
    handler = guarded(state, Scripted(*[a_stream] * 3))
    running = [await handler(a_call("stream", clock=clock)) for _ in range(3)]
    assert narrow.state == "closed"
    for reply in running:
        await reply.end("answered")
    assert (state.in_flight, narrow.in_flight) == (0, 0)


async def test_a_refused_request_between_failures_hides_none_of_them() -> None:
    """A prompt that is too long shows that somebody is there; it does not show that prompts are answered."""
    state, clock = ProviderBreaker(), FakeClock()
    refused = an_error("context_length", status_code=400)
    handler = guarded(state, Scripted(an_error(), an_error(), refused, an_error()))
    for _ in range(4):
        await fails(handler, clock)
    assert state.state == "open"


async def test_F94_a_probe_whose_stream_breaks_opens_it_again() -> None:
    """As long as the breaker has not closed, also after a later probe has gone out."""
    clock = FakeClock()
    state = opened(clock)
    await clock.advance(7.0)
    handler = guarded(state, Scripted(*[a_stream] * 2))
    first, second = [await handler(a_call("stream", clock=clock)) for _ in range(2)]
    await first.end("failed", an_error("network_error", code="body_cut"))
    assert (state.state, state.rests(clock.monotonic())) == ("open", True)
    await second.end("failed", an_error("network_error", code="body_cut"))
    assert (state.state, state.in_flight, state.model("m").in_flight) == ("open", 0, 0)
    await clock.advance(10.0)
    for _ in range(3):
        await answered(handler, a_call(clock=clock))
    assert state.state == "closed"


async def test_F94_every_change_of_state_is_one_event() -> None:
    """Open, half open, open again after a bad probe, half open, and closed after three good ones."""
    clock, events = FakeClock(), EventBus()
    seen = EventRecorder(events)
    inner = Scripted(*[an_error() for _ in range(4)])
    state = ProviderBreaker()
    handler = guarded(state, inner, events)
    for _ in range(3):
        await fails(handler, clock)
    await clock.advance(7.0)
    await fails(handler, clock)
    await clock.advance(40.0)
    states = []
    for _ in range(3):
        await answered(handler, a_call(clock=clock))
        states.append(state.state)
    assert states == ["half_open", "half_open", "closed"]
    changes = [event.state for event in seen.of(ProviderStateChanged)]
    assert changes == ["open", "half_open", "open", "half_open", "closed"]


async def test_a_probe_that_its_caller_gives_up_makes_room_for_the_next() -> None:
    """A cancelled probe says nothing, and must not block every later one."""
    clock = FakeClock()
    state = opened(clock)
    await clock.advance(7.0)
    with pytest.raises(asyncio.CancelledError):
        await guarded(state, Scripted(asyncio.CancelledError()))(a_call(clock=clock))
    assert (await answered(guarded(state, Scripted("back")), a_call(clock=clock))).content == "back"


async def test_a_stream_that_breaks_counts_and_one_that_is_left_does_not() -> None:
    """How the reply ends decides, not how it began."""
    state, clock = ProviderBreaker(), FakeClock()
    for _ in range(Breaker.CONSECUTIVE):
        reply = await guarded(state, Scripted("beginning"))(a_call(clock=clock))
        await reply.end("abandoned")
    after_leaving = state.state
    for _ in range(Breaker.CONSECUTIVE):
        reply = await guarded(state, Scripted("beginning"))(a_call(clock=clock))
        await reply.end("failed", an_error("protocol", code="truncated"))
    assert (after_leaving, state.state) == ("closed", "open")


async def test_F91_a_model_that_fails_while_another_answers_is_refused_alone() -> None:
    """The error and the event name the model; the other one is served all the time."""
    state, clock, events = ProviderBreaker(), FakeClock(), EventBus()
    seen = EventRecorder(events)
    bad = guarded(state, Scripted(*[an_error("timeout", code="first_token_timeout") for _ in range(3)]), events)
    good = guarded(state, Scripted(), events, OTHER)
    await answered(good, a_call(clock=clock))
    for _ in range(3):
        await fails(bad, clock)
    refusal = await fails(bad, clock)
    assert (refusal.code, refusal.model) == ("circuit_open", "m")
    assert "this model has kept failing" in refusal.message
    assert (await answered(good, a_call(clock=clock))).content == "hello"
    assert [(event.subject, event.state) for event in seen.of(ProviderStateChanged)] == [("alpha/m", "open")]
    await clock.advance(7.0)
    for _ in range(3):
        await answered(bad, a_call(clock=clock))
    assert [event.state for event in seen.of(ProviderStateChanged)] == ["open", "half_open", "closed"]
    assert (state.in_flight, state.model("m").in_flight) == (0, 0)


async def test_a_failure_that_names_its_model_opens_only_that_models_breaker() -> None:
    """Even where no other model is used: the provider has said itself whose fault it is."""
    state, clock = ProviderBreaker(), FakeClock()
    bad = guarded(state, Scripted(*[an_error("overloaded", scope="model") for _ in range(3)]))
    for _ in range(3):
        await fails(bad, clock)
    assert (state.state, state.model("m").state) == ("closed", "open")
    assert (state.in_flight, state.model("m").in_flight) == (0, 0)
    assert (await answered(guarded(state, Scripted(), target=OTHER), a_call(clock=clock))).content == "hello"


async def test_F3_an_address_that_cannot_be_reached_is_the_providers_whoever_answers_besides() -> None:
    """Connections are made to the provider, not to a model."""
    state, clock, events = ProviderBreaker(), FakeClock(), EventBus()
    seen = EventRecorder(events)
    await answered(guarded(state, Scripted(), target=OTHER), a_call(clock=clock))
    refused = guarded(state, Scripted(*[an_error("network_error", code="connect") for _ in range(3)]), events)
    for _ in range(3):
        await fails(refused, clock)
    assert (state.state, state.model("m").state) == ("open", "closed")
    assert [(event.subject, event.state) for event in seen.of(ProviderStateChanged)] == [("alpha", "open")]
    assert "the provider has kept failing" in (await fails(refused, clock)).message


async def test_a_call_that_its_model_refuses_leaves_no_trace_at_the_provider() -> None:
    """The provider's probe is not used up by a call that is not sent."""
    clock = FakeClock()
    state = opened(clock)
    narrow = state.model("m")
    for _ in range(3):
        narrow.admit(clock.monotonic())
        narrow.failed(clock.monotonic(), random.Random(0), "call")
    narrow.hold(clock.monotonic() + 60.0)
    await clock.advance(7.0)
    inner = Scripted()
    assert (await fails(guarded(state, inner), clock)).message.startswith("not sent: this model")
    assert (inner.calls, state.in_flight) == (0, 0)
    assert (await answered(guarded(state, inner, target=OTHER), a_call(clock=clock))).content == "hello"


async def test_a_refusal_while_the_load_comes_back_says_so() -> None:
    """Whoever reads the trace sees that the provider is not down."""
    clock = FakeClock()
    state = opened(clock)
    await clock.advance(7.0)
    handler = guarded(state, Scripted())
    for _ in range(3):
        await answered(handler, a_call(clock=clock))
    running = [await handler(a_call(clock=clock)) for _ in range(Breaker.RAMP_LEAST)]
    refusal = await fails(handler, clock)
    assert "has just come back" in refusal.message
    assert refusal.code == "circuit_open"
    for reply in running:
        await reply.end("answered")
    assert (await answered(handler, a_call(clock=clock))).content == "hello"
