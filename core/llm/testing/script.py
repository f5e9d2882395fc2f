"""What a scripted provider says next: a queue of replies, each a list of steps."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

from core.llm.common.messages import ToolCall
from core.llm.common.types import FinishReason, UnifiedFinish, Usage
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import (
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)

Then = Literal["echo", "repeat", "fail"]
"""What follows when the queue is empty: the user's words, the last reply again, or a test failure."""

Outcome = Literal["finished", "failed", "cut"]
"""How a call to a scripted provider ended; `cut` is cancelled or abandoned."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that lets time pass on the provider's clock."""

    seconds: float


class Gate:
    """A step at which a provider waits until the test opens it: pausing a call without sleeping.

    ```python
    (gate,) = provider.will_stream("Hel", Gate(), "lo")     # the gates among the steps come back, in order
    ...
    await gate.reached()
    gate.open()
    ```
    """

    __slots__ = ("_open", "_reached", "waiting")

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._open = asyncio.Event()
        self.waiting = 0
        """How many calls stand before the gate now."""

    def open(self) -> None:
        """Let every call through, those that come later as well."""
        self._open.set()

    async def reached(self, timeout: float = 30.0) -> None:
        """Return once a call stands before the gate.

        Raises:
            AssertionError: none came within *timeout* real seconds.
        """
        try:
            await asyncio.wait_for(self._reached.wait(), timeout)
        except TimeoutError:
            raise AssertionError(f"no call reached the gate within {timeout:g} s") from None

    async def pass_through(self) -> None:
        """Wait until the gate is open; called by the provider."""
        self.waiting += 1
        self._reached.set()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1


Step = str | StreamEvent | BaseException | Gate | Pause
"""A piece of text, an event, an error to raise, a gate to wait at, or a pause on the clock."""


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One answer: its steps, and how it ends where no step says otherwise."""

    steps: tuple[Step, ...]
    usage: Usage | None = None
    """`None`: counted in words of the request and of the answer."""
    finish: FinishReason | None = None
    """`None`: `tool_calls` where a tool is called, else `stop`."""
    model: str | None = None
    """`None`: the model that was asked for."""
    delay: float = 0.0
    """Seconds on the provider's clock before the first event."""


@dataclass(eq=False)
class Script:
    """The replies to come, and the requests that came.

    One script may serve several providers, and a provider that YAML describes can be steered through a named one.
    """

    then: Then = "echo"
    name: str | None = None
    """How YAML refers to it; set by `named`."""
    requests: list[ChatRequest] = field(default_factory=list)
    """Every chat request, in order of arrival."""
    embeddings: list[EmbeddingRequest] = field(default_factory=list)
    active: int = 0
    """Calls in progress now."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """How many calls were given their whole reply, ended with a scripted error, or were cut before the end."""
    _replies: deque[ScriptedReply] = field(default_factory=deque)
    _last: ScriptedReply | None = None
    _vectors: deque[tuple[tuple[float, ...], ...] | BaseException] = field(default_factory=deque)

    @staticmethod
    def named(name: str) -> "Script":
        """The script of this name, for `script: NAME` in YAML; lives as long as somebody holds it."""
        return _named.setdefault(name, Script(name=name))

    @staticmethod
    def find(name: str) -> "Script | None":
        """The script of this name, if somebody holds it."""
        return _named.get(name)

    def will_answer(
        self,
        text: str = "",
        *,
        thinking: str = "",
        tool_calls: Sequence[ToolCall | Mapping[str, Any]] = (),
        usage: Usage | None = None,
        finish: UnifiedFinish | FinishReason | None = None,
        model: str | None = None,
        delay: float = 0.0,
    ) -> None:
        """Queue one complete answer. Dictionaries describe tool calls by `id`, `name` and `arguments`."""
        if not isinstance(text, str):
            raise TypeError(f"an answer is a text, not {type(text).__name__}: give an object as its model_dump_json()")
        steps: list[Step] = [ThinkingDelta(thinking)] if thinking else []
        if text:
            steps.append(text)
        for index, value in enumerate(tool_calls):
            call = value if isinstance(value, ToolCall) else ToolCall(**value)
            steps.append(ToolCallDelta(index, call.id, call.name, call.arguments_json()))
            steps.append(ToolCallReady(index, call))
        self._queue(ScriptedReply(tuple(steps), usage, _finish(finish), model, delay))

    def will_stream(
        self,
        *steps: Step,
        usage: Usage | None = None,
        finish: UnifiedFinish | FinishReason | None = None,
        model: str | None = None,
        delay: float = 0.0,
    ) -> tuple[Gate, ...]:
        """Queue one answer step by step; returns the gates among the steps, in order.

        An error as the last step breaks the answer off; without one it ends properly.
        """
        self._queue(ScriptedReply(steps, usage, _finish(finish), model, delay))
        return tuple(step for step in steps if isinstance(step, Gate))

    def will_raise(self, error: BaseException, *, delay: float = 0.0) -> None:
        """Queue a failure before any output."""
        self._queue(ScriptedReply((error,), delay=delay))

    def will_hold(self, text: str = "") -> Gate:
        """Queue an answer that waits before its first event until the returned gate is opened."""
        gate = Gate()
        self._queue(ScriptedReply((gate, text) if text else (gate,)))
        return gate

    def will_embed(self, result: Sequence[Sequence[float]] | BaseException) -> None:
        """Queue the vectors (or the error) of one embedding call; by default they are computed from the texts."""
        self._vectors.append(result if isinstance(result, BaseException) else tuple(tuple(vector) for vector in result))

    @property
    def last_request(self) -> ChatRequest:
        """The newest request.

        Raises:
            AssertionError: there was none.
        """
        if not self.requests:
            raise AssertionError("the scripted provider was never called")
        return self.requests[-1]

    @property
    def prompts(self) -> list[str]:
        """The text of the last message of every request."""
        return [request.messages[-1].text for request in self.requests]

    @property
    def waiting(self) -> int:
        """Replies that are still in the queue."""
        return len(self._replies)

    def _queue(self, reply: ScriptedReply) -> None:
        self._replies.append(reply)

    def next_reply(self, request: ChatRequest) -> ScriptedReply:
        """Record *request* and take the reply to it; called by the provider."""
        self.requests.append(request)
        if self._replies:
            self._last = self._replies.popleft()
            return self._last
        if self.then == "repeat" and self._last is not None:
            return self._last
        if self.then == "fail":
            raise AssertionError(
                f"call {len(self.requests)} to the scripted provider has no reply left: queue one with will_answer, "
                "will_stream or will_raise, or set then='echo'"
            )
        return ScriptedReply((next((one.text for one in reversed(request.messages) if one.role == "user"), ""),))

    def next_vectors(self, request: EmbeddingRequest) -> tuple[tuple[float, ...], ...] | None:
        """Record *request* and take the vectors queued for it, if any; called by the provider."""
        self.embeddings.append(request)
        result = self._vectors.popleft() if self._vectors else None
        if isinstance(result, BaseException):
            raise result
        return result


# Lets YAML, which can only hold a name, reach the object a test holds; weak, so that nothing outlives its test.
_named: WeakValueDictionary[str, Script] = WeakValueDictionary()


def _finish(value: UnifiedFinish | FinishReason | None) -> FinishReason | None:
    return FinishReason(value, value) if isinstance(value, str) else value


def closing_events(reply: ScriptedReply, request: ChatRequest, given: Sequence[StreamEvent]) -> list[StreamEvent]:
    """Usage and finish of *reply*, as far as its own steps have not said them."""
    closing: list[StreamEvent] = []
    if not any(isinstance(event, UsageReport) for event in given):
        closing.append(UsageReport(reply.usage or _counted(request, given)))
    if not any(isinstance(event, StreamFinish) for event in given):
        called = any(isinstance(event, ToolCallReady) for event in given)
        unified: UnifiedFinish = "tool_calls" if called else "stop"
        closing.append(StreamFinish(reply.finish or FinishReason(unified, unified)))
    return closing


def opening_event(reply: ScriptedReply, request: ChatRequest, provider: str, number: int) -> StreamStart:
    """The first event of *reply*."""
    return StreamStart(reply.model or request.model, provider, f"scripted-{number}")


def count_words(request: ChatRequest) -> int:
    """Prompt tokens of a scripted model: one for each word of the messages."""
    return sum(len(message.text.split()) for message in request.messages)


def _counted(request: ChatRequest, given: Sequence[StreamEvent]) -> Usage:
    answer = "".join(event.text for event in given if isinstance(event, TextDelta))
    thinking = "".join(event.thinking for event in given if isinstance(event, ThinkingDelta))
    return Usage(input=count_words(request), output=len(answer.split()), reasoning=len(thinking.split()))
