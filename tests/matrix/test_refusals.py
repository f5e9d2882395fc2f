"""A refusal or a safety block is the same typed outcome everywhere, asked for once and never routed around by default.

An answer that says it is refused, or was withheld in part, is a response with the finish `refusal` or `content_filter`;
a prompt that is blocked, or an answer that is withheld whole, is a `ProviderError` of type `content_filter`.
"""

from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.container import Container
from core.llm import LLMService
from core.llm.common.exceptions import ProviderError
from core.llm.module import ProviderModule
from core.llm.testing.anthropic_script import AnthropicAnswer
from core.llm.testing.anthropic_server import AnthropicServer
from core.llm.testing.bedrock_frames import converse_answer, converse_stream
from core.llm.testing.bedrock_server import BedrockAnswer, BedrockServer
from core.llm.testing.gemini_server import GeminiAnswer, GeminiModelSpec, GeminiServer
from core.llm.testing.lm_studio_server import LMStudioServer
from core.llm.testing.localai_server import LocalAIServer
from core.llm.testing.openai_answers import OpenAIAnswer
from core.llm.testing.openai_server import OpenAIServer
from core.llm.testing.scripted_openai import OpenAIAnswer as LocalAnswer

KEY = "a-key-of-no-worth"
GEMINI = "gemini-3-flash"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NO = "I will not do that."

Script = Callable[[Any, bool], None]
"""Tell a server how to refuse; the second argument says whether it is asked for a stream."""

AZURE_BLOCK = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
}
OPENAI_BLOCK = {
    "message": "Your request was rejected as a result of our safety system.",
    "type": "invalid_request_error",
    "param": None,
    "code": "content_policy_violation",
}


def _bedrock(text: str, reason: str) -> Script:
    def script(server: BedrockServer, stream: bool) -> None:
        if stream:
            server.will(BedrockAnswer(frames=converse_stream(text, finish=reason)))
        else:
            server.will(BedrockAnswer(converse_answer(text, finish=reason)))

    return script


def _openai(api: str, **more: Any) -> tuple[Callable[[], Any], Mapping[str, Any], str]:
    config = {"type": "openai", "api_key": KEY, "api": api, "path": "/v1", **more}
    return OpenAIServer, config, "gpt-4.1"


SERVERS: dict[str, tuple[Callable[[], Any], Mapping[str, Any], str]] = {
    "openai_chat": _openai("chat"),
    "openai_responses": _openai("responses"),
    "azure_openai": (
        lambda: OpenAIServer(deployments={"ours": "gpt-4.1"}),
        {"type": "azure_openai", "api_key": KEY, "api": "chat", "models": {"ours": {"base_model": "gpt-4.1"}}},
        "ours",
    ),
    "anthropic": (AnthropicServer, {"type": "anthropic", "api_key": KEY}, "claude-opus-5-5"),
    "gemini": (lambda: GeminiServer(GeminiModelSpec(GEMINI)), {"type": "gemini", "api_key": KEY}, GEMINI),
    "vertex": (
        lambda: GeminiServer(GeminiModelSpec(GEMINI)),
        {"type": "gemini", "api_key": KEY, "vertex": {"project": "p"}},
        GEMINI,
    ),
    "bedrock": (
        lambda: BedrockServer(api_key=KEY),
        {"type": "bedrock", "api_key": KEY, "region": "us-east-1"},
        CLAUDE,
    ),
    "lm_studio": (lambda: LMStudioServer("gemma"), {"type": "lm_studio"}, "gemma"),
    "localai": (lambda: LocalAIServer("gemma"), {"type": "localai"}, "gemma"),
    "openai_compatible": _openai("chat", type="openai_compatible"),
}
"""Ollama is not here: its format has no word for a refusal, and its models no filter."""

OUTCOMES: list[tuple[str, str, str, Script]] = [
    ("openai_chat", "refusal", "refused", lambda server, _: server.script(OpenAIAnswer(refusal=NO))),
    ("openai_responses", "refusal", "refused", lambda server, _: server.script(OpenAIAnswer(refusal=NO))),
    ("azure_openai", "refusal", "refused", lambda server, _: server.script(OpenAIAnswer(refusal=NO))),
    ("openai_compatible", "refusal", "refused", lambda server, _: server.script(OpenAIAnswer(refusal=NO))),
    ("anthropic", "refusal", "refused", lambda s, _: s.script(AnthropicAnswer("Well,", stop_reason="refusal"))),
    ("anthropic", "refusal", "without a word", lambda s, _: s.script(AnthropicAnswer("", stop_reason="refusal"))),
    ("openai_chat", "content_filter", "cut", lambda s, _: s.script(OpenAIAnswer("Well,", finish="content_filter"))),
    ("openai_responses", "content_filter", "cut", lambda s, _: s.script(OpenAIAnswer("Well,", finish="content_filter"))),
    ("azure_openai", "content_filter", "cut", lambda s, _: s.script(OpenAIAnswer("Well,", finish="content_filter"))),
    ("openai_compatible", "content_filter", "cut", lambda s, _: s.script(OpenAIAnswer("Well,", finish="content_filter"))),
    ("lm_studio", "content_filter", "cut", lambda s, _: s.script(LocalAnswer("Well,", finish="content_filter"))),
    ("localai", "content_filter", "cut", lambda s, _: s.script(LocalAnswer("Well,", finish="content_filter"))),
    ("gemini", "content_filter", "cut", lambda s, _: s.will_answer(GeminiAnswer("Well,", finish="SAFETY"))),
    ("vertex", "content_filter", "cut", lambda s, _: s.will_answer(GeminiAnswer("Well,", finish="PROHIBITED_CONTENT"))),
    ("bedrock", "content_filter", "cut", _bedrock("Well,", "content_filtered")),
    ("bedrock", "content_filter", "guardrail", _bedrock("Sorry, no.", "guardrail_intervened")),
]  # fmt: skip
"""Provider, finish reason, name of the case, and what the server is told."""

BLOCKS: list[tuple[str, str, Script]] = [
    ("openai_chat", "prompt", lambda server, _: server.fail(400, OPENAI_BLOCK)),
    ("openai_responses", "prompt", lambda server, _: server.fail(400, OPENAI_BLOCK)),
    ("azure_openai", "prompt", lambda server, _: server.fail(400, AZURE_BLOCK)),
    ("openai_compatible", "prompt", lambda server, _: server.fail(400, AZURE_BLOCK)),
    ("anthropic", "answer", lambda s, _: s.fail(400, "invalid_request_error", "Output blocked by content filtering policy")),
    ("gemini", "prompt", lambda server, _: server.will_answer(GeminiAnswer(block_reason="PROHIBITED_CONTENT"))),
    ("vertex", "prompt", lambda server, _: server.will_answer(GeminiAnswer(block_reason="MODEL_ARMOR"))),
    ("openai_chat", "answer", lambda server, _: server.script(OpenAIAnswer(finish="content_filter"))),
    ("openai_responses", "answer", lambda server, _: server.script(OpenAIAnswer(finish="content_filter"))),
    ("azure_openai", "answer", lambda server, _: server.script(OpenAIAnswer(finish="content_filter"))),
    ("openai_compatible", "answer", lambda server, _: server.script(OpenAIAnswer(finish="content_filter"))),
    ("lm_studio", "answer", lambda server, _: server.script(LocalAnswer("", finish="content_filter"))),
    ("localai", "answer", lambda server, _: server.script(LocalAnswer("", finish="content_filter"))),
    ("gemini", "answer", lambda server, _: server.will_answer(GeminiAnswer(finish="SAFETY"))),
    ("vertex", "answer", lambda server, _: server.will_answer(GeminiAnswer(finish="SAFETY"))),
    ("bedrock", "answer", _bedrock("", "content_filtered")),
]  # fmt: skip
"""Provider, what is withheld, and what the server is told."""

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@asynccontextmanager
async def _asking(place: str):
    """A service whose alias names *place*, with another provider to fall back to; both servers."""
    make, config, model = SERVERS[place]
    async with make() as server, OpenAIServer() as spare:
        entry = dict(config)
        entry["base_url"] = getattr(server, "root", server.url) + entry.pop("path", "")
        settings = {
            "models": {"asked": {"use": f"place/{model}", "fallback": ["spare/gpt-4.1"]}},
            "providers": {"place": entry, "spare": {"type": "openai", "base_url": spare.url, "api_key": KEY}},
            "retry": {"max_retries": 2, "initial_delay": "1ms", "max_delay": "2ms"},
            "health_check": {"enabled": False},
        }
        async with Container([ProviderModule({"llm_service": settings}, watch=False, env={})]) as container:
            yield container.get(LLMService), server, spare


async def _ask(llm, *, stream):
    if not stream:
        return await llm.generate("Do it.", model="asked", max_tokens=100)
    async with llm.stream("Do it.", model="asked", max_tokens=100) as events:
        async for _ in events:
            pass
        return await events.response()


def _hits(server) -> int:
    calls = getattr(server, "requests", None) or server.calls
    return sum(1 for call in calls if getattr(call, "method", "POST") == "POST")


@both_ways
@pytest.mark.parametrize(("place", "finish", "case", "script"), OUTCOMES, ids=[f"{o[0]} {o[2]}" for o in OUTCOMES])
async def test_an_answer_that_is_refused_or_cut_says_so(place, finish, case, script, stream):
    """It is an answer: it comes back with its words, and nobody else is asked."""
    async with _asking(place) as (llm, server, spare):
        script(server, stream)
        response = await _ask(llm, stream=stream)
        assert response.finish_reason.unified == finish
        assert response.finish_reason.raw
        assert response.provider == "place"
        if case == "refused" and place != "anthropic":
            assert response.refusal == NO
        if case == "cut":
            assert response.content == "Well,"
        assert (_hits(server), _hits(spare)) == (1, 0)


@both_ways
@pytest.mark.parametrize(("place", "case", "script"), BLOCKS, ids=[f"{b[0]} {b[1]}" for b in BLOCKS])
async def test_a_block_without_an_answer_is_one_typed_error(place, case, script, stream):
    """Not tried again, and not carried to another provider behind the caller's back."""
    async with _asking(place) as (llm, server, spare):
        script(server, stream)
        with pytest.raises(ProviderError) as caught:
            await _ask(llm, stream=stream)
        assert caught.value.type == "content_filter"
        assert not caught.value.retryable
        assert caught.value.provider == "place"
        assert (_hits(server), _hits(spare)) == (1, 0)


def test_every_provider_is_in_both_tables():
    """LM Studio and LocalAI block no prompts; nobody is forgotten."""
    assert {place for place, *_ in OUTCOMES} == {place for place, *_ in BLOCKS} == SERVERS.keys()
