"""A provider that fails by plan, around another one and without a network."""

from collections.abc import AsyncIterator
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Billing, PhaseLimits
from core.llm.dialects.errors import ErrorBody, classify
from core.llm.providers.base.provider import BaseLLMProvider, HealthReport
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import (
    EmbeddingResponse,
    LLMResponse,
    StreamEvent,
    StreamFinish,
    TextDelta,
    UsageReport,
)
from core.llm.testing.fault_injector import FaultInjector, Injected
from core.llm.testing.fault_plan import (
    Close,
    Exactly,
    FaultStep,
    Finish,
    Garble,
    Page,
    Refuse,
    Say,
    StopShort,
    Unmarked,
    Wait,
    steps_of,
)

_OPTIONAL: Final = (
    "list_models", "load_model", "unload_model", "model_status", "pull_model", "count_tokens"
)  # fmt: skip


class FaultyProvider(BaseLLMProvider):
    """*inner* with faults; what it can do beside chat and embeddings works as before."""

    def __init__(self, inner: BaseLLMProvider, injector: FaultInjector) -> None:
        super().__init__(inner.config, inner.services)
        self.inner = inner
        self._injector = injector
        # The optional protocols are recognised by their methods, so only those that the inner provider has are here.
        for name in _OPTIONAL:
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        if hasattr(inner, "embed"):
            self.embed = self._embed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    def facts(self, model: str) -> Any:
        """Those of the inner provider."""
        return self.inner.facts(model)

    async def start(self) -> None:
        """Start the inner provider."""
        await self.inner.start()

    async def close(self) -> None:
        """Close the inner provider."""
        await self.inner.close()

    async def health_check(self) -> HealthReport:
        """That of the inner provider: a plan is about calls."""
        return await self.inner.health_check()

    async def resolve_default_model(self) -> str | None:
        """That of the inner provider."""
        return await self.inner.resolve_default_model()

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The answer of the inner provider, or the fault."""
        entry = self._decide(request)
        began = False
        for step in steps_of(entry.fault):
            if isinstance(step, Say):
                began = True
            elif isinstance(step, Finish | Unmarked):
                response = await self.inner.generate(request)
                entry.text = response.content
                return response
            else:
                await self._do(step, request.limits, began=began)
        raise _broken("truncated", "the answer ended before it was whole")

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The answer of the inner provider, as far as the fault lets it."""
        entry = self._decide(request)
        events = self.inner.stream_generate(request)
        pieces, text = _Pieces(events), list[str]()
        try:
            for step in steps_of(entry.fault):
                if isinstance(step, Say | Finish | Unmarked):
                    async for event in pieces.part(step.words) if isinstance(step, Say) else pieces.rest():
                        text.append(event.text)
                        yield event
                else:
                    await self._do(step, request.limits, began=bool(text))
        finally:
            entry.text = "".join(text)
            aclose = getattr(events, "aclose", None)
            if aclose is not None:
                await aclose()

    async def _embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        entry = self._injector.next(self.name, request.model, key=request.api_key)
        for step in steps_of(entry.fault):
            if isinstance(step, Finish | Unmarked):
                break
            if not isinstance(step, Say):
                await self._do(step, request.limits, began=False)
        inner: Any = self.inner
        vectors: EmbeddingResponse = await inner.embed(request)
        return vectors

    def _decide(self, request: ChatRequest) -> Injected:
        prompt = "\n".join(message.text for message in request.messages)
        return self._injector.next(
            self.name, request.model, key=request.api_key, stream=request.stream, text="", prompt=prompt
        )

    async def _do(self, step: FaultStep, limits: PhaseLimits, *, began: bool) -> None:
        billing: Billing = "estimated" if began else "ambiguous"
        match step:
            case Refuse():
                headers = {} if step.retry_after is None else {"retry-after": f"{step.retry_after:g}"}
                raise classify(ErrorBody(step.message, step.code), status=step.status, headers=headers)
            case Wait(seconds):
                await self._wait(seconds, limits, began=began)
            case Garble():
                raise _broken("json", "a piece of the answer cannot be read", billing)
            case Page():
                raise _broken("content_type", "the answer is a web page", billing)
            case StopShort():
                raise _broken("truncated", "the answer ended before it was whole", billing)
            case Close():
                code = "body_cut" if began else "connection_lost"
                raise ProviderError("network_error", "the connection broke", code=code, billing=billing)
            case Exactly():
                raise ValueError("a wire script needs a WireServer: attach the injector to one instead of wrapping")

    async def _wait(self, seconds: float | None, limits: PhaseLimits, *, began: bool) -> None:
        """Let time pass; a transport would give up at the limits of the attempt, so this does."""
        clock = self.services.clock
        limit = min(
            (limits.idle if began else limits.first_token) or float("inf"), limits.deadline_at - clock.monotonic()
        )
        if seconds is not None and seconds <= limit:
            await clock.sleep(seconds)
            return
        await clock.sleep(max(0.0, limit))
        phase = "idle" if began else "first_token"
        if clock.monotonic() >= limits.deadline_at:
            raise ProviderError(
                "timeout", "the deadline has passed", code="deadline_exceeded", retryable=False, billing="ambiguous"
            )
        raise ProviderError("timeout", "nothing was sent", code=f"{phase}_timeout", billing="ambiguous")


class _Pieces:
    """A stream that is handed on in parts."""

    def __init__(self, events: AsyncIterator[StreamEvent]) -> None:
        self._events = events
        self._held: StreamEvent | None = None

    async def part(self, words: int | None) -> AsyncIterator[StreamEvent]:
        """The next so many pieces of text; `None`: all of them. What ends an answer is held back."""
        said = 0
        while self._held is None and (words is None or said < words):
            event = await anext(self._events, None)
            if event is None:
                return
            if isinstance(event, UsageReport | StreamFinish):
                self._held = event
                return
            said += isinstance(event, TextDelta)
            yield event

    async def rest(self) -> AsyncIterator[StreamEvent]:
        """Everything that is left."""
        if self._held is not None:
            yield self._held
        async for event in self._events:
            yield event


def _broken(code: str, message: str, billing: Billing = "ambiguous") -> ProviderError:
    return ProviderError("protocol", message, code=code, billing=billing)
