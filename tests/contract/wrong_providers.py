"""Small providers that each break one rule of the contract."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import TextPart, ThinkingPart
from core.llm.common.types import FinishReason, Usage
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import (
    EmbeddingResponse,
    LLMResponse,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from tests.contract.scripted_upstream import SteeredProvider


class StripsWhiteSpace(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async with aclosing(super().stream_generate(request)) as stream:
            async for event in stream:
                yield TextDelta(event.text.strip()) if isinstance(event, TextDelta) else event


class StartsTwice(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async with aclosing(super().stream_generate(request)) as stream:
            async for event in stream:
                yield event
                if isinstance(event, StreamStart):
                    yield event


class NeverFinishes(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async with aclosing(super().stream_generate(request)) as stream:
            async for event in stream:
                if not isinstance(event, StreamFinish):
                    yield event

    async def generate(self, request: ChatRequest) -> LLMResponse:
        return await SteeredProvider(self.upstream).generate(request)


class TalksAfterTheEnd(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async with aclosing(super().stream_generate(request)) as stream:
            late = None
            async for event in stream:
                if isinstance(event, UsageReport):
                    late = event
                else:
                    yield event
            if late:
                yield late


class TakesACutForTheEnd(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            async with aclosing(super().stream_generate(request)) as stream:
                async for event in stream:
                    yield event
        except ProviderError as error:
            if error.code != "truncated":
                raise
            yield UsageReport(Usage())
            yield StreamFinish(FinishReason("stop", "stop"))


class CollectsTheStream(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        events = [event async for event in super().stream_generate(request)]
        for event in events:
            yield event


class SwallowsCancellation(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except asyncio.CancelledError:
            raise ProviderError("cancelled", "cancelled", provider=self.name, model=request.model) from None


class LeavesTheConnectionOpen(SteeredProvider):
    """Works through the stream in a task of its own, which nobody stops."""

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        queue: asyncio.Queue[StreamEvent | BaseException | None] = asyncio.Queue()
        stream = super().stream_generate(request)

        async def pump() -> None:
            try:
                async for event in stream:
                    queue.put_nowait(event)
            except Exception as error:
                queue.put_nowait(error)
            queue.put_nowait(None)

        LEFT_RUNNING.append(asyncio.create_task(pump()))
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


LEFT_RUNNING: list[asyncio.Task] = []


class ShowsTheKey(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            if error.type == "authentication":
                error.message = f"invalid key {request.api_key}"
                error.args = (error.message,)
            raise


class ChainsTheKey(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            raise error from RuntimeError(f"headers: {{'authorization': 'Bearer {request.api_key}'}}")


class RemembersTheKey(SteeredProvider):
    key = None

    async def generate(self, request: ChatRequest) -> LLMResponse:
        self.key = request.api_key
        return await super().generate(request)

    def __repr__(self) -> str:
        return f"<provider with {self.key}>"


class HasNoPlace(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            error.provider = error.model = None
            raise


class RaisesAForeignError(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            if error.type == "server_error":
                raise RuntimeError("500") from None
            raise


class CallsEverythingUnknown(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            raise ProviderError("unknown", error.message).at(self.name, request.model) from None


class ForgetsTheWait(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            error.retry_after = None
            raise


class TriesAgain(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError:
            return await super().generate(request)


class RaisesInTheHealthCheck(SteeredProvider):
    async def health_check(self):
        if self.upstream.down:
            raise ProviderError("network_error", "nobody there")
        return self.health


class AsksTheModelForHealth(SteeredProvider):
    async def health_check(self):
        report = await super().health_check()
        if report.healthy:
            self.script.requests.append(self.script.requests[0] if self.script.requests else _ping())
        return report


class ClosesOnce(SteeredProvider):
    async def close(self) -> None:
        if self.closed == 1:
            self.closed += 1
            raise RuntimeError("already closed")
        await super().close()


class KeepsTheLastAnswer(SteeredProvider):
    last = None

    async def generate(self, request: ChatRequest) -> LLMResponse:
        self.last = await super().generate(request)
        await asyncio.sleep(0)
        return self.last


class CountsTwice(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        response = await super().generate(request)
        usage = response.usage
        response.usage = Usage(usage.input + usage.cache_read, usage.cache_read, 0, usage.output, usage.reasoning)
        return response


class InventsUsage(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        response = await super().generate(request)
        if response.usage.estimated:
            response.usage = Usage(1, output=1)
        return response


class ThinksAloud(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        response = await super().generate(request)
        response.parts = tuple(TextPart(p.text) if isinstance(p, ThinkingPart) else p for p in response.parts)
        return response


class ForgetsToCompleteToolCalls(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async with aclosing(super().stream_generate(request)) as stream:
            async for event in stream:
                if not isinstance(event, ToolCallReady):
                    yield event

    async def generate(self, request: ChatRequest) -> LLMResponse:
        return await SteeredProvider(self.upstream).generate(request)


class CutsToolArguments(SteeredProvider):
    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async with aclosing(super().stream_generate(request)) as stream:
            async for event in stream:
                if isinstance(event, ToolCallDelta):
                    event = ToolCallDelta(event.index, event.id, event.name, event.arguments[:-1])
                yield event


class EditsTheRequest(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        request.model = "the-real-name"
        return await super().generate(request)


class DropsASetting(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        params = request.params.model_copy(update={"seed": None})
        return await super().generate(_with(request, params))


class AddsADefault(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        params = request.params.model_copy(update={"temperature": request.params.temperature or 0.7})
        return await super().generate(_with(request, params))


class TakesAnErrorPageForAnAnswer(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        try:
            return await super().generate(request)
        except ProviderError as error:
            if error.type == "protocol":
                return LLMResponse((TextPart("<html>"),), FinishReason("stop", "stop"), request.model, self.name)
            raise


class MixesUpVectors(SteeredProvider):
    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        response = await super().embed(request)
        response.vectors = tuple(sorted(response.vectors))
        return response


class ForgetsItsName(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        response = await super().generate(request)
        response.provider = ""
        return response


class FlattensTheFinish(SteeredProvider):
    async def generate(self, request: ChatRequest) -> LLMResponse:
        response = await super().generate(request)
        response.finish_reason = FinishReason("stop", response.finish_reason.raw)
        return response


def _with(request: ChatRequest, params) -> ChatRequest:
    return ChatRequest(
        request.provider, request.model, params, request.messages, request.facts, request.limits, request.api_key
    )


def _ping() -> ChatRequest:
    from core.llm.testing import ProviderContract

    return ProviderContract().chat()
