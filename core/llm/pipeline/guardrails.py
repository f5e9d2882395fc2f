"""Let the host's guardrails look at what goes out and at what comes back, streamed or not.

Each guardrail is a layer of its own, the first of them outermost. What one of them stops is a `content_filter` error:
no other model is asked.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from inspect import isawaitable
from typing import Any, NoReturn, TypeVar

from pydantic_core import from_json

from core.llm.common.decisions import GuardrailBlocked
from core.llm.common.exceptions import AllAttemptsFailed, LLMError, ProviderError, StructuredOutputError
from core.llm.common.guardrail import ALLOW, Allow, Block, GuardedRequest, Guardrail, Replace
from core.llm.common.messages import Message, TextPart, ThinkingPart, ToolCall
from core.llm.pipeline.guarded_stream import (
    CheckedEvents,
    RestoredEvents,
    check_tool_call,
    restored_call,
    strings_in,
)
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.placeholders import Placeholders
from core.llm.pipeline.stream_window import pieces
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import LLMResponse, StreamEvent
from core.llm.structured.answer import Fit, read_response

_MAX_REASON = 200
_Subject = TypeVar("_Subject")


def guardrails(rails: Sequence[Guardrail]) -> list[Layer]:
    """One layer for each of *rails*."""
    return [_Guarded(rail).layer for rail in rails]


async def screen(rails: Sequence[Guardrail], call: Call) -> None:
    """Let *rails* check and change what *call* sends, where that is sent for something else than an answer.

    Raises:
        ProviderError: one of them stops it.
    """
    for rail in rails:
        await _Guarded(rail).outgoing(call)


class _Guarded:
    """One guardrail as a layer."""

    __slots__ = ("_checks_input", "_checks_output", "_name", "_on_error", "_rail", "_width")

    def __init__(self, rail: Guardrail) -> None:
        self._rail = rail
        self._name = getattr(rail, "name", "") or type(rail).__name__
        self._width = getattr(rail, "window", Guardrail.window)
        self._on_error = getattr(rail, "on_error", Guardrail.on_error)
        if not isinstance(self._width, int) or self._width < 1:
            raise ValueError(f"guardrail {self._name}: window is a number of characters, at least 1")
        if self._on_error not in {"block", "allow"}:
            raise ValueError(f"guardrail {self._name}: on_error is 'block' or 'allow'")
        self._checks_input = _overrides(rail, "check_input")
        self._checks_output = _overrides(rail, "check_output")

    def layer(self, inner: Handler) -> Handler:
        """The layer; *inner* itself where this guardrail looks at nothing."""
        if not self._checks_input and not self._checks_output:
            return inner

        async def handle(call: Call) -> Reply:
            restore = await self.outgoing(call)
            failure: LLMError | None = None
            try:
                reply = await inner(call)
            except (StructuredOutputError, AllAttemptsFailed) as error:
                failure = error
            if failure is not None:
                # Out here, so that what is raised about it does not lead back to the answer.
                await self._failed(call, failure, restore)
                raise failure
            # Vectors say nothing that could be read.
            if call.mode == "embed" or (restore is None and not self._checks_output):
                return reply
            if reply.response is not None:
                await self._received(call, reply, reply.response, restore)
                return reply
            json = call.request.response_format is not None
            if self._checks_output:
                reply.wrap_events(lambda events: CheckedEvents(events, self._width, self._checker(call), json=json))
            if restore is not None:
                reply.wrap_events(lambda events: _restored_events(events, restore, json=json))
            return reply

        return handle

    async def outgoing(self, call: Call) -> Placeholders | None:
        """Check what goes out, and put in its place what the guardrail wants sent instead."""
        if not self._checks_input:
            return None
        request = call.request
        messages = tuple(Message("user", text) for text in call.inputs) if call.mode == "embed" else request.messages
        subject = GuardedRequest(messages, call.mode, request.model, request.user, request.metadata)
        with call.guard:
            verdict = await self._verdict(call, self._rail.check_input, subject, (Allow, Block, Replace))
        if isinstance(verdict, Block):
            self._stop(call, "input", verdict.reason)
        if not isinstance(verdict, Replace):
            return None
        if call.mode == "embed":
            call.inputs = tuple(message.text for message in verdict.messages)
        else:
            call.request = request.model_copy(update={"messages": tuple(verdict.messages)})
        return Placeholders(verdict.restore) if verdict.restore else None

    async def _received(self, call: Call, reply: Reply, response: LLMResponse, restore: Placeholders | None) -> None:
        """Check a whole answer and restore it; where it is stopped, its reply is over: it has been paid for."""
        try:
            if self._checks_output:
                with call.guard:
                    await self._check_response(call, response)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            await reply.end("cancelled" if cancelled else "answered", error if cancelled else None)
            raise
        if restore is not None:
            _restore(response, restore, call.request)

    async def _failed(self, call: Call, error: LLMError, restore: Placeholders | None) -> None:
        """Check and restore the answers that did not become an object: the errors about them hold their text."""
        for one in error.errors if isinstance(error, AllAttemptsFailed) else (error,):
            if not isinstance(one, StructuredOutputError):
                continue
            if self._checks_output:
                with call.guard:
                    for text in (one.text, *strings_in(_json(one.text))):
                        for piece in pieces(text, self._width):
                            await self._checker(call)(piece)
            if restore is not None:
                one.text = restore.quoted().restored(one.text)

    async def _check_response(self, call: Call, response: LLMResponse) -> None:
        check = self._checker(call)
        texts = [response.content, response.thinking, response.refusal or ""]
        if call.request.response_format is not None:
            # In JSON a letter can be written in more than one way: the strings that come out of it count.
            texts.extend(strings_in(_json(response.content)))
        for text in texts:
            for piece in pieces(text, self._width):
                await check(piece)
        for tool_call in response.tool_calls:
            await check_tool_call(tool_call, self._width, check)

    def _checker(self, call: Call) -> Callable[[str], Awaitable[None]]:
        async def check(piece: str) -> None:
            verdict = await self._verdict(call, self._rail.check_output, piece, (Allow, Block))
            if isinstance(verdict, Block):
                self._stop(call, "output", verdict.reason)

        return check

    async def _verdict(
        self, call: Call, check: Callable[[_Subject], Any], subject: _Subject, known: tuple[type, ...]
    ) -> Allow | Block | Replace:
        try:
            verdict = check(subject)
            if isawaitable(verdict):
                verdict = await verdict
            _hold_to_its_type(verdict, known, subject)
        except Exception as error:  # noqa: BLE001 - whatever a guardrail raises must neither pass nor show what it saw
            # What it raised may quote the text, hence only its type.
            failure = f"the check itself failed with {type(error).__name__}"
            if self._on_error == "block":
                return Block(failure)
            call.trace.notes.append(f"guardrail {self._name} was passed over: {failure}")
            return ALLOW
        allowed: Allow | Block | Replace = verdict
        return allowed

    def _stop(self, call: Call, where: str, reason: str) -> NoReturn:
        what = "the request" if where == "input" else "the answer"
        text = " ".join(str(reason).split())[:_MAX_REASON]
        call.trace.notes.append(f"guardrail {self._name} stopped {what}")
        call.events.publish(GuardrailBlocked(call.id, self._name, where))
        raise ProviderError(
            "content_filter",
            f"guardrail {self._name} stopped {what}: {text}",
            code="guardrail",
            retryable=False,
            billing="none" if where == "input" else "estimated",
        )


def _overrides(rail: Guardrail, method: str) -> bool:
    return getattr(type(rail), method, None) is not getattr(Guardrail, method)


def _hold_to_its_type(verdict: object, known: tuple[type, ...], subject: object) -> None:
    if not isinstance(verdict, known):
        raise TypeError("a check returns Allow, Block or, for input, Replace")
    if isinstance(verdict, Replace):
        if not verdict.messages or not all(isinstance(message, Message) for message in verdict.messages):
            raise TypeError("Replace needs messages")
        if (
            isinstance(subject, GuardedRequest)
            and subject.mode == "embed"
            and len(verdict.messages) != len(subject.messages)
        ):
            raise TypeError("each text to embed needs exactly one message in its place")
        if "" in verdict.restore:
            raise TypeError("a placeholder is not empty")


def _restored_events(
    events: AsyncIterator[StreamEvent], values: Placeholders, *, json: bool
) -> AsyncIterator[StreamEvent]:
    return RestoredEvents(events, values, json=json)


def _restore(response: LLMResponse, values: Placeholders, request: LLMRequest) -> None:
    quoted = values.quoted()
    said = values if request.response_format is None else quoted
    response.parts = tuple(
        restored_call(part, values, quoted)
        if isinstance(part, ToolCall)
        else replace(part, text=(said if isinstance(part, TextPart) else values).restored(part.text))
        if isinstance(part, TextPart | ThinkingPart)
        else part
        for part in response.parts
    )
    if response.refusal is not None:
        response.refusal = values.restored(response.refusal)
    if response.object is not None and request.response_format is not None:
        outcome = read_response(response, request.response_format)
        response.object = outcome.object if isinstance(outcome, Fit) else None


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return None
