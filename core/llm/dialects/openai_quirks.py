"""How one server's Chat Completions differ from the plain format: data, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True)
class OpenAIQuirks:
    """The defaults are what most servers understand. Presets and the YAML set single fields."""

    chat_path: str = "/chat/completions"
    responses_path: str = "/responses"
    embeddings_path: str = "/embeddings"
    models_path: str = "/models"
    token_cap: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - a field name
    system_role: Literal["system", "developer"] = "system"
    stream_usage: bool = True
    """Ask for usage at the end of a stream by `stream_options`."""
    thinking: Literal["reasoning_effort", "reasoning", "thinking", "enable_thinking", "chat_template", "none"] = (
        "reasoning_effort"
    )
    """How thinking is asked for: an effort word, OpenRouter's object, an on/off object, a flag, or not at all."""
    seed: str = "seed"
    max_stops: int | None = None
    """More stop texts than this are refused."""
    required_choice: str = "required"
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    strict_schema: bool = False
    """Schemas must follow OpenAI's strict rules; ours are rewritten to do so."""
    grammar_schema: bool = False
    """Schemas become grammars, as in llama.cpp: regular expressions that have no grammar are left out of ours."""
    document: Literal["file", "document_url", "none"] = "file"
    document_urls: bool = False
    audio: bool = True
    rejects: frozenset[str] = frozenset()
    """Request fields that this server refuses: left out with a warning."""
    tool_id_length: int | None = None
    """Tool call ids must have exactly this many letters and digits."""
    tool_id_max: int = 64
    replay_thinking: Literal["none", "reasoning_content", "reasoning_details"] = "none"
    """How the model's own earlier thinking is sent back, where the server wants it."""
    bridge_results: bool = False
    """Only the assistant may speak after a tool's result: a word of it is added where somebody else does."""
    google_signatures: bool = False
    """Tool calls carry Google's thought signatures, which must come back with them."""
    prefill: Literal["none", "trailing", "continue_final_message"] = "none"
    """Whether the server goes on from an answer that ends the conversation: not surely, always, or when told to."""
    think_tags: bool = False
    """Thinking stands in the text between `<think>` and `</think>`."""
    embedding_base64: Literal["float32", "int8"] = "float32"
    encrypted_reasoning: bool = False
    """Responses only: reasoning comes encrypted when asked for, and is taken back."""
    min_output_tokens: int = 1
    """Responses only: smaller token caps are refused."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields sent with every chat request."""

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> "OpenAIQuirks":
        """Quirks from data.

        Raises:
            ValueError: an unknown field; the text names it.
        """
        known = {item.name for item in fields(OpenAIQuirks)}
        for name in values:
            if name not in known:
                raise ValueError(f"unknown quirk {name!r}: known are {', '.join(sorted(known))}")
        rejects = values.get("rejects", ())
        if isinstance(rejects, str):
            raise ValueError("the quirk 'rejects' is a list of request fields")
        return OpenAIQuirks(**{**values, "rejects": frozenset(rejects)})


OPENAI: Final = OpenAIQuirks(
    token_cap="max_completion_tokens",  # noqa: S106 - a field name
    strict_schema=True,
    rejects=frozenset({"top_k"}),
    max_stops=4,
    tool_id_max=40,
    encrypted_reasoning=True,
    min_output_tokens=16,
)
"""OpenAI's own models, wherever they are hosted."""
