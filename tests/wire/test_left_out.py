"""Nothing of a conversation is left out without a word: names, details, what others thought, what stands beside results."""

import json
from typing import Any

import pytest

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import ImagePart, Message, Part, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, LLMRequest, ParameterPolicy
from tests.wire.test_parameters import KEY, provider

MODELS = {
    "openai-chat": "gpt-4.1",
    "openai-responses": "gpt-6-luna",
    "azure": "ours",
    "anthropic": "claude-opus-5-5",
    "gemini": "gemini-3-pro",
    "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "ollama": "qwen3",
    "lm_studio": "m",
    "localai": "m",
    "llama_cpp": "tiny",
    "openrouter": "m",
    "deepseek": "m",
    "mistral": "mistral-large",
    "groq": "m",
}
TOOL = {"name": "look", "parameters": {"type": "object", "properties": {}}}
CALL = ToolCall("call_1", "look", {})
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(20)
every_place = pytest.mark.parametrize("name", MODELS)


def sent(name: str, *messages: Message, policy: ParameterPolicy = "warn") -> tuple[Any, list[tuple[str, str | None]]]:
    """The body for these messages, and the warnings."""
    params = LLMRequest(messages=list(messages), tools=[TOOL])
    limits, model = PhaseLimits(), MODELS[name]
    facts = provider(name).facts(model)
    request = ChatRequest(name, model, params, params.messages, facts, limits, api_key=KEY, policy=policy)
    body = json.loads(provider(name).dialect.encode(request).body)
    return body, [(one.code, one.parameter) for one in request.warnings if one.code != "deprecated"]


def user(*parts: Part, name: str | None = None) -> Message:
    """What the user says."""
    return Message("user", parts or (TextPart("hello"),), name=name)


@every_place
def test_the_name_of_a_participant_is_sent_or_reported(name: str) -> None:
    """Once, however many messages carry one; the name of a tool says nothing that the call did not."""
    body, warnings = sent(name, user(name="ann"), Message("assistant", "hi", name="bot"), user(name="ann"))
    if "ann" in json.dumps(body):
        assert warnings == []
    else:
        ((code, _),) = warnings
        assert code == "dropped"
    called = Message("assistant", "", tool_calls=(CALL,))
    _, warnings = sent(name, user(), called, Message("tool", "1", tool_call_id=CALL.id, name="look"), policy="error")
    assert warnings == []


@pytest.mark.parametrize("name", ["mistral", "groq"])
def test_names_are_kept_from_servers_that_refuse_them(name: str) -> None:
    """They answer 400 or 422; with the policy `error` nothing is sent at all."""
    body, _ = sent(name, user(name="ann"))
    assert "ann" not in json.dumps(body)
    with pytest.raises(UnsupportedFeature, match="messages"):
        sent(name, user(name="ann"), policy="error")


@every_place
def test_the_detail_of_a_picture_is_sent_or_reported(name: str) -> None:
    """It is a wish: not worth refusing a call for, whatever the policy."""
    plain, _ = sent(name, user(TextPart("see"), ImagePart(data=PICTURE)))
    wished = user(ImagePart(data=PICTURE, detail="high"))
    body, warnings = sent(name, user(TextPart("see"), ImagePart(data=PICTURE, detail="high")), wished, policy="error")
    if '"high"' in json.dumps(body):
        assert warnings == []
    else:
        assert '"high"' not in json.dumps(plain)
        assert warnings == [("other", "messages")]


@every_place
@pytest.mark.parametrize(
    "thought",
    [
        ThinkingPart("hm", "signed", provider="elsewhere"),
        ThinkingPart("", redacted="secret", provider="elsewhere"),
        ThinkingPart("hm", provider="elsewhere"),
    ],
    ids=["signed", "redacted", "plain"],
)
def test_the_reasoning_of_another_provider_is_not_sent_and_that_is_said(name: str, thought: ThinkingPart) -> None:
    """Once; it is no parameter that a caller could take out of his request."""
    turns = [Message("assistant", (thought, TextPart(f"answer {n}"))) for n in range(2)]
    body, warnings = sent(name, user(), turns[0], user(), turns[1], user(), policy="error")
    text = json.dumps(body)
    assert "answer 0" in text
    assert not any(word in text for word in ("hm", "signed", "secret"))
    assert warnings == [("other", "messages")]


@every_place
def test_what_stands_beside_a_result_is_sent_or_reported(name: str) -> None:
    """A text in the message of a tool that holds its result as a part."""
    called = Message("assistant", "", tool_calls=(CALL,))
    mixed = Message("tool", (TextPart("aside"), ToolResultPart(CALL.id, "1")), tool_call_id=CALL.id)
    body, warnings = sent(name, user(), called, mixed)
    assert "aside" in json.dumps(body) or warnings == [("dropped", "messages")]


@every_place
@pytest.mark.parametrize("choice", ["required", "look"])
def test_a_choice_among_no_tools_is_reported(name: str, choice: str) -> None:
    """OpenAI's own API answers 400; a call that was forced must not come back as talk without a word."""
    params = LLMRequest(messages="hi", tool_choice=choice)
    facts = provider(name).facts(MODELS[name])
    request = ChatRequest(name, MODELS[name], params, params.messages, facts, PhaseLimits(), api_key=KEY)
    if name == "ollama":
        with pytest.raises(UnsupportedFeature):
            provider(name).dialect.encode(request)
        return
    body = json.loads(provider(name).dialect.encode(request).body)
    assert "tool" not in json.dumps(body)
    assert [(one.code, one.parameter) for one in request.warnings if one.code != "deprecated"] == [
        ("dropped", "tool_choice")
    ]


@pytest.mark.parametrize(
    ("name", "model", "bound"),
    [
        ("anthropic", "claude-sonnet-5-5", True),
        ("anthropic", "claude-haiku-5-5", True),
        ("anthropic", "claude-sonnet-5", False),
        ("bedrock", "us.anthropic.claude-opus-5-5-v1:0", True),
        ("bedrock", "us.anthropic.claude-sonnet-4-6-v1:0", False),
    ],
)
def test_thinking_that_is_bound_to_what_was_before_it_is_not_sent_after_a_change(
    name: str, model: str, bound: bool
) -> None:
    """A later system message goes to the top, before thinking that was made without it: the API would answer 400."""
    thought = ThinkingPart("hm", "c2ln", provider=name)
    turns = [
        user(),
        Message("assistant", (thought, TextPart("early"))),
        Message("system", "Be brief."),
        user(),
        Message("assistant", (ThinkingPart("ah", "bGF0ZQ==", provider=name), TextPart("late"))),
        user(),
    ]
    params = LLMRequest(messages=turns)
    request = ChatRequest(name, model, params, params.messages, provider(name).facts(model), PhaseLimits(), api_key=KEY)
    text = provider(name).dialect.encode(request).body.decode()
    assert ("c2ln" in text) != bound
    assert "bGF0ZQ==" in text
    assert [(one.code, one.parameter) for one in request.warnings] == [("other", "messages")] * (1 + bound)


def test_mistral_gets_a_word_of_the_assistant_between_result_and_user() -> None:
    """It answers 400 to a user who speaks right after a tool; others take the conversation as it is."""
    called = Message("assistant", "", tool_calls=(CALL,))
    results = Message("user", (ToolResultPart(CALL.id, "1"), TextPart("and now?")))
    answered = [user(), called, Message("tool", "1", tool_call_id=CALL.id)]
    for turns in ([user(), called, results], [*answered, user(TextPart("and now?"))]):
        body, warnings = sent("mistral", *turns, policy="error")
        assert [one["role"] for one in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
        assert warnings == [("other", "messages")]
        body, warnings = sent("groq", *turns)
        assert [one["role"] for one in body["messages"]] == ["user", "assistant", "tool", "user"]
        assert warnings == []
    body, warnings = sent("mistral", *answered)
    assert ([one["role"] for one in body["messages"]], warnings) == (["user", "assistant", "tool"], [])


def test_a_tool_that_ollama_cannot_hold_to_its_schema_is_reported() -> None:
    """As at every other provider without that guarantee."""
    params = LLMRequest(messages="hi", tools=[{**TOOL, "strict": True}])
    facts = provider("ollama").facts("qwen3")
    request = ChatRequest("ollama", "qwen3", params, params.messages, facts, PhaseLimits())
    provider("ollama").dialect.encode(request)
    assert [(one.code, one.parameter) for one in request.warnings] == [("dropped", "tools")]
