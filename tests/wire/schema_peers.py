"""Strict servers of every dialect, and how each is told to answer with an object."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from core.llm.common.messages import ToolCall
from core.llm.testing import openai_answers
from core.llm.testing.anthropic_script import AnthropicAnswer
from core.llm.testing.anthropic_server import AnthropicServer
from core.llm.testing.bedrock_frames import bedrock_usage, converse_stream, event_frame, tool_frames
from core.llm.testing.bedrock_server import BedrockAnswer, BedrockServer
from core.llm.testing.gemini_server import GeminiAnswer, GeminiModelSpec, GeminiServer
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.testing.openai_server import OpenAIServer

KEY = "key-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server: the provider to reach it by, and what it says next."""

    provider: Mapping[str, Any]
    model: str
    says: Callable[[str], None]
    """Answer the next request with this text."""
    calls: Callable[[str, str], None]
    """Answer the next request by calling a tool: its name, and its arguments as JSON."""
    bodies: Callable[[], list[Any]]
    """What has arrived, in order."""


@asynccontextmanager
async def openai(model: str, **provider: Any) -> AsyncIterator[Peer]:
    """Chat Completions or Responses, whichever *provider* says."""
    async with OpenAIServer() as server:
        options = {"type": "openai", "base_url": server.url, "api_key": KEY, **provider}

        def says(text: str) -> None:
            server.script(openai_answers.OpenAIAnswer(text))

        def calls(name: str, arguments: str) -> None:
            server.script(openai_answers.OpenAIAnswer(tool_calls=[ToolCall("call_1", name, json.loads(arguments))]))

        yield Peer(
            options,
            model,
            says,
            calls,
            lambda: [json.loads(call.body) if isinstance(call.body, bytes) else call.body for call in server.calls],
        )


@asynccontextmanager
async def anthropic(model: str) -> AsyncIterator[Peer]:
    """Messages."""
    async with AnthropicServer() as server:

        def says(text: str) -> None:
            server.script(AnthropicAnswer(text))

        def calls(name: str, arguments: str) -> None:
            server.script(AnthropicAnswer("", tool_calls=(ToolCall("toolu_1", name, json.loads(arguments)),)))

        options = {"type": "anthropic", "base_url": server.url, "api_key": KEY}
        yield Peer(options, model, says, calls, lambda: [call.body for call in server.calls])


@asynccontextmanager
async def gemini(model: str, quirks: Mapping[str, Any] | None = None) -> AsyncIterator[Peer]:
    """generateContent, in either form of schemas."""
    async with GeminiServer(GeminiModelSpec(model), api_key=KEY) as server:

        def says(text: str) -> None:
            server.will_answer(GeminiAnswer(text))

        def calls(name: str, arguments: str) -> None:
            call = {"functionCall": {"name": name, "args": json.loads(arguments)}}
            server.will_answer(GeminiAnswer(parts=[call]))

        options = {
            "type": "gemini",
            "base_url": server.url,
            "api_key": KEY,
            "models": {model: {"quirks": quirks or {}}},
        }
        yield Peer(options, model, says, calls, lambda: [call.body for call in server.calls])


@asynccontextmanager
async def ollama(model: str) -> AsyncIterator[Peer]:
    """Ollama's own chat endpoint."""
    async with OllamaServer(OllamaModelSpec(model)) as server:

        def says(text: str) -> None:
            server.script(OllamaAnswer(text))

        def calls(name: str, arguments: str) -> None:
            server.script(OllamaAnswer(tool_calls=[(name, json.loads(arguments))]))

        yield Peer(
            {"type": "ollama", "base_url": server.url},
            model,
            says,
            calls,
            lambda: [c.body for c in server.calls_to("/api/chat")],
        )


@asynccontextmanager
async def bedrock(model: str) -> AsyncIterator[Peer]:
    """Converse and ConverseStream."""
    async with BedrockServer(api_key=KEY) as server:

        def answer(block: Mapping[str, Any], stop: str, frames: Sequence[bytes]) -> None:
            body = {
                "output": {"message": {"role": "assistant", "content": [block]}},
                "stopReason": stop,
                "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8},
                "metrics": {"latencyMs": 1},
            }
            server.will(BedrockAnswer(json.dumps(body).encode(), frames))

        def says(text: str) -> None:
            answer({"text": text}, "end_turn", converse_stream(text))

        def calls(name: str, arguments: str) -> None:
            block = {"toolUseId": "t1", "name": name, "input": json.loads(arguments)}
            half = len(arguments) // 2
            frames = [
                event_frame("messageStart", {"role": "assistant"}),
                *tool_frames(0, "t1", name, (arguments[:half], arguments[half:])),
                event_frame("messageStop", {"stopReason": "tool_use"}),
                event_frame("metadata", {"usage": bedrock_usage(3), "metrics": {"latencyMs": 1}}),
            ]
            answer({"toolUse": block}, "tool_use", frames)

        options = {"type": "bedrock", "base_url": server.url, "region": "us-east-1", "api_key": KEY}
        yield Peer(options, model, says, calls, lambda: [request.body for request in server.requests])
