"""What is sent to Gemini: parameters, thinking, tools and schemas, within the rules of the model."""

from typing import Any

import pytest

from core.llm.common.exceptions import RequestError
from core.llm.data.facts import table
from core.llm.dialects.gemini_endpoint import GeminiEndpoint
from tests.unit.dialects.gemini_chat import body_of, chat, warned

SCHEMA = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}
TOOL = {"name": "f", "description": "d", "parameters": SCHEMA}


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({}, None),
        ({"temperature": 0.0}, {"temperature": 0.0}),
        ({"top_p": 0.5, "top_k": 4}, {"topP": 0.5, "topK": 4}),
        ({"max_tokens": 5, "seed": 3}, {"maxOutputTokens": 5, "seed": 3}),
        ({"stop": "x"}, {"stopSequences": ["x"]}),
        ({"frequency_penalty": 0.1, "presence_penalty": 0.2}, {"frequencyPenalty": 0.1, "presencePenalty": 0.2}),
    ],
)
def test_only_what_was_asked_for_is_sent(params: dict[str, Any], wanted: Any) -> None:
    """By the names of the wire."""
    assert body_of(chat(**params)).get("generationConfig") == wanted


def test_what_a_model_refuses_is_left_out_and_reported() -> None:
    """As recorded: some models answer 400 to penalties."""
    request = chat(
        presence_penalty=0.1, user="u", parallel_tool_calls=False, tools=[TOOL], facts={"rejects": ["presence_penalty"]}
    )
    assert "generationConfig" not in body_of(request)
    assert warned(request) == [
        ("dropped", "presence_penalty"),
        ("dropped", "user"),
        ("dropped", "parallel_tool_calls"),
    ]


LEVELS = {"thinking": "level", "levels": ["low", "medium", "high"]}
BUDGET = {"thinking": "budget", "thinking_budget": [128, 32768], "thinking_off": False}
OFFABLE = {"thinking": "budget", "thinking_budget": [0, 24576]}


@pytest.mark.parametrize(
    ("facts", "asked", "wanted", "code"),
    [
        (LEVELS, "high", {"thinkingLevel": "HIGH", "includeThoughts": True}, None),
        (LEVELS, "max", {"thinkingLevel": "HIGH", "includeThoughts": True}, None),
        (LEVELS, "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}, "clamped"),
        (LEVELS, "off", {"thinkingLevel": "LOW"}, "clamped"),
        (LEVELS, 3000, {"thinkingLevel": "LOW", "includeThoughts": True}, "emulated"),
        (LEVELS, 90000, {"thinkingLevel": "HIGH", "includeThoughts": True}, "emulated"),
        ({}, "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}, None),
        (BUDGET, "off", {"thinkingBudget": 128, "includeThoughts": True}, "clamped"),
        (BUDGET, 64, {"thinkingBudget": 128, "includeThoughts": True}, "clamped"),
        (BUDGET, "max", {"thinkingBudget": 32768, "includeThoughts": True}, None),
        (OFFABLE, "off", {"thinkingBudget": 0}, None),
        (OFFABLE, "low", {"thinkingBudget": 2048, "includeThoughts": True}, None),
        (OFFABLE, 100000, {"thinkingBudget": 24576, "includeThoughts": True}, "clamped"),
        ({"thinking": "none"}, "high", None, "dropped"),
        ({"thinking": "none"}, "off", None, None),
    ],
)
def test_thinking_is_a_level_or_a_budget(facts: dict[str, Any], asked: Any, wanted: Any, code: str | None) -> None:
    """Whichever the model has, never both, and every change is reported."""
    request = chat(thinking=asked, facts=facts)
    assert body_of(request).get("generationConfig", {}).get("thinkingConfig") == wanted
    assert warned(request) == ([] if code is None else [(code, "thinking")])


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("f", {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_the_choice_of_tools(choice: Any, wanted: Any) -> None:
    """One of three modes; a named tool is the only one that is allowed."""
    body = body_of(chat(tools=[TOOL], tool_choice=choice))
    assert body.get("toolConfig") == (None if wanted is None else {"functionCallingConfig": wanted})
    assert body["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}]}
    ]


def test_strict_tools_are_validated() -> None:
    """Which is the automatic choice with calls that are held to their schemas."""
    body = body_of(chat(tools=[{**TOOL, "strict": True}]))
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "VALIDATED"}


def test_both_forms_of_schema() -> None:
    """JSON Schema as it is, or the subset of OpenAPI with types in capitals."""
    config = body_of(chat(response_format=SCHEMA))["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    body = body_of(chat(response_format=SCHEMA, tools=[TOOL], facts={"schema": "openapi"}))
    openapi = {
        "type": "OBJECT",
        "properties": {"a": {"type": "STRING", "nullable": True}},
        "required": ["a"],
        "propertyOrdering": ["a"],
    }
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseSchema": openapi}
    assert body["tools"][0]["functionDeclarations"][0]["parameters"] == openapi


def test_a_schema_beside_tools_is_described_where_only_one_is_taken() -> None:
    """In the system instruction, and reported."""
    request = chat(response_format=SCHEMA, tools=[TOOL], facts={"tools_with_schema": False})
    body = body_of(request)
    assert "generationConfig" not in body
    assert "fit this JSON schema" in body["systemInstruction"]["parts"][0]["text"]
    assert warned(request) == [("emulated", "response_format")]


def test_a_schema_without_end_is_described() -> None:
    """The OpenAPI form has no references."""
    node: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    request = chat(response_format=node, tools=[{**TOOL, "parameters": node}], facts={"schema": "openapi"})
    body = body_of(request)
    assert body["generationConfig"] == {"responseMimeType": "application/json"}
    assert body["tools"][0]["functionDeclarations"] == [{"name": "f", "description": "d"}]
    assert warned(request) == [("other", "tools"), ("emulated", "response_format")]


def test_safety_settings_are_sent_with_every_request() -> None:
    """From the configuration."""
    body = body_of(chat(), HARM_CATEGORY_HARASSMENT="BLOCK_NONE")
    assert body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]


def test_a_model_that_is_about_to_go_is_announced() -> None:
    """With the date."""
    request = chat(facts={"shut_down": "2027-01-01"})
    body_of(request)
    assert warned(request) == [("deprecated", "model")]


@pytest.mark.parametrize(
    ("model", "gemini", "vertex"),
    [
        ("m", "models/m", "projects/p/locations/l/publishers/google/models/m"),
        ("tunedModels/x", "tunedModels/x", "projects/p/locations/l/publishers/tunedModels/models/x"),
        ("a b?", "models/a%20b%3F", "projects/p/locations/l/publishers/google/models/a%20b%3F"),
        ("endpoints/7", "endpoints/7", "projects/p/locations/l/endpoints/7"),
        ("projects/q/locations/us/endpoints/7", None, "projects/q/locations/us/endpoints/7"),
    ],
)
def test_models_are_addressed(model: str, gemini: str | None, vertex: str) -> None:
    """Quoted, and nothing in a name leads elsewhere."""
    if gemini is not None:
        assert GeminiEndpoint().path(model, "x") == f"/v1beta/{gemini}:x"
    assert GeminiEndpoint("v1", True, "p", "l").path(model, "x") == f"/v1/{vertex}:x"


@pytest.mark.parametrize("model", ["", "..", "../files", "a/../b", "a//b", "models/."])
def test_a_name_that_leads_elsewhere_is_refused(model: str) -> None:
    """On both APIs."""
    for endpoint in (GeminiEndpoint(), GeminiEndpoint("v1", True, "p")):
        with pytest.raises(RequestError, match="no name of a model"):
            endpoint.path(model, "generateContent")


def test_the_packaged_facts_are_in_the_words_that_the_encoder_knows() -> None:
    """A quirk that nobody reads, or with another value, would change nothing without a word."""
    known = {
        "thinking": {"level", "budget", "none"}, "signatures": {True}, "schema": {"openapi"}, "vertex_embedding_batch": {1},
        "tools_with_schema": {False}, "thinking_off": {True, False}, "vertex_embedding": {"single", "predict"},
    }  # fmt: skip
    for name, row in table("gemini")["models"].items():
        for quirk, value in row.get("quirks", {}).items():
            assert quirk in {*known, "levels", "thinking_budget", "rejects", "shut_down"}, name
            assert quirk not in known or value in known[quirk], name
