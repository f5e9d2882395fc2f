"""A model file without a usable chat template, spoken to by a prompt format; with the real engine."""

import json

import pytest
from pydantic import ValidationError

from core.llm.common.exceptions import ProviderError
from core.llm.providers.llama_cpp.config import LlamaCppConfig
from core.llm.testing.contract_case import collect
from tests.unit.providers.llama_cpp.conftest import QUESTION, chat

FORMATS = {
    "tiny": "embedded",
    "plain": {"path": "embedded", "prompt_format": "plain", "n_parallel": 1},
    "same": {"path": "embedded", "prompt_format": "chatml", "n_parallel": 1},
}


@pytest.fixture
async def provider(make_provider):
    """The same file three times: with its own template, with that template as a format, and with another."""
    return await make_provider(FORMATS)


async def test_the_format_of_the_template_gives_the_answer_of_the_template(provider) -> None:
    """The embedded model was trained on chatml: told so by hand, it answers as it does by itself."""
    expected = await provider.generate(chat(max_tokens=24))
    response = await provider.generate(chat(model="same", max_tokens=24))
    assert response.content == expected.content
    assert response.usage.total == expected.usage.total
    assert response.finish_reason == expected.finish_reason


async def test_another_format_is_another_prompt(provider) -> None:
    """The prompt that is counted is the one that is sent."""
    request = chat(model="plain", max_tokens=8, stream=True)
    events = await collect(provider, request)
    assert events[-1].finish_reason.raw in {"stop", "length"}
    assert json.loads(provider.dialect.encode(request).body)["prompt"] == f"User: {QUESTION}\nAssistant:"
    used = (await provider.generate(request)).usage
    assert await provider.count_tokens(request) == used.input_total


async def test_a_schema_still_binds_the_model(provider) -> None:
    """The engine enforces it without any template."""
    shape = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    shape["additionalProperties"] = False
    response = await provider.generate(chat(model="plain", max_tokens=60, response_format=shape))
    assert response.content.lstrip().startswith("{")
    assert response.warnings == ()


async def test_such_a_model_has_no_tools(provider) -> None:
    """The facts say it, and a request is refused before anything is computed."""
    assert provider.facts("plain").lacks("tools")
    assert not provider.facts("tiny").lacks("tools")
    with pytest.raises(ProviderError, match="cannot offer tools"):
        await provider.generate(chat(model="plain", tools=[{"name": "look", "parameters": {"type": "object"}}]))


def test_a_template_and_a_format_exclude_each_other() -> None:
    """One of them would be ignored."""
    with pytest.raises(ValidationError, match="keep one of the two"):
        LlamaCppConfig(models={"m": {"path": "x.gguf", "prompt_format": "plain", "chat_template": "{{ x }}"}})
