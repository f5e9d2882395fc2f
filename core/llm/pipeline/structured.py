"""Hold answers to the model that was asked for: choose how to ask, validate, and ask once more at most.

Streams are asked in the same way and delivered as they come: what has been seen cannot be taken back, so nothing is
asked again, and whoever reads the stream to its end validates it.
"""

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from core.llm.common.exceptions import LLMError
from core.llm.common.messages import TextPart, ToolCall
from core.llm.common.types import CallWarning, FinishReason
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.meter import sum_of_costs
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import ResponseFormat
from core.llm.providers.base.response import (
    LLMResponse,
    StreamEvent,
    StreamFinish,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
)
from core.llm.structured.answer import Fit, Misfit, no_fit, read_response
from core.llm.structured.choice import Ask, ask, ask_again


def structured(target: Target) -> Layer:
    """The layer for calls to *target* that want an object."""

    def layer(inner: Handler) -> Handler:
        def handle(call: Call) -> Awaitable[Reply]:
            wanted = call.request.response_format
            return inner(call) if wanted is None or call.mode == "embed" else asked_for(call, wanted)

        async def asked_for(call: Call, wanted: ResponseFormat) -> Reply:
            request = call.request
            asked = ask(request, wanted, target.facts, str(target.ref))
            call.request = asked.request
            try:
                reply = await inner(call)
                if call.mode == "stream":
                    return _streamed(reply, asked)
                return await _held_to_it(call, asked, inner, reply)
            finally:
                call.request = request

        return handle

    return layer


async def _held_to_it(call: Call, asked: Ask, inner: Handler, reply: Reply) -> Reply:
    """*reply* where its answer fits, else the reply to a second question; the first is then over and paid for."""
    wanted = asked.wanted
    first = _answer_of(reply, asked)
    outcome = await _read(first, wanted, reply)
    if wanted.model is None or not isinstance(outcome, Misfit):
        _accept(first, outcome, asked)
        return reply
    await reply.end("answered")
    if call.attempts_left <= 0:
        raise no_fit(first, wanted.model, outcome)
    call.trace.notes.append(f"the answer was no {wanted.model.__name__}: asked once more")
    call.request = ask_again(asked, first.content, str(outcome))
    second_reply = await inner(call)
    second = _answer_of(second_reply, asked)
    second_reply.on_end(partial(_add_costs_of, first))
    outcome = await _read(second, wanted, second_reply)
    if isinstance(outcome, Misfit):
        await second_reply.end("answered")
        raise no_fit(second, wanted.model, outcome)
    again = CallWarning("other", f"the first answer was no {wanted.model.__name__}: asked once more", "response_format")
    _accept(second, outcome, asked, again)
    return second_reply


async def _read(response: LLMResponse, wanted: ResponseFormat, reply: Reply) -> Fit | Misfit | None:
    """The object in *response*; where there can be none, the reply is ended before the error says what it cost."""
    if response.finish_reason.unified in {"refusal", "content_filter", "length"} or response.refusal:
        try:
            return read_response(response, wanted)
        except LLMError:
            await reply.end("answered")
    return read_response(response, wanted)


def _accept(response: LLMResponse, outcome: Fit | Misfit | None, asked: Ask, *more: CallWarning) -> None:
    mended: tuple[CallWarning, ...] = ()
    if isinstance(outcome, Fit):
        response.object = outcome.object
        mended = tuple(
            CallWarning("other", f"the answer was mended: {it}", "response_format") for it in outcome.repairs
        )
    response.warnings = (*response.warnings, *asked.warnings, *mended, *more)


def _answer_of(reply: Reply, asked: Ask) -> LLMResponse:
    """The answer in *reply*; the arguments of the tool that carries it have become its text."""
    response = reply.response
    if response is None:
        raise RuntimeError("a handler finished without an answer: a layer has lost it")
    if asked.tool is not None and any(call.name == asked.tool for call in response.tool_calls):
        # What was said beside the call is no part of the object.
        response.parts = tuple(
            TextPart(part.arguments_json()) if isinstance(part, ToolCall) and part.name == asked.tool else part
            for part in response.parts
            if part.type != "text"
        )
        if response.finish_reason.unified == "tool_calls" and not response.tool_calls:
            response.finish_reason = replace(response.finish_reason, unified="stop")
    return response


def _add_costs_of(first: LLMResponse, reply: Reply, _: BaseException | None) -> None:
    response = reply.response
    if response is None:
        return
    response.usage = first.usage + response.usage
    response.cost = sum_of_costs(first.cost, response.cost)


def _streamed(reply: Reply, asked: Ask) -> Reply:
    if asked.tool is not None:
        reply.convert_events(_ArgumentsAsText(asked.tool))

    def add_warnings(reply: Reply, _: BaseException | None) -> None:
        if reply.response is not None:
            reply.response.warnings = (*reply.response.warnings, *asked.warnings)

    reply.on_end(add_warnings)
    return reply


class _ArgumentsAsText:
    """Turns the call of one tool into text, event by event; other calls stay what they are."""

    __slots__ = ("_index", "_others", "_seen", "_tool")

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._index: int | None = None
        self._seen = False
        self._others = False

    def __call__(self, event: StreamEvent) -> StreamEvent | None:
        if isinstance(event, ToolCallDelta):
            if self._index is None and event.name == self._tool:
                self._index = event.index
            if event.index != self._index:
                return event
            self._seen = self._seen or bool(event.arguments)
            return TextDelta(event.arguments) if event.arguments else None
        if isinstance(event, ToolCallReady):
            if event.call.name != self._tool:
                self._others = True
                return event
            return None if self._seen else TextDelta(event.call.arguments_json())
        if isinstance(event, StreamFinish) and event.finish_reason.unified == "tool_calls" and not self._others:
            return StreamFinish(FinishReason("stop", event.finish_reason.raw))
        return event
