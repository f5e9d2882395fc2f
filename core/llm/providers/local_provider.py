"""What providers of models in processes of this machine share: calls that are addressed to one of several models."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import Final
from urllib.parse import quote

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import Price
from core.llm.common.wire import HttpCall
from core.llm.dialects.json import parse_object, schema_error
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, ResponseCollector
from core.llm.providers.local_calls import COUNT
from core.llm.providers.openai_style import OpenAIStyleProvider

TEXTS_PER_CALL: Final = 32
"""Texts embedded at once; between two such batches other calls get their turn."""
FREE: Final = Price(Decimal(0), Decimal(0), source="local")


class LocalProvider(OpenAIStyleProvider):
    """Speaks the OpenAI format with the engines of its models, each behind a path of its own."""

    fixed_slots = True
    counts: str = "the engine's answer"
    """Whose answer holds the count of tokens, for the message where it does not."""

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer. The engine streams it nevertheless: only a stream can be stopped half-way."""
        collector = ResponseCollector()
        async with aclosing(self.stream_generate(replace(request, stream=True))) as events:  # type: ignore[type-var]  # it is an async generator, which has aclose
            async for event in events:
                collector.add(event)
        return collector.response()

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per text, in order."""
        if request.dimensions is not None:
            raise UnsupportedFeature(f"{self.name} cannot shorten vectors: leave `dimensions` out")
        return await super().embed(request)

    async def call_json(
        self, call: HttpCall, request: ChatRequest | EmbeddingRequest
    ) -> tuple[Mapping[str, str], bytes]:
        """As in the base, addressed to the model of *request*."""
        return await super().call_json(replace(call, path=f"/{quote(request.model, safe='')}{call.path}"), request)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Prompt tokens of *request*, counted by the model's own tokenizer, template and tools included."""
        body = self.dialect.encode(replace(request, warnings=[])).body
        _, answer = await self.call_json(HttpCall("POST", COUNT, body), request)
        count = parse_object(answer).get("input_tokens")
        if type(count) is not int:
            raise schema_error(f"{self.counts} holds no token count").at(self.name, request.model)
        return count
