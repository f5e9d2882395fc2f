"""The model list of the OpenAI format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.dialects.errors import classify, error_of, is_error
from core.llm.dialects.json import parse_json, schema_error
from core.llm.dialects.json_body import looks_like_json, not_json

_WINDOWS: Final = ("context_length", "max_context_length", "max_model_len", "context_window", "max_input_tokens")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of the list."""

    name: str
    context_window: int | None = None
    """Where the server tells, by whatever name."""
    owner: str = ""


def models_from_openai(headers: Mapping[str, str], body: bytes) -> list[ListedModel]:
    """The models in *body*: a list in `data` or alone, or one model object.

    Raises:
        ProviderError: it is no model list.
    """
    if not looks_like_json(body):
        raise not_json(body, headers)
    answer = parse_json(body)
    if isinstance(answer, Mapping):
        if is_error(answer):
            raise classify(error_of(answer), headers=headers)
        answer = [answer] if isinstance(answer.get("id"), str) else answer.get("data", answer.get("models"))
    if not isinstance(answer, list):
        raise schema_error("it has no list of models")
    return [_listed(entry) for entry in answer if isinstance(entry, Mapping) and isinstance(_name(entry), str)]


def _name(entry: Mapping[str, Any]) -> Any:
    return entry.get("id", entry.get("name"))


def _listed(entry: Mapping[str, Any]) -> ListedModel:
    meta = entry.get("meta")
    windows = [entry.get(key) for key in _WINDOWS]
    if isinstance(meta, Mapping):
        windows.append(meta.get("n_ctx"))
        windows.append(meta.get("n_ctx_train"))
    window = next((value for value in windows if type(value) is int and 0 < value < 10**9), None)
    owner = entry.get("owned_by")
    return ListedModel(str(_name(entry)), window, owner if isinstance(owner, str) else "")
