"""Two requests have the same key only if they ask for the same thing."""

from typing import Any

import pytest
from pydantic import BaseModel

from core.llm.common.messages import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from core.llm.pipeline.request_key import RequestKeys
from core.llm.providers.base.request import LLMRequest, NamedTool, ResponseFormat, ToolDefinition
from core.llm.providers.config.models.service import LLMServiceConfig

PROVIDERS = {"alpha": {"type": "openai", "models": ["m"]}}


class Invoice(BaseModel):
    """A form."""

    total: int


class Receipt(BaseModel):
    """Another one."""

    total: int


CALL = ToolCall("c1", "find", {"q": "x", "n": [1, 2]}, None, None, "sig", "alpha")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}
BASE: dict[str, Any] = {
    "messages": (
        Message("system", "be brief"),
        Message(
            "user", (TextPart("look"), ImagePart(data=b"\x89png", media_type="image/png", detail="low")), name="ada"
        ),
        Message("assistant", (ThinkingPart("hm", "sig", None, "alpha"), TextPart("ok")), tool_calls=(CALL,)),
        Message("tool", (ToolResultPart("c1", "found", "find"),)),
        Message("user", (DocumentPart(data=b"%PDF", name="a.pdf"), AudioPart(data=b"RIFF"))),
    ),
    "model": "fast",
    "provider": "alpha",
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "max_tokens": 100,
    "stop": ("END",),
    "seed": 1,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "tools": (ToolDefinition("find", "finds", SCHEMA, True),),
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "response_format": ResponseFormat(SCHEMA, "answer", True, Invoice, "auto"),
    "thinking": "low",
    "parameter_policy": "warn",
    "user": "u1",
    "extra": {"alpha": {"service_tier": "flex", "deep": {"x": 1}}},
    "metadata": {"tenant": "t1"},
}
MESSAGES = BASE["messages"]


def at(index: int, message: Message) -> tuple[Message, ...]:
    """The conversation with another message at *index*."""
    return (*MESSAGES[:index], message, *MESSAGES[index + 1 :])


def wanted(**fields: Any) -> ResponseFormat:
    """The form that is asked for, with other *fields*."""
    known = {"schema": SCHEMA, "name": "answer", "strict": True, "model": Invoice, "mode": "auto"}
    return ResponseFormat(**{**known, **fields})


def tool(**fields: Any) -> tuple[ToolDefinition, ...]:
    """The tool with other *fields*."""
    return (ToolDefinition(**{"name": "find", "description": "finds", "parameters": SCHEMA, "strict": True, **fields}),)


def call(**fields: Any) -> tuple[Message, ...]:
    """The conversation with another tool call in it."""
    known = {
        "id": "c1", "name": "find", "arguments": {"q": "x", "n": [1, 2]}, "raw_arguments": None,
        "arguments_error": None, "signature": "sig", "provider": "alpha",
    }  # fmt: skip
    return at(2, Message("assistant", MESSAGES[2].content, tool_calls=(ToolCall(**{**known, **fields}),)))


def image(**fields: Any) -> tuple[Message, ...]:
    """The conversation with another picture in it."""
    known = {"data": b"\x89png", "media_type": "image/png", "detail": "low"}
    return at(1, Message("user", (TextPart("look"), ImagePart(**{**known, **fields})), name="ada"))


def thought(*fields: Any) -> tuple[Message, ...]:
    """The conversation with another thought in it."""
    return at(2, Message("assistant", (ThinkingPart(*fields), TextPart("ok")), tool_calls=(CALL,)))


REORDERED = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}
MUTATIONS: list[tuple[str, Any]] = [
    ("model", "smart"), ("model", None), ("provider", "beta"), ("provider", None),
    ("temperature", 0.50001), ("temperature", 0.0), ("temperature", None),
    ("top_p", 0.91), ("top_p", None), ("top_k", 41), ("top_k", None),
    ("max_tokens", 101), ("max_tokens", None), ("stop", ("END", "STOP")), ("stop", ("EN", "D")), ("stop", None),
    ("seed", 2), ("seed", None), ("frequency_penalty", 0.2), ("presence_penalty", 0.1), ("presence_penalty", None),
    ("tools", tool(name="search")), ("tools", tool(description="finds it")), ("tools", tool(strict=None)),
    ("tools", tool(parameters={**SCHEMA, "required": ["a"]})), ("tools", tool(parameters=REORDERED)),
    ("tools", (*tool(), *tool(name="other"))), ("tools", None),
    ("tool_choice", "required"), ("tool_choice", NamedTool("find")), ("tool_choice", None),
    ("parallel_tool_calls", False), ("parallel_tool_calls", None),
    ("response_format", wanted(schema=REORDERED)), ("response_format", wanted(name="invoice")),
    ("response_format", wanted(strict=False)), ("response_format", wanted(model=Receipt)),
    ("response_format", wanted(model=None)), ("response_format", wanted(mode="tool")), ("response_format", None),
    ("thinking", "high"), ("thinking", 1024), ("thinking", None), ("parameter_policy", "drop"),
    ("user", "u2"), ("user", None), ("metadata", {"tenant": "t2"}),
    ("extra", {"alpha": {"service_tier": "flex", "deep": {"x": 2}}}), ("extra", {"alpha": {"service_tier": "flex"}}),
    ("extra", {"beta": {"service_tier": "flex", "deep": {"x": 1}}}), ("extra", {}),
    ("extra", {"alpha": {"service_tier": "flex", "deep": {"x": 1.0}}}),
    ("extra", {"alpha": {"service_tier": "flex", "deep": {"x": True}}}),
    ("extra", {"alpha": {"service_tier": "flex", "deep": {"x": "1"}}}),
    ("messages", at(0, Message("system", "be brief."))), ("messages", at(0, Message("user", "be brief"))),
    ("messages", MESSAGES[1:]), ("messages", (*MESSAGES, Message("user", "go on"))),
    ("messages", (MESSAGES[1], MESSAGES[0], *MESSAGES[2:])),
    ("messages", at(1, Message("user", MESSAGES[1].content, name="bob"))),
    ("messages", at(1, Message("user", (MESSAGES[1].content[1], MESSAGES[1].content[0]), name="ada"))),
    ("messages", image(data=b"\x89pnh")), ("messages", image(media_type="image/gif")), ("messages", image(detail="high")),
    ("messages", thought("hmm", "sig", None, "alpha")), ("messages", thought("hm", "gis", None, "alpha")),
    ("messages", thought("hm", "sig", "xx", "alpha")), ("messages", thought("hm", "sig", None, "beta")),
    ("messages", call(id="c2")), ("messages", call(name="search")), ("messages", call(arguments={"q": "x", "n": [2, 1]})),
    ("messages", call(raw_arguments="{}")), ("messages", call(signature="other")), ("messages", call(provider="beta")),
    ("messages", at(3, Message("tool", (ToolResultPart("c2", "found", "find"),)))),
    ("messages", at(3, Message("tool", (ToolResultPart("c1", "lost", "find"),)))),
    ("messages", at(3, Message("tool", (ToolResultPart("c1", "found", "find", True),)))),
    ("messages", at(3, Message("tool", "found", tool_call_id="c1"))),
    ("messages", at(4, Message("user", (DocumentPart(data=b"%PDG", name="a.pdf"), AudioPart(data=b"RIFF"))))),
    ("messages", at(4, Message("user", (DocumentPart(data=b"%PDF", name="b.pdf"), AudioPart(data=b"RIFF"))))),
    ("messages", at(4, Message("user", (DocumentPart(data=b"%PDF", name="a.pdf"), AudioPart(data=b"RIFX"))))),
]  # fmt: skip


def keys(**config: Any) -> RequestKeys:
    """Keys of a configuration with a tenant."""
    cache = {"enabled": True, "tenant": "tenant"}
    return RequestKeys(LLMServiceConfig.model_validate({"providers": PROVIDERS, "cache": cache, **config}))


def key(**fields: Any) -> str | None:
    """The key of the base request with other *fields*."""
    return keys().key(LLMRequest(**{**BASE, **fields}))


def test_g23_s69_every_change_of_a_request_changes_its_key() -> None:
    """Sixty fields and more, one at a time, and no two of the changed requests share a key either."""
    assert len(MUTATIONS) >= 60
    assert {name for name, _ in MUTATIONS} >= set(LLMRequest.model_fields) - {"cache", "timeout", "cost_limit"}
    found = {key()}
    assert None not in found
    for name, value in MUTATIONS:
        changed = key(**{name: value})
        assert changed is not None, (name, value)
        assert changed not in found, (name, value)
        found.add(changed)


def test_the_same_request_has_the_same_key() -> None:
    """However it was put together, and whatever does not change the answer."""
    again = [{"role": "system", "content": "be brief"}, *MESSAGES[1:]]
    assert key() == key(messages=again)
    assert key() == key(timeout=3.0, cost_limit=1.0, cache=True, metadata={"tenant": "t1", "trace": "x"})
    assert keys().key(LLMRequest(**BASE), "stream") != key()


def test_an_alias_that_was_swapped_while_it_ran_changes_the_key() -> None:
    """What the old model has said is not given out for the new one."""
    request, at_work = LLMRequest(**BASE), keys()
    swapped = [{}, {"fast": ("alpha/m",)}, {"fast": ("beta/m",)}, {"fast": ("alpha/m", "beta/m")}]
    assert len({at_work.key(request, "", one) for one in swapped}) == 4


def test_s69_without_its_tenant_a_request_has_no_key() -> None:
    """Nobody's answers are shared with everybody."""
    assert key(metadata={}) is None


@pytest.mark.parametrize(
    ("alias", "counts"),
    [
        ({}, set()),
        ({"sticky_by": "user"}, set()),
        ({"sticky_by": "team"}, {"team"}),
        ({"classifier": "app:kind", "classes": {"big": "alpha/m"}}, {"team", "tier"}),
        ({"strategy": "app:mine"}, {"team", "tier"}),
    ],
)
@pytest.mark.parametrize("model", ["fast", None])
def test_g23_metadata_by_which_an_alias_chooses_its_model_is_a_part_of_the_key(
    alias: dict[str, Any], counts: set[str], model: str | None
) -> None:
    """A customer of another tier is answered by another model, and not out of the cache by this one's."""
    options = {"use": "alpha/m", **alias}
    config = {"providers": PROVIDERS, "models": {"fast": options}, "default_model": "fast"}
    keys = RequestKeys(LLMServiceConfig.model_validate(config))

    def key(provider: str | None = None, **metadata: str) -> str | None:
        request = LLMRequest(
            messages="hi", model=model, provider=provider, metadata={"team": "a", "tier": "1"} | metadata
        )
        return keys.key(request)

    assert {name for name in ("team", "tier") if key(**{name: "other"}) != key()} == counts
    assert key("alpha", team="other", tier="other") == key("alpha")


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [Message("user", (ImagePart(url="https://example.org/a.png"),))]},
        {"extra": {"alpha": {"callback": object()}}},
    ],
    ids=["link", "object"],
)
def test_what_cannot_be_written_down_exactly_has_no_key(fields: dict[str, Any]) -> None:
    """The picture behind a link may be another one tomorrow."""
    assert key(**fields) is None


@pytest.mark.parametrize(
    ("config", "same"),
    [
        ({"models": {"fast": {"use": "alpha/m"}}}, False),
        ({"fallback_chain": ["alpha"]}, False),
        ({"default_model": "alpha/m"}, False),
        ({"parameter_policy": "drop"}, False),
        ({"providers": {"alpha": {**PROVIDERS["alpha"], "base_url": "https://example.org/v1"}}}, False),
        ({"providers": {"alpha": {**PROVIDERS["alpha"], "extra": {"a": 1}}}}, False),
        ({"providers": {"alpha": {**PROVIDERS["alpha"], "headers": {"a": "1"}}}}, False),
        ({"providers": {"alpha": {**PROVIDERS["alpha"], "models": {"m": {"defaults": {"seed": 1}}}}}}, False),
        ({"providers": {"alpha": {**PROVIDERS["alpha"], "api_key": "k", "timeouts": {"idle": 1}}}}, True),
        ({"timeout": 5, "retry": {"max_retries": 0}, "cache": {"enabled": True, "tenant": "tenant", "ttl": 1}}, True),
    ],
)
def test_an_edit_that_may_change_answers_changes_every_key(config: dict[str, Any], same: bool) -> None:
    """What a name stands for is a part of what is asked."""
    request = LLMRequest(**BASE)
    assert (keys(**config).key(request) == keys().key(request)) is same
