"""Handing a call to its provider and waiting for the first output."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from core.llm.common.exceptions import ConfigError, LLMError, ProviderError, UnsupportedFeature, WorkerCrashed
from core.llm.common.types import FinishReason, ModelRef
from core.llm.pipeline.guard import GRACE
from core.llm.pipeline.handler import Call, Mode, Reply
from core.llm.pipeline.terminal import terminal
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    LLMResponse,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ToolCallDelta,
)
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import FakeClock, Gate, ScriptedProvider, SecretCanary, provider_services
from tests.unit.pipeline.support import a_call, a_provider, a_target, an_answer, an_error

FINISH = StreamFinish(FinishReason("stop", "stop"))


class Bare(BaseLLMProvider):
    """A provider made of two functions, without embeddings."""

    def __init__(self, generate: Callable[[ChatRequest], Any] | None = None, events: Any = None) -> None:
        super().__init__(ProviderConfig(), provider_services("alpha"))
        self.closed_iterators = 0
        self._generate = generate
        self._events = events

    async def generate(self, request: ChatRequest) -> LLMResponse:
        assert self._generate is not None
        result: LLMResponse = self._generate(request)
        return result

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            for event in self._events:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.closed_iterators += 1


def raising(error: BaseException) -> Callable[[ChatRequest], Any]:
    """A function that raises *error*."""

    def fail(request: ChatRequest) -> Any:
        raise error

    return fail


async def begun(*events: Any) -> tuple[Reply, Bare]:
    """The reply of a provider that streams *events*."""
    provider = Bare(events=events)
    return await terminal(a_target(provider))(a_call("stream")), provider


async def rest_of(reply: Reply) -> list[StreamEvent]:
    """Everything the consumer gets."""
    seen = []
    async with reply:
        while (event := await reply.next()) is not None:
            seen.append(event)
    return seen


async def test_an_answer_says_who_gave_it() -> None:
    """A provider that leaves its names out is filled in."""
    answer = an_answer()
    answer.provider = answer.model = ""
    reply = await terminal(a_target(Bare(lambda request: answer)))(a_call())
    assert reply.response is answer
    assert (answer.provider, answer.model) == ("alpha", "m")


@pytest.mark.parametrize("mode", ["generate", "stream"])
async def test_a_foreign_exception_becomes_a_provider_error_without_its_text(mode: Any) -> None:
    """What a library puts into its exceptions, request headers for one, is nowhere in ours."""
    canary = SecretCanary()
    error = ValueError(f"headers: Authorization: Bearer {canary.secret}")
    provider = Bare(raising(error), [error])
    with pytest.raises(ProviderError) as caught:
        await terminal(a_target(provider))(a_call(mode))
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("unknown", "provider_defect", False)
    assert "ValueError" in caught.value.message
    canary.check(caught.value)


async def test_a_foreign_exception_after_the_first_output_is_replaced_as_well() -> None:
    """The error carries what was delivered, and nothing of the foreign text."""
    canary = SecretCanary()
    reply, _ = await begun(StreamStart(), TextDelta("Hel"), KeyError(canary.secret))
    with pytest.raises(ProviderError) as caught:
        await rest_of(reply)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"
    canary.check(caught.value)


async def test_a_crashed_worker_is_a_server_error_that_may_be_retried() -> None:
    """F137: the restarted worker may well answer."""
    with pytest.raises(ProviderError) as caught:
        await terminal(a_target(Bare(raising(WorkerCrashed("killed by signal 9")))))(a_call())
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("server_error", "worker_crashed", True)


async def test_errors_of_ours_pass_as_they_are_with_their_place_filled_in() -> None:
    """A provider may raise what it likes from our tree."""
    bare = ProviderError("rate_limit", "slow down", retry_after=3.0)
    with pytest.raises(ProviderError) as caught:
        await terminal(a_target(Bare(raising(bare))))(a_call())
    assert caught.value is bare
    assert str(bare) == "alpha/m: slow down Retry after 3 s."
    other = ConfigError([])
    with pytest.raises(LLMError) as passed:
        await terminal(a_target(Bare(raising(other))))(a_call())
    assert passed.value is other


async def test_F60_nothing_is_handed_out_before_there_is_output() -> None:
    """A stream that breaks after its start has committed to nothing, so the next candidate can begin afresh."""
    provider = Bare(events=[StreamStart("m", "alpha"), an_error("network_error", code="connection_lost")])
    with pytest.raises(ProviderError) as caught:
        await terminal(a_target(provider))(a_call("stream"))
    assert caught.value.partial is None
    assert caught.value.retryable
    assert provider.closed_iterators == 1


async def test_F60_the_consumer_sees_exactly_one_start() -> None:
    """What was held back is delivered first, in order."""
    reply, provider = await begun(StreamStart("m"), TextDelta("Hel"), TextDelta("lo"), FINISH)
    seen = await rest_of(reply)
    assert seen == [StreamStart("m"), TextDelta("Hel"), TextDelta("lo"), FINISH]
    assert provider.closed_iterators == 1


@pytest.mark.parametrize("events", [[StreamStart()], []])
async def test_F62_a_stream_that_stops_before_any_output_is_no_answer(events: list[StreamEvent]) -> None:
    """An empty success does not exist."""
    with pytest.raises(ProviderError) as caught:
        await begun(*events)
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("protocol", "truncated", True)


async def test_F62_a_stream_without_finish_is_broken_and_final() -> None:
    """A finish reason is never invented, and nothing is repeated after output."""
    reply, _ = await begun(StreamStart(), TextDelta("Hel"), TextDelta("lo"))
    with pytest.raises(ProviderError) as caught:
        await rest_of(reply)
    error = caught.value
    assert (error.type, error.code, error.retryable, error.billing) == ("protocol", "truncated", False, "estimated")
    assert error.partial is not None
    assert error.partial.text == "Hello"


async def test_F61_an_error_after_output_is_final_and_carries_what_was_delivered() -> None:
    """Even an error that may be retried elsewhere is not, here."""
    reply, _ = await begun(StreamStart(), TextDelta("one "), TextDelta("two"), an_error("overloaded"))
    with pytest.raises(ProviderError) as caught:
        await rest_of(reply)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two"
    assert not caught.value.retryable


async def test_an_answer_without_any_text_is_an_answer() -> None:
    """A model may stop at once; the finish event says so."""
    reply, _ = await begun(StreamStart(), FINISH)
    assert await rest_of(reply) == [StreamStart(), FINISH]


async def test_a_piece_of_a_tool_call_is_output() -> None:
    """The user can see that a tool is being called."""
    reply, provider = await begun(StreamStart(), ToolCallDelta(0, "1", "look_up"), FINISH)
    assert provider.closed_iterators == 0
    await reply.end("abandoned")
    assert provider.closed_iterators == 1


async def test_the_deadline_ends_a_provider_that_never_answers() -> None:
    """The provider's iterator is closed, so its connection is cut."""
    clock = FakeClock()
    provider = a_provider(clock=clock)
    provider.will_hold()
    task = asyncio.ensure_future(terminal(a_target(provider))(a_call("stream", clock=clock, seconds=5.0)))
    await clock.advance(5.0 + GRACE)
    with pytest.raises(ProviderError) as caught:
        await task
    assert caught.value.code == "deadline_exceeded"
    assert provider.script.outcomes["cut"] == 1


@pytest.mark.parametrize("mode", ["generate", "stream"])
@pytest.mark.parametrize(
    ("seconds", "code"), [(60.0, "attempt_timeout"), (5.0, "deadline_exceeded")], ids=["the attempt's", "the call's"]
)
async def test_an_attempt_that_uses_up_its_own_time_is_told_from_a_call_that_does(
    mode: Mode, seconds: float, code: str
) -> None:
    """After `timeouts.total` of one provider there is time for the next one."""
    late = an_error("timeout", code="deadline_exceeded", retryable=False)
    provider = Bare(raising(late), [late])
    with pytest.raises(ProviderError) as caught:
        await terminal(a_target(provider, timeouts={"total": "30s"}))(a_call(mode, seconds=seconds))
    assert caught.value.code == code


async def test_a_cut_while_the_consumer_holds_an_event_fails_its_next_step() -> None:
    """Nothing is thrown into the consumer's own code."""
    clock = FakeClock()
    provider = a_provider(clock=clock)
    provider.will_stream("Hel", Gate(), "lo")
    call = a_call("stream", clock=clock)
    reply = await terminal(a_target(provider))(call)
    first = [await reply.next(), await reply.next()]
    call.guard.cut(an_error("cancelled", code="drained"))
    with pytest.raises(ProviderError) as caught:
        await reply.next()
    assert [event.text for event in first if event] == ["", "Hel"]
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"
    await reply.end("failed", caught.value)
    assert provider.script.active == 0


async def test_a_provider_without_embeddings_says_so() -> None:
    """It is an error of the request, raised before anything is sent."""
    with pytest.raises(UnsupportedFeature, match="alpha has no embeddings"):
        await terminal(a_target(Bare()))(a_call("embed", inputs=("a",)))


async def test_vectors_come_back_with_their_place() -> None:
    """Embeddings pass through the same handler."""
    reply = await terminal(a_target(ScriptedProvider(name="alpha")))(a_call("embed", inputs=("a", "b")))
    assert reply.embedding is not None
    assert (len(reply.embedding), reply.embedding.provider, reply.embedding.model) == (2, "alpha", "m")


@pytest.mark.parametrize("mode", ["generate", "stream"])
async def test_what_a_provider_could_not_honour_is_on_the_answer(mode: Any) -> None:
    """Warnings are not lost on either way."""

    class Dropping(ScriptedProvider):
        async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            request.warn("dropped", "top_k", "top_k is not known here")
            async for event in super().stream_generate(request):
                yield event

        async def generate(self, request: ChatRequest) -> LLMResponse:
            request.warn("dropped", "top_k", "top_k is not known here")
            return an_answer()

    reply = await terminal(a_target(Dropping(name="alpha")))(a_call(mode))
    if mode == "stream":
        while await reply.next() is not None:
            pass
        reply.response = reply.collector.response()
    await reply.end("answered")
    assert reply.response is not None
    assert [warning.parameter for warning in reply.response.warnings] == ["top_k"]


async def test_the_provider_gets_the_key_and_the_deadline_of_its_attempt() -> None:
    """Both are chosen per attempt by the layers outside."""
    clock = FakeClock()
    provider = a_provider(clock=clock)
    call: Call = a_call(clock=clock, seconds=7.0)
    call.api_key = "k1"
    await terminal(a_target(provider, ModelRef("alpha", "m")))(call)
    request = provider.requests[0]
    assert (request.api_key, request.model, request.limits.deadline_at) == ("k1", "m", clock.monotonic() + 7.0)


async def test_every_layer_is_told_of_the_end_also_where_one_of_them_fails() -> None:
    """A slot or a probe that is not given back would keep others out for good; the failure is not hidden."""
    told: list[int] = []

    def fail(_: Reply, __: BaseException | None) -> None:
        raise RuntimeError("a defect of ours")

    reply = Reply(a_call(), response=an_answer())
    reply.on_end(lambda *_: told.append(1))
    reply.on_end(fail)
    reply.on_end(lambda *_: told.append(2))
    with pytest.raises(RuntimeError, match="a defect of ours"):
        await reply.end("answered")
    assert told == [1, 2]
