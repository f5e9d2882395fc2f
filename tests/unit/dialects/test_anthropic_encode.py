"""Requests in the Messages format: limits, sampling, thinking and raw fields, as each model takes them."""

import pytest

from core.llm.common.exceptions import RequestError
from core.llm.common.types import ModelFacts
from core.llm.data.facts import model_facts, table
from core.llm.dialects.anthropic_cache import PromptCache
from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from tests.unit.dialects.anthropic_support import body_of, chat, warned

MODELS = list(table("anthropic")["models"])
NO_FACTS = ModelFacts()


def test_only_what_the_api_demands_is_added() -> None:
    """A model, the messages, and the limit it refuses to go without."""
    assert body_of(chat("hello")) == {
        "model": "claude-next",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hello"}],
    }


@pytest.mark.parametrize(
    ("asked", "most", "sent", "warns"),
    [(None, None, 4096, False), (None, 64000, 64000, False), (200, 64000, 200, False), (99999, 64000, 64000, True),
     (99999, None, 99999, False)],
)  # fmt: skip
def test_the_limit_is_the_callers_else_the_models_else_a_default(
    asked: int | None, most: int | None, sent: int, warns: bool
) -> None:
    """More than the model can do is clamped, with a warning."""
    request = chat(max_tokens=asked, facts=ModelFacts(max_output_tokens=most))
    assert body_of(request)["max_tokens"] == sent
    assert warned(request) == ([("clamped", "max_tokens")] if warns else [])


SAMPLING = [
    ("claude-opus-5-5", {"temperature": 0.5}, {}, ["temperature"]),
    ("claude-opus-5-5", {"top_p": 0.5, "top_k": 3}, {}, ["top_p", "top_k"]),
    ("claude-opus-4-7", {"temperature": 1.0}, {}, ["temperature"]),
    ("claude-sonnet-5", {"top_k": 3}, {}, ["top_k"]),
    ("claude-opus-4-6", {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}, []),
    ("claude-opus-4-6", {"temperature": 0.5, "thinking": "low"}, {}, ["temperature"]),
    ("claude-opus-4-6", {"temperature": 1.0, "top_p": 0.95, "thinking": "low"}, {"temperature": 1.0, "top_p": 0.95}, []),
    ("claude-sonnet-4-5", {"temperature": 0.5}, {"temperature": 0.5}, []),
    ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}, ["top_p"]),
    ("claude-sonnet-4-5", {"top_p": 0.5, "top_k": 9}, {"top_p": 0.5, "top_k": 9}, []),
    ("claude-sonnet-4-5", {"top_p": 0.5, "thinking": 2000}, {}, ["top_p"]),
    ("claude-sonnet-4-5", {"top_k": 5, "thinking": "high"}, {}, ["top_k"]),
    ("claude-haiku-4-5", {"temperature": 0.5, "thinking": "off"}, {"temperature": 0.5}, []),
    ("claude-haiku-4-5", {"temperature": 1.7}, {"temperature": 1.0}, ["temperature"]),
    ("claude-next", {"temperature": 0.5, "top_p": 0.5, "top_k": 5}, {"temperature": 0.5, "top_p": 0.5, "top_k": 5}, []),
    ("claude-next", {"seed": 1, "frequency_penalty": 0.1, "presence_penalty": 0.1}, {},
     ["seed", "frequency_penalty", "presence_penalty"]),
    ("claude-next", {"stop": ["END", "\n"]}, {"stop_sequences": ["END"]}, ["stop"]),
    ("claude-next", {"user": "u1"}, {"metadata": {"user_id": "u1"}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("model", "asked", "sent", "dropped"), SAMPLING)
def test_sampling_is_sent_where_the_model_takes_it(model: str, asked: dict, sent: dict, dropped: list[str]) -> None:
    """What it refuses is left out and reported."""
    request = chat(model=model, **asked)
    body = body_of(request)
    for name in ("model", "messages", "max_tokens", "thinking", "output_config"):
        body.pop(name, None)
    assert body == sent
    assert [warning.parameter for warning in request.warnings if warning.code in {"dropped", "clamped"}] == dropped


THINKING = [
    ("claude-opus-5-5", None, None, None, []),
    ("claude-opus-5-5", "off", None, None, [("dropped", "thinking")]),
    ("claude-opus-5-5", "low", {"type": "adaptive"}, "low", []),
    ("claude-opus-5-5", "minimal", {"type": "adaptive"}, "low", [("clamped", "thinking")]),
    ("claude-opus-5-5", "max", {"type": "adaptive"}, "max", []),
    ("claude-opus-5-5", 20000, {"type": "adaptive"}, "high", [("emulated", "thinking")]),
    ("claude-sonnet-5-5", "off", {"type": "between_tools"}, None, []),
    ("claude-fable-5", "off", None, None, [("dropped", "thinking")]),
    ("claude-haiku-5-5", "off", {"type": "disabled"}, None, []),
    ("claude-opus-4-8", 1000000, {"type": "adaptive"}, "max", [("emulated", "thinking")]),
    ("claude-opus-4-6", "high", {"type": "adaptive"}, "high", []),
    ("claude-opus-4-6", 3000, {"type": "enabled", "budget_tokens": 3000}, None, []),
    ("claude-sonnet-4-5", "off", {"type": "disabled"}, None, []),
    ("claude-sonnet-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None, []),
    ("claude-sonnet-4-5", "medium", {"type": "enabled", "budget_tokens": 8192}, None, []),
    ("claude-sonnet-4-5", "max", {"type": "enabled", "budget_tokens": 32768}, None, []),
    ("claude-sonnet-4-5", 5, {"type": "enabled", "budget_tokens": 1024}, None, [("clamped", "thinking")]),
    ("claude-next", "medium", {"type": "adaptive"}, "medium", []),
]


@pytest.mark.parametrize(("model", "asked", "thinking", "effort", "warnings"), THINKING)
def test_thinking_is_asked_for_in_the_words_of_the_model(
    model: str, asked: str | int | None, thinking: object, effort: str | None, warnings: list
) -> None:
    """Adaptive with an effort, a budget, or not at all."""
    request = chat(model=model, thinking=asked)
    body = body_of(request)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert [one for one in warned(request) if one[1] == "thinking"] == warnings


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("thinking", [None, "off", "minimal", "low", "medium", "high", "max", 500, 3000, 100000])
def test_every_model_takes_every_request_for_thinking(model: str, thinking: str | int | None) -> None:
    """Whatever else is asked for: the strict rules never refuse what was encoded."""
    for more in ({}, {"max_tokens": 900}, {"max_tokens": 2500, "temperature": 0.3, "top_p": 0.9, "top_k": 4}):
        for choice in (None, "required", "weather"):
            tools = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}] if choice else None
            body_of(chat(model=model, thinking=thinking, tools=tools, tool_choice=choice, **more))


def test_a_budget_leaves_room_for_the_answer() -> None:
    """Our own default limit gives way; the caller's does not."""
    facts = ModelFacts(quirks={"thinking": "budget"})
    roomy = body_of(chat(thinking=10000, facts=facts))
    assert (roomy["max_tokens"], roomy["thinking"]["budget_tokens"]) == (14096, 10000)
    request = chat(thinking=10000, max_tokens=4000, facts=facts)
    assert body_of(request)["thinking"]["budget_tokens"] == 2000
    assert warned(request) == [("clamped", "thinking")]
    request = chat(thinking=10000, max_tokens=1024, facts=facts)
    assert "thinking" not in body_of(request)
    assert warned(request) == [("dropped", "thinking")]


def test_raw_fields_are_laid_over_the_body() -> None:
    """Objects are merged, tools are added, `None` removes; what decides how the answer is read is refused."""
    tools = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}]
    search = {"type": "web_search_20250305", "name": "web_search"}
    extra = {
        "thinking": {"display": "summarized"},
        "service_tier": "standard_only",
        "tools": [search],
        "stop_sequences": None,
        "stream": True,
        "model": "other",
    }
    request = chat(model="claude-opus-4-6", thinking="low", tools=tools, stop="END", extra=extra)
    body = body_of(request)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "low"}
    assert [tool["name"] for tool in body["tools"]] == ["weather", "web_search"]
    assert body["service_tier"] == "standard_only"
    assert "stop_sequences" not in body
    assert ("stream" in body, body["model"]) == (False, "claude-opus-4-6")
    assert warned(request) == [("dropped", "stream"), ("dropped", "model")]


def test_how_thinking_is_shown_means_nothing_without_thinking() -> None:
    """So a preference in the YAML does no harm to other calls."""
    assert "thinking" not in body_of(chat(extra={"thinking": {"display": "summarized"}}))
    own = {"type": "adaptive"}
    assert body_of(chat(extra={"thinking": own}))["thinking"] == own


def test_what_refines_thinking_is_sent_where_a_model_thinks_unasked() -> None:
    """It would be lost without a word otherwise: the way out of thinking that is bound to a conversation, for example."""
    binding = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    request = chat(
        model="claude-opus-5-5", extra={"thinking": binding, "betas": ["thinking-binding-controls-2026-08-01"]}
    )
    assert body_of(request)["thinking"] == {"type": "adaptive", **binding}
    asked = chat(model="claude-opus-5-5", thinking="high", extra={"thinking": binding})
    assert body_of(asked)["thinking"] == {"type": "adaptive", **binding}
    assert "thinking" not in body_of(chat(model="claude-opus-4-8", extra={"thinking": binding}))


def test_betas_travel_in_a_header() -> None:
    """Those of the provider and those of the request, each once."""
    dialect = AnthropicDialect(AnthropicQuirks(betas=("a", "b")))
    call = dialect.encode(chat(extra={"betas": ["b", "c"]}))
    assert call.headers["anthropic-beta"] == "a,b,c"
    assert b"betas" not in (call.body or b"")
    assert "anthropic-beta" not in AnthropicDialect().encode(chat()).headers


def test_a_model_that_is_shut_down_soon_says_so() -> None:
    """With its date."""
    request = chat(model="claude-sonnet-4-5-20250929")
    body_of(request)
    assert [(one.code, "2026-11-30" in one.message) for one in request.warnings] == [("deprecated", True)]


MARK = {"type": "ephemeral"}


def test_cache_marks_go_where_they_were_asked_for() -> None:
    """After the tools, the system text, and single messages."""
    tools = [{"name": name, "parameters": {"type": "object", "properties": {}}} for name in ("a", "b")]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    hint = {"at": ["tools", "system", 1, -1], "ttl": "1h"}
    body = body_of(chat(messages, tools=tools, extra={"prompt_cache": hint}))
    mark = {**MARK, "ttl": "1h"}
    assert "cache_control" not in body["tools"][0]
    assert body["tools"][1]["cache_control"] == mark
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "one", "cache_control": mark}]
    assert body["messages"][1]["content"] == "two"
    assert body["messages"][2]["content"][0]["cache_control"] == mark
    assert "prompt_cache" not in body


def test_cache_marks_have_defaults_and_limits() -> None:
    """`auto` marks the whole request; a provider may have a hint of its own; a fifth mark is left out."""
    assert body_of(chat(extra={"prompt_cache": True}))["cache_control"] == MARK
    assert body_of(chat(), prompt_cache=PromptCache(ttl="5m"))["cache_control"] == {**MARK, "ttl": "5m"}
    assert "cache_control" not in body_of(chat(extra={"prompt_cache": None}), prompt_cache=PromptCache())
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant") * 3] + [{"role": "user", "content": "y"}]
    request = chat(turns, extra={"prompt_cache": PromptCache(at=(0, 1, 2, 3, 4))})
    body_of(request)
    assert warned(request) == [("dropped", "prompt_cache")]


@pytest.mark.parametrize("hint", ["always", {"at": ["nowhere"]}, {"ttl": "2h"}, {"when": 1}, 5])
def test_a_bad_cache_hint_is_refused(hint: object) -> None:
    """Before anything is sent."""
    with pytest.raises(RequestError, match="prompt_cache"):
        body_of(chat(extra={"prompt_cache": hint}))


@pytest.mark.parametrize("name", MODELS)
def test_every_packaged_row_is_consistent(name: str) -> None:
    """Known quirks only, exact prices, efforts where thinking is adaptive."""
    facts = model_facts("anthropic", name)
    quirks = facts.quirks
    assert quirks.keys() <= {
        "thinking", "thinking_off", "default_thinking", "effort", "sampling", "forced_tools", "mid_system", "prefill",
        "structured", "shut_down", "replaced_by", "bound_thinking",
    }  # fmt: skip
    assert quirks["thinking"] in {"adaptive", "both", "budget"}
    assert set(quirks["effort"]) <= {"low", "medium", "high", "xhigh", "max"}
    assert facts.max_output_tokens in {64000, 128000}
    assert facts.price is None or facts.price.cache_write is not None
