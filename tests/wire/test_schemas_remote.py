"""Forty models by every dialect and in every way: the right object, or an error that says what is wrong.

The servers refuse what the vendors refuse, so a schema that reached an answer was one they take.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from core.container import Container
from core.llm.common.exceptions import StructuredOutputError
from core.llm.dialects.anthropic_schema import claude_schema
from core.llm.module import ProviderModule
from core.llm.providers.base.request import AnswerMode
from core.llm.service import LLMService
from core.llm.structured.form import WRAPPER, answer_format, in_an_object
from tests.unit.structured.models import TABLE
from tests.wire.schema_peers import Peer, anthropic, bedrock, gemini, ollama, openai

Opening = Callable[[], AbstractAsyncContextManager[Peer]]

PEERS: dict[str, Opening] = {
    "openai-chat": partial(openai, "gpt-4.1", api="chat"),
    "openai-responses": partial(openai, "gpt-5.5", api="responses"),
    "json-object": partial(openai, "gpt-4.1", type="openai_compatible", quirks={"structured": "json_object"}),
    "no-json-mode": partial(openai, "gpt-4.1", type="openai_compatible", quirks={"structured": "none"}),
    "anthropic": partial(anthropic, "claude-opus-5-5"),
    "anthropic-old": partial(anthropic, "claude-haiku-4-5"),
    "gemini": partial(gemini, "gemini-3-flash"),
    "gemini-openapi": partial(gemini, "gemini-3-flash", {"schema": "openapi"}),
    "ollama": partial(ollama, "tiny:1b"),
    "bedrock": partial(bedrock, "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    "bedrock-nova": partial(bedrock, "us.amazon.nova-pro-v1:0"),
}
CASES = [
    pytest.param(name, mode, id=f"{name}-{mode}")
    for name in PEERS
    for mode in ("auto", "tool", "prompt")
    # Ollama has no way to force a tool, and says so.
    if (name, mode) != ("ollama", "tool")
]


def offers_tool(name: str, mode: AnswerMode, schema: Any) -> bool:
    """Whether the answer is to come as the call of a tool."""
    if mode == "auto":
        # Nova has no schema mode; Claude's own has no free keys and nothing that refers to itself.
        return name == "bedrock-nova" or (name.startswith("anthropic") and claude_schema(schema) is None)
    return mode == "tool"


def answer_with(peer: Peer, name: str, mode: AnswerMode, model: type[BaseModel], text: str) -> None:
    """Let the server give *text* in the way it will be asked for."""
    wanted = answer_format(model)
    sent = in_an_object(wanted)
    given = text if sent is wanted else f'{{"{WRAPPER}": {text}}}'
    if offers_tool(name, mode, sent.schema) and given.startswith("{"):
        peer.calls(wanted.name, given)
    else:
        peer.says(given)


@pytest.mark.parametrize(("name", "mode"), CASES)
async def test_every_model_comes_back_typed_or_as_a_clear_error(name: str, mode: AnswerMode) -> None:
    """What fits is the object the model itself would make of it; what does not is asked for twice, and then an error."""
    async with PEERS[name]() as peer:
        config = {
            "providers": {"peer": dict(peer.provider)},
            "retry": {"max_retries": 0},
            "health_check": {"enabled": False},
        }
        module = ProviderModule({"llm_service": config}, watch=False, env={})
        async with Container([module]) as container:
            service = container.get(LLMService)
            for model, good, bad in TABLE:
                answer_with(peer, name, mode, model, good)
                response = await service.generate_object("Give me one.", model, model=f"peer/{peer.model}", mode=mode)
                assert response.object == model.model_validate_json(good), model.__name__
                before = len(peer.bodies())
                answer_with(peer, name, mode, model, bad)
                answer_with(peer, name, mode, model, bad)
                with pytest.raises(StructuredOutputError) as caught:
                    await service.generate_object("Give me one.", model, model=f"peer/{peer.model}", mode=mode)
                assert caught.value.reason == "invalid", model.__name__
                assert caught.value.text, model.__name__
                assert len(peer.bodies()) == before + 2, model.__name__


@pytest.mark.parametrize("name", PEERS)
async def test_every_model_grows_and_is_whole_at_the_end(name: str) -> None:
    """The same by streams."""
    async with PEERS[name]() as peer:
        config = {"providers": {"peer": dict(peer.provider)}, "health_check": {"enabled": False}}
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            service = container.get(LLMService)
            for model, good, _ in TABLE:
                answer_with(peer, name, "auto", model, good)
                async with service.stream_object("Give me one.", model, model=f"peer/{peer.model}") as stream:
                    partials = [partial async for partial in stream]
                assert all(isinstance(one, model) for one in partials), model.__name__
                assert stream.object == model.model_validate_json(good), model.__name__
