"""Every recorded exchange, and what the decoder of its wire makes of it, in the words of the recordings.

One reader per wire format; none of them knows anything about a single recording.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.llm.common.clock import SystemClock
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits, Usage
from core.llm.dialects import anthropic_decode, gemini
from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.dialects.anthropic_models import models_from_anthropic
from core.llm.dialects.gemini_embeddings import EmbeddingMethod
from core.llm.dialects.gemini_embeddings import decode_embeddings as gemini_vectors
from core.llm.dialects.gemini_endpoint import GeminiEndpoint
from core.llm.dialects.gemini_models import models_from_gemini
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_completions import OpenAICompletionsDialect
from core.llm.dialects.openai_embeddings import decode_embeddings as openai_vectors
from core.llm.dialects.openai_models import models_from_openai
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.prompt_format import PromptFormat
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from core.llm.providers.bedrock.catalogue import models_from_bedrock
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.converse import ConverseDialect
from core.llm.providers.bedrock.embeddings import decode_embeddings as bedrock_vectors
from core.llm.providers.bedrock.embeddings import family_of
from core.llm.providers.bedrock.provider import decode_count as bedrock_count
from core.llm.providers.lm_studio.api import LMStudioApi
from core.llm.providers.ollama.errors import error_from
from core.llm.providers.ollama.lines import JsonLines
from core.llm.providers.ollama.models.catalogue import ShowResponse, TagsResponse, TransferProgress
from core.llm.providers.ollama.models.responses import EmbedResponse, GenerateResponse
from core.llm.providers.openai_compatible.presets import preset_names, quirks_of
from core.llm.providers.openai_server import NativeApi
from tests.unit.providers.ollama.support import dialect as ollama_dialect

FOLDER = Path(__file__).parents[1] / "recordings"
_METHODS: dict[str, EmbeddingMethod] = {"batchEmbedContents": "batch", "predict": "predict", "embedContent": "single"}


class Recording:
    """One exchange."""

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        response = data["response"]
        self.name = str(path.relative_to(FOLDER))
        self.id: str = data["id"]
        self.provider: str = data["provider"]
        self.wire: str = data["wire"]
        self.model: str = data["model"] or "m"
        self.is_stream: bool = data["stream"]
        self.path: str = data["request"]["path"]
        self.status: int = response["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in response["headers"].items()}
        self.body: bytes = base64.b64decode(response.get("body_base64", "")) or response.get("body_text", "").encode()
        self.expected: dict[str, Any] | None = data["expected"]

    @property
    def quirks(self) -> OpenAIQuirks:
        name = self.provider.removeprefix("openai_compatible:").replace("-", "_")
        return quirks_of(name, {}) if name in preset_names() else OpenAIQuirks()

    @property
    def dialect(self) -> Any:
        """What reads chats and errors of this wire."""
        match self.wire.partition(".")[0]:
            case "anthropic":
                return AnthropicDialect()
            case "gemini" if self.provider == "vertex":
                return gemini.GeminiDialect(GeminiEndpoint("v1beta1", True, "example-project", "global"))
            case "gemini":
                return gemini.GeminiDialect()
            case "bedrock":
                return ConverseDialect(BedrockConfig())
            case "ollama":
                return ollama_dialect()
            case _ if self.wire == "openai.completions":
                return OpenAICompletionsDialect(self.quirks, PromptFormat(user="{text}", assistant="{text}"))
            case _:
                return (OpenAIResponsesDialect if self.wire == "openai.responses" else OpenAIChatDialect)(self.quirks)

    def request(self) -> ChatRequest:
        """A request of the kind that was recorded."""
        params = LLMRequest(messages="hello")
        facts, limits = ModelFacts(), PhaseLimits()
        return ChatRequest(self.provider, self.model, params, params.messages, facts, limits, stream=self.is_stream)

    def error(self) -> ProviderError:
        """The error that the status and the body stand for."""
        if self.wire.startswith("ollama."):
            return error_from(self.status, self.headers, self.body)
        found: ProviderError = self.dialect.error(self.status, self.headers, self.body)
        return found

    def answer(self) -> LLMResponse:
        """The answer to a chat, streamed or not; raises what the dialect raises."""
        if not self.is_stream:
            whole: LLMResponse = self.dialect.decode(self.request(), self.status, self.headers, self.body)
            return whole
        decoder, collector = self.dialect.decoder(self.request(), self.headers), ResponseCollector()
        for event in [*decoder.feed(self.body), *decoder.end()]:
            collector.add(event)
        return collector.response()


def recordings() -> list[Recording]:
    """All of them."""
    return [Recording(path) for path in sorted(FOLDER.rglob("*.json"))]


def read(recording: Recording) -> dict[str, Any]:
    """What *recording* says, as far as its wire tells it; an error under `error`."""
    try:
        if recording.status >= 300:
            raise recording.error()
        return READERS[recording.wire](recording)
    except ProviderError as error:
        return {"error": {"type": error.type, "status": error.status_code, "message": error.message}}


def _chat(recording: Recording) -> dict[str, Any]:
    answer = recording.answer()
    return {
        "text": answer.content,
        "thinking_text": answer.thinking,
        "refusal": answer.refusal,
        "tool_calls": [
            {"name": call.name, "arguments": dict(call.arguments) if call.arguments_error is None else call.raw_arguments}
            for call in answer.tool_calls
        ],
        "tool_call_ids": [call.id for call in answer.tool_calls],
        "finish_reason_raw": answer.finish_reason.raw,
        "model": answer.model,
        "usage": answer.usage,
    }  # fmt: skip


def _vectors(vectors: Any, usage: Usage | None) -> dict[str, Any]:
    head = [round(number, 6) for number in vectors[0][:4]]
    return {"embeddings_shape": [len(vectors), len(vectors[0])], "embedding_head": head, "usage": usage}


def _openai_embeddings(recording: Recording) -> dict[str, Any]:
    batch = openai_vectors(_count(recording), recording.quirks, recording.headers, recording.body)
    return _vectors(batch.vectors, batch.usage)


def _gemini_embeddings(recording: Recording) -> dict[str, Any]:
    method = _METHODS[recording.path.rpartition(":")[2]]
    batch = gemini_vectors(_count(recording), method, recording.headers, recording.body)
    return _vectors(batch.vectors, batch.usage)


def _bedrock_invoke(recording: Recording) -> dict[str, Any]:
    family = family_of(recording.model, ModelFacts())
    batch = bedrock_vectors(family, _count(recording), recording.headers, recording.body)
    return _vectors(batch.vectors, batch.usage)


def _count(recording: Recording) -> int:
    count: int = (recording.expected or {})["embeddings_shape"][0]
    return count


def _models(names: list[str]) -> dict[str, Any]:
    return {"models_count": len(names), "model_ids": names[:10]}


def _openai_models(recording: Recording) -> dict[str, Any]:
    return _models([model.name for model in models_from_openai(recording.headers, recording.body)])


def _anthropic_models(recording: Recording) -> dict[str, Any]:
    page = models_from_anthropic(recording.headers, recording.body)
    return {**_models([model.name for model in page.models]), "has_more": page.after is not None}


def _gemini_models(recording: Recording) -> dict[str, Any]:
    listed, _ = models_from_gemini(recording.headers, recording.body)
    prefix = "publishers/google/models/" if recording.provider == "vertex" else "models/"
    return _models([prefix + model.name for model in listed])


def _bedrock_models(recording: Recording) -> dict[str, Any]:
    return _models([name for name, _, _ in models_from_bedrock(recording.headers, recording.body)])


def _anthropic_count(recording: Recording) -> dict[str, Any]:
    return {"usage": Usage(input=anthropic_decode.decode_count(recording.headers, recording.body))}


def _gemini_count(recording: Recording) -> dict[str, Any]:
    return {"usage": Usage(input=gemini.decode_count(recording.headers, recording.body))}


def _ollama_generate(recording: Recording) -> dict[str, Any]:
    lines = JsonLines(recording.headers)
    replies = [GenerateResponse.from_object(source) for source in [*lines.feed(recording.body), *lines.end()]]
    last = replies[-1]
    return {
        "text": "".join(reply.response for reply in replies),
        "tool_calls": [],
        "finish_reason_raw": last.done_reason,
        "done": last.done,
        "model": last.model,
        "usage": Usage(input=last.prompt_eval_count or 0, output=last.eval_count or 0),
    }


def _ollama_embed(recording: Recording) -> dict[str, Any]:
    reply = EmbedResponse.from_json(recording.body)
    return {**_vectors(reply.embeddings, Usage(input=reply.prompt_eval_count or 0)), "model": reply.model}


def _ollama_tags(recording: Recording) -> dict[str, Any]:
    return _models([model.name for model in TagsResponse.from_json(recording.body).models])


def _ollama_show(recording: Recording) -> dict[str, Any]:
    reply = ShowResponse.from_json(recording.body)
    wanted = (recording.expected or {})["model_details"]
    details = {name: value for name, value in reply.details.to_object().items() if name in wanted}
    return {"model_details": details, "capabilities": list(reply.capabilities or ())}


def _ollama_pull(recording: Recording) -> dict[str, Any]:
    lines = [TransferProgress.from_object(source) for source in JsonLines(recording.headers).feed(recording.body)]
    return {"pull_statuses": [line.status for line in lines], "pull_complete": any(line.succeeded for line in lines)}


def _bedrock_count(recording: Recording) -> dict[str, Any]:
    return {"usage": Usage(input=bedrock_count(recording.body))}


class _Replay:
    """A transport that answers with one recording."""

    def __init__(self, recording: Recording) -> None:
        self.status, self.headers, self._body = recording.status, recording.headers, recording.body

    async def send(self, *_: object) -> "_Replay":
        return self

    async def read(self) -> bytes:
        return self._body

    def close(self) -> None:
        """Nothing is open."""


def _lm_studio(recording: Recording) -> dict[str, Any]:
    # Nobody's SDK reads these: that they are understood is what can be told.
    replay: Any = _Replay(recording)
    api = LMStudioApi(NativeApi(lambda: replay, SystemClock()))

    async def ask() -> dict[str, Any]:
        match recording.path.rsplit("/", 1)[-1]:
            case "models":
                return _models([model.key for model in await api.models()])
            case "load":
                return {"loaded": (await api.load("m", {})).instance_id}
            case "unload":
                await api.unload("m")
                return {"unloaded": True}
            case "download":
                return {"download": (await api.download("m")).state}
        raise AssertionError(f"no reader for {recording.path}")

    return asyncio.run(ask())


READERS: Mapping[str, Callable[[Recording], dict[str, Any]]] = {
    "anthropic.count_tokens": _anthropic_count,
    "anthropic.messages": _chat,
    "anthropic.models": _anthropic_models,
    "bedrock.converse": _chat,
    "bedrock.count_tokens": _bedrock_count,
    "bedrock.invoke": _bedrock_invoke,
    "bedrock.models": _bedrock_models,
    "gemini.count_tokens": _gemini_count,
    "gemini.embed": _gemini_embeddings,
    "gemini.generate": _chat,
    "gemini.models": _gemini_models,
    "lmstudio.rest": _lm_studio,
    "ollama.chat": _chat,
    "ollama.embed": _ollama_embed,
    "ollama.generate": _ollama_generate,
    "ollama.pull": _ollama_pull,
    "ollama.show": _ollama_show,
    "ollama.tags": _ollama_tags,
    "openai.chat": _chat,
    "openai.completions": _chat,
    "openai.embeddings": _openai_embeddings,
    "openai.models": _openai_models,
    "openai.responses": _chat,
}
