"""A provider that answers at once: what a call through the library costs beside it is the cost of the layers."""

from collections.abc import AsyncIterator

from core.llm.common.messages import TextPart
from core.llm.common.types import FinishReason, Usage
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    LLMResponse,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    UsageReport,
)
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models.provider import ProviderConfig

CHUNKS = 1000
_PARTS = (TextPart("The quick brown fox jumps over the lazy dog."),)
_STOP = FinishReason("stop", "stop")
_USAGE = Usage(30, output=12)
_PIECE = TextDelta(" word")


class InstantConfig(ProviderConfig):
    """`type: instant`."""

    type: str = "instant"


class InstantProvider(BaseLLMProvider):
    """Waits for nothing."""

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The same answer every time."""
        return LLMResponse(_PARTS, _STOP, request.model, self.name, _USAGE)

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """`CHUNKS` pieces."""
        yield StreamStart(request.model, self.name)
        for _ in range(CHUNKS):
            yield _PIECE
        yield UsageReport(_USAGE)
        yield StreamFinish(_STOP)


INSTANT = ProviderSpec("instant", "scripts.bench.instant:InstantConfig", "scripts.bench.instant:InstantProvider")
