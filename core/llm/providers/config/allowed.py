"""What may stand at a place, and what was found there, in the words of messages. Never a text that was written."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from core.llm.common.units import format_duration, format_size, parse_duration, parse_size
from core.llm.providers.config.fields import children
from core.llm.providers.config.models.annotations import alternatives, members
from core.llm.providers.config.models.frozen import Also
from core.llm.providers.config.tree import Path

_LISTS: Final = (tuple, list, frozenset, set)
_LONGEST_NUMBER: Final = 24


class Place(NamedTuple):
    """The type of a value, and what limits it."""

    annotation: Any
    limits: tuple[Any, ...] = ()

    def wants(self, *kinds: str) -> bool:
        """Whether one of *kinds* may stand here: text, number, quantity (a number with a unit), list, mapping."""
        return any(kind in kinds for kind, _ in _options(self))


def places_at(root: type[BaseModel], path: Path) -> list[Place]:
    """What may stand at *path* below *root*."""
    found = [Place(root)]
    for step in path:
        found = [Place(*child) for place in found for child in children(place.annotation, step)]
    return found


def allowed(places: Sequence[Place]) -> str:
    """What may stand at one of *places*: `a whole number from 0 to 10`; empty where anything may."""
    options = list(dict.fromkeys(text for place in places for _, text in _options(place)))
    if "" in options or not options:
        return ""
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def choices(places: Sequence[Place]) -> list[str]:
    """The words that may stand at one of *places*, where there are but a few."""
    kinds = [kind for place in places for kind in members(place.annotation) if get_origin(kind) is Literal]
    return [str(value) for kind in kinds for value in get_args(kind)]


def found(value: object, *, secret: bool) -> str:
    """What stands there, without repeating a text: it may be a key that slipped into another line."""
    if value is None:
        return "empty"
    if isinstance(value, bool) and not secret:
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        if not value.strip():
            return "empty text"
        value = _number(value) or "text"
    text = str(value)
    return text if (len(text) <= _LONGEST_NUMBER and not secret) or text == "text" else "a number"


def _number(text: str) -> str | None:
    try:
        float(text)
    except ValueError:
        return None
    return text.strip()


def _options(place: Place) -> Iterator[tuple[str, str]]:
    """The kind and the words of everything that may stand at *place*."""
    annotation, limits = place.annotation, [*place.limits]
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        limits += [each for one in more for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
    for one in limits:
        if isinstance(one, Also):
            yield one.kind, one.words
    limits = [one for one in limits if not isinstance(one, Also)]
    for each in alternatives(annotation):
        if get_origin(each) is Annotated:
            yield from _options(Place(each, tuple(limits)))
        else:
            if getattr(each, "shorthand", None) is not None:
                yield "text", "text"
            yield from [("boolean", "true"), ("boolean", "false")] if each is bool else [_option(each, limits)]


def _option(kind: Any, limits: Sequence[Any]) -> tuple[str, str]:
    origin = get_origin(kind)
    converters = [getattr(one, "func", None) for one in limits]
    if parse_duration in converters:
        return "quantity", f"a duration such as 250ms, 30s or 5m{_range(limits, format_duration)}"
    if parse_size in converters:
        return "quantity", f"a size such as 500MB or 20GiB{_range(limits, format_size)}"
    if kind in (int, float, Decimal):
        return "number", ("a whole number" if kind is int else "a number") + _range(
            limits, "{:,}".format, whole=kind is int
        )
    if origin is Literal:
        values = [str(value) for value in get_args(kind)]
        return "text", f"one of {', '.join(values)}" if len(values) > 1 else values[0]
    if kind in (SecretStr, SecretBytes):
        return "text", "text, {env: NAME} or {file: path}"
    if kind is str:
        return "text", "text"
    if origin in _LISTS:
        return "list", "a list"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mapping", "a mapping"
    return ("mapping", "a mapping") if isinstance(origin, type) and issubclass(origin, Mapping) else ("any", "")


def _range(limits: Sequence[Any], show: Any, *, whole: bool = False) -> str:
    """` from 1 to 10`, ` greater than 0`."""
    named = {name: getattr(one, name) for one in limits for name in ("gt", "ge", "lt", "le") if hasattr(one, name)}
    if whole and "gt" in named and "le" in named:
        named["ge"] = named.pop("gt") + 1
    least, most = named.get("ge"), named.get("le")
    if least is not None and most is not None:
        return f" from {show(least)} to {show(most)}"
    words = {"gt": "greater than", "ge": "of at least", "lt": "less than", "le": "at most"}
    parts = [f"{words[name]} {value if value == 0 else show(value)}" for name, value in named.items()]
    return f" {' and '.join(parts)}" if parts else ""


def shown_default(value: object, places: Sequence[Place]) -> str:
    """A default as one would write it."""
    kinds = " ".join(text for place in places for _, text in _options(place))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and "a duration" in kinds:
        return format_duration(value)
    if isinstance(value, int) and "a size" in kinds:
        return format_size(value)
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
