"""The truth table of parameters: accepted, renamed, clamped or dropped, per model, and always reported."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import from_json

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.factory.discovery import builtin_spec
from core.llm.providers.base.request import ChatRequest, LLMRequest, ParameterPolicy
from core.llm.testing import provider_services
from tests.wire.parameter_rows import ABSENT, TOOL, Row, rows

KEY = "key-0123456789abcdef"
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "openai": {"api_key": KEY},
    "openai-chat": {"type": "openai", "api_key": KEY, "api": "chat"},
    "openai-responses": {"type": "openai", "api_key": KEY, "api": "responses"},
    "anthropic": {"api_key": KEY},
    "gemini": {"api_key": KEY},
    "bedrock": {"api_key": KEY, "region": "us-east-1"},
    "ollama": {},
    "lm_studio": {},
    "localai": {},
    "llama_cpp": {"models": {"tiny": {"path": "/models/tiny.gguf"}}},
    "azure": {
        "type": "azure_openai", "api_key": KEY, "base_url": "https://ours.openai.azure.com",
        "models": {"ours": {"base_model": "gpt-6-luna"}},
    },
}  # fmt: skip
TABLE = list(rows())


@cache
def provider(name: str) -> Any:
    """The provider of that row; it does no I/O until it is started."""
    config = (
        {"type": name, **CONFIGS[name]}
        if name in CONFIGS
        else {"type": "openai_compatible", "preset": name, "api_key": KEY}
    )
    if name not in CONFIGS:
        config["base_url"] = "https://example.org/v1"
    spec = builtin_spec(config["type"])
    assert spec is not None
    return spec.provider_class()(spec.config_class().model_validate(config), provider_services(name))


def request(name: str, model: str, asked: Mapping[str, Any], policy: ParameterPolicy = "warn") -> ChatRequest:
    """What the pipeline hands to the provider."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    params = LLMRequest(messages=messages, **asked)
    return ChatRequest(
        name, model, params, params.messages, provider(name).facts(model), PhaseLimits(), api_key=KEY, policy=policy
    )


def encoded(name: str, made: ChatRequest) -> Any:
    """The body that would be sent."""
    return from_json(provider(name).dialect.encode(made).body)


def at(body: Any, path: str) -> Any:
    """What stands at a dotted path of *body*."""
    for step in path.split("."):
        try:
            body = body[int(step)] if isinstance(body, list) else body[step]
        except (KeyError, IndexError):
            return ABSENT
    return body


def test_the_table_is_large_and_says_nothing_twice() -> None:
    """A row that stands there twice proves nothing."""
    assert len({row.name for row in TABLE}) == len(TABLE) >= 250


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TABLE])
def test_every_parameter_reaches_the_model_as_it_takes_it(row: Row) -> None:
    """And whatever does not is in the warnings, under its name."""
    made = request(row.provider, row.model, row.asked)
    body = encoded(row.provider, made)
    assert {path: at(body, path) for path in row.body} == dict(row.body)
    said = [f"{one.code} {one.parameter}" for one in made.warnings if one.code != "deprecated"]
    assert tuple(said) == row.warnings


LOSING = [row for row in TABLE if any(one.startswith(("dropped", "clamped")) for one in row.warnings)]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in LOSING])
def test_nothing_is_sent_under_the_policy_error(row: Row) -> None:
    """The caller learns which parameter it is, and what to do."""
    lost = next(one.split()[1] for one in row.warnings if one.startswith(("dropped", "clamped")))
    with pytest.raises(UnsupportedFeature, match=f"take {lost} out of the request"):
        encoded(row.provider, request(row.provider, row.model, row.asked, "error"))


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in LOSING[::10]])
def test_the_policy_drop_sends_the_same_and_says_the_same(row: Row) -> None:
    """It only keeps quiet in the log."""
    loud, quiet = (request(row.provider, row.model, row.asked, policy) for policy in ("warn", "drop"))
    assert encoded(row.provider, loud) == encoded(row.provider, quiet)
    assert loud.warnings == quiet.warnings


def test_what_cannot_be_left_out_is_refused_under_every_policy() -> None:
    """A model that cannot stop thinking takes no tools on Chat Completions."""
    for model in ("gpt-6.1-sol", "gpt-6-astra"):
        with pytest.raises(UnsupportedFeature, match="takes no tools"):
            encoded("openai-chat", request("openai-chat", model, {"tools": [TOOL]}))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("name", ["temperature", "top_p", "frequency_penalty", "presence_penalty"])
def test_a_number_without_end_is_no_parameter(name: str, value: float) -> None:
    """JSON has no form for it, so no provider is asked: a server would be sent the word `Infinity`."""
    with pytest.raises(ValidationError, match=name):
        LLMRequest(messages="hi", **{name: value})


@pytest.mark.parametrize(("name", "model"), [("openai-chat", "gpt-6-luna"), ("anthropic", "claude-opus-4-8")])
def test_an_effort_of_a_configuration_that_is_on_no_scale_breaks_nothing(name: str, model: str) -> None:
    """The YAML may list words that a new model knows: what was asked for is sent, and the model has the last word."""
    made = request(name, model, {"thinking": "low"})
    made = replace(made, facts=replace(made.facts, quirks={**made.facts.quirks, "effort": ["turbo"]}))
    assert "low" in json.dumps(encoded(name, made))


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "anthropic", "gemini", "bedrock", "azure"])
def test_the_day_on_which_a_model_is_shut_down_is_told_everywhere(name: str) -> None:
    """Whether the packaged facts know it or the YAML."""
    made = replace(request(name, "m", {}), facts=ModelFacts(quirks={"shut_down": "2027-01-31"}))
    encoded(name, made)
    (warning,) = made.warnings
    assert (warning.code, warning.parameter) == ("deprecated", "model")
    assert "2027-01-31" in warning.message
