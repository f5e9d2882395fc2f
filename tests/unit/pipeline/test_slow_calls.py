"""Answers that come too late count against their model, where somebody says what is late."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.circuits import breaker
from core.llm.pipeline.handler import Call, Handler, Mode, Reply
from core.llm.pipeline.provider_breaker import ProviderBreaker
from core.llm.providers.config.models.limits import SlowCallOptions
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.pipeline.circuit_rig import OTHER, a_stream, guarded
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_answer, an_error, answered

SLOW = SlowCallOptions(first_token=5.0, answer=20.0, share=0.5, calls=4)


def after(clock: FakeClock, seconds: float) -> Callable[[Call], Awaitable[Reply]]:
    """An answer that takes so long."""

    async def reply(call: Call) -> Reply:
        await clock.advance(seconds)
        return a_stream(call) if call.mode == "stream" else Reply(call, response=an_answer())

    return reply


def failing(clock: FakeClock, seconds: float, error: BaseException) -> Callable[[Call], Awaitable[Reply]]:
    """An attempt that fails with *error*, after so long."""

    async def fail(_: Call) -> Reply:
        await clock.advance(seconds)
        raise error

    return fail


def impatient(state: ProviderBreaker, inner: Handler, events: EventBus | None = None) -> Handler:
    """*inner* behind *state*, with answers that are late after a while."""
    return breaker(state, ALPHA, events or EventBus(), SLOW)(inner)


@pytest.mark.parametrize(("mode", "seconds"), [("generate", 21.0), ("stream", 6.0)])
async def test_a_model_whose_answers_come_too_late_is_left_alone_while_another_one_is_there(
    mode: Mode, seconds: float
) -> None:
    """Half of four answers; the event and the refusal say why, and its provider is blamed for nothing."""
    state, clock, events = ProviderBreaker(), FakeClock(), EventBus()
    seen = EventRecorder(events)
    inner = Scripted(*[after(clock, one) for one in (1.0, 1.0, seconds, seconds)])
    handler = impatient(state, inner, events)
    for _ in range(4):
        async with await handler(a_call(mode, clock=clock)):
            pass
    (event,) = seen.of(ProviderStateChanged)
    assert (event.subject, event.state) == ("alpha/m", "open")
    assert (
        f"too slow: 2 of 4 answers took longer than {SLOW.answer if mode == 'generate' else SLOW.first_token:g} s"
        in event.reason
    )
    call = a_call(mode, clock=clock)
    call.alternatives = lambda _: True
    with pytest.raises(ProviderError, match="this model is too slow") as caught:
        await handler(call)
    assert (caught.value.code, inner.calls, state.state) == ("circuit_open", 4, "closed")
    assert (await answered(guarded(state, Scripted(), target=OTHER), a_call(clock=clock))).content == "hello"


async def test_a_slow_model_is_still_asked_where_nobody_else_is_left() -> None:
    """Late answers are better than none; once three of its probes are quick it is used as before."""
    state, clock = ProviderBreaker(), FakeClock()
    handler = impatient(state, Scripted(*[after(clock, 21.0) for _ in range(4)]))
    for _ in range(4):
        await answered(handler, a_call(clock=clock))
    narrow = state.model("m")
    assert narrow.state == "open"
    assert (await answered(handler, a_call(clock=clock))).content == "hello"
    assert narrow.state == "open"
    await clock.advance(7.0)
    for _ in range(3):
        await answered(handler, a_call(clock=clock))
    assert (narrow.state, narrow.slow, narrow.in_flight) == ("closed", "", 0)
    running = [await handler(a_call(clock=clock)) for _ in range(20)]
    assert narrow.in_flight == 20
    for reply in running:
        await reply.end("answered")


async def test_a_probe_that_is_late_opens_it_again() -> None:
    """Also one whose stream has begun by then."""
    state, clock, events = ProviderBreaker(), FakeClock(), EventBus()
    seen = EventRecorder(events)
    handler = impatient(state, Scripted(*[after(clock, 6.0) for _ in range(5)]), events)
    for _ in range(4):
        await (await handler(a_call("stream", clock=clock))).end("answered")
    await clock.advance(7.0)
    reply = await handler(a_call("stream", clock=clock))
    assert [event.state for event in seen.of(ProviderStateChanged)] == ["open", "half_open", "open"]
    assert state.model("m").slow == "a probe took longer than 5 s"
    await reply.end("answered")
    assert (state.model("m").state, state.model("m").in_flight) == ("open", 0)


@pytest.mark.parametrize("how", [asyncio.CancelledError(), an_error("timeout", code="deadline_exceeded")])
@pytest.mark.parametrize(("seconds", "opens"), [(0.5, False), (21.0, True)])
async def test_F95_callers_who_give_up_late_count_as_late_answers_and_early_ones_as_nothing(
    seconds: float, opens: bool, how: BaseException
) -> None:
    """A hedge that was faster, or a caller who has waited long enough, must not hide how slow a model is."""
    state, clock = ProviderBreaker(), FakeClock()
    handler = impatient(state, Scripted(*[failing(clock, seconds, how)] * 10))
    for _ in range(10):
        with pytest.raises((asyncio.CancelledError, ProviderError)):
            await handler(a_call(clock=clock))
    assert (state.model("m").state == "open") is opens
    assert (state.in_flight, state.model("m").in_flight) == (0, 0)


async def test_F95_callers_who_give_up_early_do_not_speak_for_a_slow_model() -> None:
    """However many there were: half of those answers counts that somebody waited for."""
    state, clock = ProviderBreaker(), FakeClock()
    early = [failing(clock, 0.5, asyncio.CancelledError())] * 10
    handler = impatient(state, Scripted(*early, *[after(clock, 21.0) for _ in range(4)]))
    for _ in early:
        with pytest.raises(asyncio.CancelledError):
            await handler(a_call(clock=clock))
    for _ in range(4):
        await answered(handler, a_call(clock=clock))
    assert state.model("m").state == "open"


async def test_an_error_that_took_long_counts_as_what_it_says_and_not_as_a_late_answer() -> None:
    """Ten prompts that were refused after a long look open nothing."""
    state, clock = ProviderBreaker(), FakeClock()
    handler = impatient(state, Scripted(*[failing(clock, 21.0, an_error("content_filter"))] * 10))
    for _ in range(10):
        with pytest.raises(ProviderError):
            await handler(a_call(clock=clock))
    assert state.model("m").state == "closed"


@pytest.mark.parametrize(
    ("mode", "options"),
    [("generate", SlowCallOptions(first_token=5.0, calls=4)), ("stream", SlowCallOptions(answer=20.0, calls=4))],
)
async def test_a_time_for_streams_says_nothing_about_whole_answers_and_the_other_way_round(
    mode: Mode, options: SlowCallOptions
) -> None:
    """Where only one of the two is set the other kind of call may take as long as it likes."""
    state, clock = ProviderBreaker(), FakeClock()
    handler = breaker(state, ALPHA, EventBus(), options)(Scripted(*[after(clock, 500.0) for _ in range(8)]))
    for _ in range(8):
        await (await handler(a_call(mode, clock=clock))).end("answered")
    assert state.model("m").state == "closed"


async def test_late_answers_open_nothing_unless_a_time_is_set() -> None:
    """How long an answer may take is for whoever knows the model to say."""
    state, clock = ProviderBreaker(), FakeClock()
    handler = breaker(state, ALPHA, EventBus(), SlowCallOptions())(Scripted(*[after(clock, 500.0) for _ in range(30)]))
    for _ in range(30):
        await answered(handler, a_call(clock=clock))
    assert state.model("m").state == "closed"
