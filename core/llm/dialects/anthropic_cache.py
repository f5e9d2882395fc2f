"""Prompt-cache hints: where the part of a prompt ends that later requests will share.

    LLMRequest(..., extra={"anthropic": {"prompt_cache": PromptCache(at=("system", -1))}})

The same can stand in the YAML as a plain mapping, for every request of a provider.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from core.llm.common.exceptions import RequestError
from core.llm.providers.base.request import ChatRequest

FIELD: Final = "prompt_cache"
MAX_BREAKPOINTS: Final = 4

CachePlace = Literal["tools", "system"] | int


@dataclass(frozen=True, slots=True)
class PromptCache:
    """What to mark, and how long it may live."""

    at: Sequence[CachePlace] | Literal["auto"] = "auto"
    """`auto` lets the API choose; else breakpoints after the tools, after the system text, or after a message (its
    index in the request, negative from the end). At most four are used."""
    ttl: Literal["5m", "1h"] | None = None
    """`None` is the API's own default, five minutes."""

    @property
    def mark(self) -> dict[str, str]:
        """The value of `cache_control`."""
        return {"type": "ephemeral"} if self.ttl is None else {"type": "ephemeral", "ttl": self.ttl}


def prompt_cache(value: object) -> PromptCache | None:
    """The hint in *value*: a `PromptCache`, a mapping with its fields, or `True` for `auto`.

    Raises:
        RequestError: it is something else.
    """
    if value is None or value is False:
        return None
    if isinstance(value, PromptCache):
        return value
    if value is True or value == "auto":
        return PromptCache()
    if not isinstance(value, Mapping) or not value.keys() <= {"at", "ttl"}:
        raise RequestError(f"{FIELD} is 'auto' or a mapping with `at` and `ttl`")
    at = value.get("at", "auto")
    places = at if at == "auto" else tuple(at) if isinstance(at, list | tuple) else (at,)
    if places != "auto" and not all(type(place) is int or place in {"tools", "system"} for place in places):
        raise RequestError(f"{FIELD}.at is 'auto' or a list of 'tools', 'system' and message indexes")
    if value.get("ttl") not in {None, "5m", "1h"}:
        raise RequestError(f"{FIELD}.ttl is 5m or 1h")
    return PromptCache(cast("Any", places), value.get("ttl"))


class CacheMarks:
    """Sets the breakpoints of one request while its body is written."""

    __slots__ = ("_at", "_hint", "_left", "_request")

    def __init__(self, request: ChatRequest, default: object = None) -> None:
        hint = prompt_cache(request.extra.get(FIELD, default))
        self._request = request
        self._hint = hint
        self._left = MAX_BREAKPOINTS
        self._at: frozenset[CachePlace] = frozenset()
        if hint is not None and hint.at != "auto":
            count = len(request.messages)
            self._at = frozenset(place + count if isinstance(place, int) and place < 0 else place for place in hint.at)

    @property
    def automatic(self) -> dict[str, str] | None:
        """The mark of the whole request, where the API is to choose."""
        return self._hint.mark if self._hint is not None and self._hint.at == "auto" else None

    def wants(self, place: CachePlace) -> bool:
        """Whether a breakpoint was asked for at *place*."""
        return place in self._at

    def set(self, block: dict[str, Any]) -> None:
        """Put a breakpoint on *block*, where one is left."""
        if self._hint is None or "cache_control" in block:
            return
        if not self._left:
            self._request.warn(
                "dropped", FIELD, f"more than {MAX_BREAKPOINTS} breakpoints: the later ones were left out"
            )
            return
        self._left -= 1
        block["cache_control"] = self._hint.mark
