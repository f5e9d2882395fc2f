"""The model list of the Messages API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.llm.dialects.json import schema_error
from core.llm.dialects.json_body import json_answer


@dataclass(frozen=True, slots=True)
class ListedClaude:
    """One entry of the list."""

    name: str
    title: str = ""
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    retires: str | None = None
    """Date of the shut-down, where one is planned."""


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One page of the list."""

    models: tuple[ListedClaude, ...]
    after: str | None = None
    """Where the next page begins; `None` on the last one."""


def models_from_anthropic(headers: Mapping[str, str], body: bytes) -> ModelPage:
    """The page in *body*.

    Raises:
        ProviderError: it is no model list.
    """
    answer = json_answer(body, headers)
    data = answer.get("data")
    if not isinstance(data, list):
        raise schema_error("it has no list of models")
    models = tuple(_listed(one) for one in data if isinstance(one, Mapping) and isinstance(one.get("id"), str))
    last = answer.get("last_id")
    more = answer.get("has_more") is True and isinstance(last, str) and bool(models)
    return ModelPage(models, last if more else None)


def _listed(entry: Mapping[str, Any]) -> ListedClaude:
    title, retires = entry.get("display_name"), entry.get("retires_at")
    return ListedClaude(
        entry["id"],
        title if isinstance(title, str) else "",
        _size(entry.get("max_input_tokens")),
        _size(entry.get("max_tokens")),
        retires[:10] if isinstance(retires, str) else None,
    )


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else None
