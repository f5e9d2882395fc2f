"""The model lists of the Gemini API and of Vertex AI."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.common.types import Capability
from core.llm.dialects.gemini_endpoint import bare_name
from core.llm.dialects.gemini_errors import gemini_error, google_error_object
from core.llm.dialects.gemini_stream import json_chunks
from core.llm.dialects.json import schema_error

_EMBEDS: Final = ("embedContent", "batchEmbedContents")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of the list."""

    name: str
    """Without `models/` or `publishers/google/models/`; tuned models keep their folder."""
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[Capability] = frozenset()
    detail: str = ""


def models_from_gemini(headers: Mapping[str, str], body: bytes) -> tuple[list[ListedModel], str | None]:
    """The models in *body*, and the token of the next page where there is one.

    Raises:
        ProviderError: it is no model list.
    """
    answer = json_chunks(body, headers)[0]
    if google_error_object(answer) is not None:
        raise gemini_error(answer, headers=headers)
    # An empty list is left out on this wire.
    entries = answer.get("models", answer.get("publisherModels", [] if not answer else None))
    if not isinstance(entries, list):
        raise schema_error("it has no list of models")
    token = answer.get("nextPageToken")
    models = [_listed(entry) for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)]
    return models, token if isinstance(token, str) and token else None


def _listed(entry: Mapping[str, Any]) -> ListedModel:
    resource: str = entry["name"]
    name = bare_name(resource) if resource.startswith(("models/", "publishers/google/models/")) else resource
    methods = entry.get("supportedGenerationMethods")
    found: set[Capability] = set()
    if isinstance(methods, list) and "generateContent" not in methods and any(one in methods for one in _EMBEDS):
        found.add("embeddings")
    title = entry.get("displayName")
    return ListedModel(
        name,
        _limit(entry.get("inputTokenLimit")),
        _limit(entry.get("outputTokenLimit")),
        frozenset(found),
        title if isinstance(title, str) else "",
    )


def _limit(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 10**9 else None
