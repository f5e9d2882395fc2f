"""A model by the name that the configuration gives it, to be injected: `Annotated[ChatModel, Named("fast")]`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack, overload

from pydantic import BaseModel

from core.llm.object_stream import ObjectStream
from core.llm.providers.base.request import AnswerMode, ObjectOptions, RequestOptions, ToolInput
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse
from core.llm.service import LLMService, Prompt
from core.llm.stream import LLMStream

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Named:
    """Names the alias in `Annotated[ChatModel, Named("fast")]`."""

    alias: str


class ChatModel:
    """`LLMService` with the model already chosen. Follows edits of the alias like every other call."""

    __slots__ = ("_service", "name")

    def __init__(self, service: LLMService, name: str) -> None:
        self._service = service
        self.name = name

    def __repr__(self) -> str:
        return f"ChatModel({self.name!r})"

    async def generate(self, request: Prompt, **options: Unpack[RequestOptions]) -> LLMResponse:
        """See `LLMService.generate`."""
        options["model"] = self.name
        return await self._service.generate(request, **options)

    def stream(self, request: Prompt, **options: Unpack[RequestOptions]) -> LLMStream:
        """See `LLMService.stream`."""
        options["model"] = self.name
        return self._service.stream(request, **options)

    @overload
    async def generate_object(
        self,
        request: Prompt,
        model_class: type[T],
        *,
        mode: AnswerMode = "auto",
        tools: None = None,
        **options: Unpack[ObjectOptions],
    ) -> LLMResponse[T]: ...
    @overload
    async def generate_object(
        self,
        request: Prompt,
        model_class: type[T],
        *,
        mode: AnswerMode = "auto",
        tools: Sequence[ToolInput],
        **options: Unpack[ObjectOptions],
    ) -> LLMResponse[T | None]: ...
    async def generate_object(self, request: Prompt, model_class: type[T], **options: Any) -> Any:
        """See `LLMService.generate_object`."""
        return await self._service.generate_object(request, model_class, **{**options, "model": self.name})

    def stream_object(
        self, request: Prompt, model_class: type[T], *, mode: AnswerMode = "auto", **options: Unpack[ObjectOptions]
    ) -> ObjectStream[T]:
        """See `LLMService.stream_object`."""
        options["model"] = self.name
        return self._service.stream_object(request, model_class, mode=mode, **options)

    async def embed(self, texts: str | Sequence[str], **options: Any) -> EmbeddingResponse:
        """See `LLMService.embed`."""
        return await self._service.embed(texts, **{**options, "model": self.name})
