"""Identical requests at the same time whose shared call ends badly, or is of no use to all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from core.llm.common.exceptions import LLMError, ModelLoadError, ProviderError, RateLimited
from core.llm.common.messages import TextPart
from core.llm.common.trace import AttemptTrace, CandidateTrace
from core.llm.common.types import FinishReason, Usage
from core.llm.pipeline.handler import Call, Handler, Mode, Reply
from core.llm.pipeline.single_flight import single_flight
from core.llm.providers.base.response import LLMResponse, StreamEvent, TextDelta
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_answer, an_error


class Shared:
    """The layer around scripted outcomes that come two seconds after they were asked for."""

    def __init__(self, *outcomes: BaseException | str | Callable[[Call], Reply]) -> None:
        self.clock = FakeClock()
        self.inner = Scripted(*map(self._two_seconds_later, outcomes))
        self.handler: Handler = single_flight("USD")(self.inner)

    def _two_seconds_later(
        self, outcome: BaseException | str | Callable[[Call], Reply]
    ) -> Callable[[Call], Awaitable[Reply]]:
        async def attempt(call: Call) -> Reply:
            call.trace.attempts.append(AttemptTrace(1, ALPHA, call.elapsed()))
            await self.clock.sleep(2.0)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome(call) if callable(outcome) else Reply(call, response=an_answer(outcome))

        return attempt

    def call(self, mode: Mode = "generate", *, key: str | None = "k", seconds: float = 60.0) -> Call:
        call = a_call(mode, clock=self.clock, seconds=seconds)
        call.key = key
        return call

    async def begun(self, call: Call) -> asyncio.Task[Reply]:
        task = asyncio.ensure_future(self.handler(call))
        await self.clock.settle()
        return task


async def test_calls_whose_answers_must_not_be_shared_never_meet() -> None:
    """They have no key, and having none is nothing that they have in common."""
    world = Shared("one", "two")
    tasks = [await world.begun(world.call(key=None)) for _ in range(2)]
    await world.clock.advance(2.0)
    replies = await asyncio.gather(*tasks)
    assert [reply.response and reply.response.content for reply in replies] == ["one", "two"]


@pytest.mark.parametrize(
    ("error", "seconds", "sent"),
    [
        pytest.param(RateLimited("full", retry_after=20.0), 60.0, 2, id="the other one can wait that long"),
        pytest.param(RateLimited("full", retry_after=20.0), 5.0, 1, id="nor can the other one"),
        pytest.param(RateLimited("full", retry_after=90.0), 60.0, 1, id="nobody can"),
        pytest.param(RateLimited("full", retry_after=1.0), 60.0, 1, id="both could have, and were refused"),
        pytest.param(RateLimited("full"), 60.0, 1, id="nobody knows for how long"),
        pytest.param(an_error("timeout", code="no_time_left"), 60.0, 2, id="no time was left"),
        pytest.param(an_error("timeout", code="no_time_left"), 5.0, 1, id="none is left for the other either"),
        pytest.param(an_error("server_error"), 60.0, 1, id="it has nothing to do with time"),
        pytest.param(ModelLoadError("no such file"), 60.0, 1, id="not even an error of a provider"),
    ],
)
async def test_f102_only_who_has_more_time_begins_anew_and_only_where_time_was_what_was_missing(
    error: LLMError, seconds: float, sent: int
) -> None:
    """A failure is not repeated once per caller; a deadline of one is none of the others."""
    world = Shared(error, "in time")
    hasty = await world.begun(world.call(seconds=5.0))
    patient = await world.begun(world.call(seconds=seconds))
    await world.clock.advance(2.0)
    with pytest.raises(type(error)):
        await hasty
    await world.clock.advance(2.0)
    if sent == 2:
        reply = await patient
        assert reply.response is not None
        assert reply.response.content == "in time"
    else:
        with pytest.raises(type(error)):
            await patient
    assert world.inner.calls == sent


async def test_the_attempts_of_a_shared_call_that_failed_are_in_the_trace_of_who_began_it() -> None:
    """They were made, and one of the callers has paid for them."""
    world = Shared(an_error())
    first, second = world.call(), world.call()
    tasks = [await world.begun(call) for call in (first, second)]
    await world.clock.advance(2.0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (len(first.trace.attempts), len(second.trace.attempts)) == (1, 0)


async def test_a_shared_stream_says_when_each_caller_had_its_first_output() -> None:
    """Who came later has waited less."""
    world = Shared(lambda call: Reply(call, head=[TextDelta("begun")]))
    first = await world.begun(world.call("stream"))
    await world.clock.advance(0.5)
    second = await world.begun(world.call("stream"))
    await world.clock.advance(1.5)
    times = [(await task).first_output_at for task in (first, second)]
    assert times == [pytest.approx(2.0), pytest.approx(1.5)]
    for task in (first, second):
        await task.result().end("abandoned")


async def test_who_comes_while_an_abandoned_call_is_being_ended_begins_anew() -> None:
    """Closing a connection may take a moment; whoever comes in it must not get the end of somebody else."""
    world, closed = Shared(), asyncio.Event()

    async def slow_to_end(_: Call) -> Reply:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await closed.wait()
        raise AssertionError

    world.inner.outcomes = [slow_to_end, "mine"]
    left = await world.begun(world.call())
    left.cancel()
    await world.clock.settle()
    reply = await (await world.begun(world.call()))
    assert reply.response is not None
    assert reply.response.content == "mine"
    closed.set()
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_a_shared_call_that_is_cut_before_it_began_ends_for_those_who_wait() -> None:
    """As where a loop ends all its tasks: nobody waits for ever."""
    world = Shared("never")
    waiting = asyncio.ensure_future(world.handler(world.call()))
    await asyncio.sleep(0)
    (shared,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("core.llm:flight")]
    shared.cancel()
    with pytest.raises(ProviderError, match="was cut"):
        await waiting
    assert world.inner.calls == 0


async def test_an_answer_that_cannot_be_copied_is_asked_for_again_by_the_others() -> None:
    """Half of a surrogate pair fits into no cache; each caller gets an answer all the same."""

    def half_a_pair(call: Call) -> Reply:
        parts = (TextPart("\ud800"),)
        return Reply(call, response=LLMResponse(parts, FinishReason("stop", "stop"), "m", "alpha", Usage(1)))

    world = Shared(half_a_pair, "whole")
    tasks = [await world.begun(world.call()) for _ in range(2)]
    await world.clock.advance(2.0)
    await world.clock.advance(2.0)
    replies = await asyncio.gather(*tasks)
    assert [reply.response and reply.response.content for reply in replies] == ["\ud800", "whole"]


@pytest.mark.parametrize("error", [None, an_error("network_error", code="body_cut")], ids=["left", "broken"])
async def test_a_shared_stream_that_nobody_reads_any_more_or_that_breaks_is_closed(error: ProviderError | None) -> None:
    """Its connection is not kept, and its layers are told how it ended."""
    ended: list[tuple[str, BaseException | None]] = []
    broken = asyncio.Event()

    async def rest() -> AsyncIterator[StreamEvent]:
        yield TextDelta("begun")
        await broken.wait()
        assert error is not None
        raise error

    def a_stream(call: Call) -> Reply:
        reply = Reply(call, tail=rest())
        reply.on_end(lambda it, why: ended.append((it.outcome, why)))
        return reply

    world = Shared(a_stream)
    task = await world.begun(world.call("stream"))
    await world.clock.advance(2.0)
    reply = await task
    assert await reply.next() == TextDelta("begun")
    if error is None:
        await reply.end("abandoned")
    else:
        broken.set()
        with pytest.raises(ProviderError):
            await reply.next()
    await world.clock.settle()
    ((outcome, why),) = ended
    assert outcome == ("cancelled" if error is None else "failed")
    assert isinstance(why, asyncio.CancelledError if error is None else ProviderError)
    await reply.end("failed", error)


async def test_a_shared_call_that_is_cut_while_it_runs_ends_for_those_who_wait() -> None:
    """With an error: an answer that is none would be worse."""
    world = Shared("never")
    waiting = await world.begun(world.call())
    (shared,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("core.llm:flight")]
    shared.cancel()
    with pytest.raises(ProviderError, match="was cut"):
        await waiting


async def test_who_pays_has_the_whole_story_of_the_shared_call() -> None:
    """Which candidates there were and why, and who has answered: the ledger and the trace are read by it."""

    def routed(call: Call) -> Reply:
        call.trace.how, call.target = "the alias fast", ALPHA
        call.attempt = call.trace.attempts[-1]
        call.trace.notes.append("a note")
        call.trace.candidates.append(CandidateTrace(ALPHA, "answered"))
        return Reply(call, response=an_answer())

    world = Shared(routed)
    call = world.call()
    task = await world.begun(call)
    await world.clock.advance(2.0)
    await task
    assert (call.trace.how, call.target, call.trace.notes) == ("the alias fast", ALPHA, ["a note"])
    assert call.trace.candidates == [CandidateTrace(ALPHA, "answered")]
    assert [call.attempt] == call.trace.attempts


async def test_the_attempt_of_a_shared_call_that_everybody_has_left_is_said_to_be_given_up() -> None:
    """Whoever left last has its trace, and it may have been billed."""
    world = Shared("never")

    async def held(call: Call) -> Reply:
        call.attempt = AttemptTrace(1, ALPHA, 0.0)
        call.trace.attempts.append(call.attempt)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    world.inner.outcomes = [held]
    call = world.call()
    task = await world.begun(call)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [attempt.decision for attempt in call.trace.attempts] == ["cancelled"]
