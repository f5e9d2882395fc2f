"""Reading answers: JSON to typed fields, and nothing but `ProviderError` for whatever does not fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.json import parse_object, schema_error


def mismatch(name: str, wanted: str, value: object) -> ProviderError:
    """The error for a field of the wrong kind; names the kind that came, never the value."""
    return schema_error(f"{name} should be {wanted}, not {type(value).__name__}")


def text(source: Mapping[str, Any], name: str) -> str | None:
    """The string field *name*; `None` where it is missing or null."""
    value = source.get(name)
    if value is None or value.__class__ is str:
        return value
    raise mismatch(name, "a string", value)


def whole(source: Mapping[str, Any], name: str) -> int | None:
    """The integer field *name*; `None` where it is missing or null."""
    value = source.get(name)
    if value is None or value.__class__ is int:
        return value
    if value.__class__ is float and value.is_integer():
        return int(value)
    raise mismatch(name, "an integer", value)


def flag(source: Mapping[str, Any], name: str) -> bool:
    """The boolean field *name*; false where it is missing or null."""
    value = source.get(name)
    if value is None or value.__class__ is bool:
        return bool(value)
    raise mismatch(name, "true or false", value)


def mapping(source: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object field *name*; empty where it is missing or null."""
    value = source.get(name)
    if value is None:
        return {}
    if value.__class__ is not dict:
        raise mismatch(name, "an object", value)
    found: dict[str, Any] = value
    return found


def sequence(source: Mapping[str, Any], name: str) -> list[Any]:
    """The array field *name*; empty where it is missing or null."""
    value = source.get(name)
    if value is None:
        return []
    if value.__class__ is not list:
        raise mismatch(name, "an array", value)
    found: list[Any] = value
    return found


def objects(source: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The field *name* as an array of objects; empty where it is missing or null."""
    items = sequence(source, name)
    for item in items:
        if item.__class__ is not dict:
            raise mismatch(f"each item of {name}", "an object", item)
    return items


def strings(source: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The field *name* as an array of strings; empty where it is missing or null."""
    items = sequence(source, name)
    for item in items:
        if item.__class__ is not str:
            raise mismatch(f"each item of {name}", "a string", item)
    return tuple(items)


def numbers(value: object, name: str) -> tuple[float, ...]:
    """A vector."""
    if value.__class__ is not list:
        raise mismatch(name, "an array of numbers", value)
    found: list[Any] = value
    if not {item.__class__ for item in found} <= {float, int}:
        raise mismatch(f"each item of {name}", "a number", next(x for x in found if x.__class__ not in {float, int}))
    return tuple(found)


@dataclass(slots=True)
class Reply:
    """Base of everything that is received. Fields we do not know are tolerated and kept in `extra`."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False, kw_only=True)
    """The decoded object, unchanged."""

    @property
    def extra(self) -> dict[str, Any]:
        """What the server sent beyond the fields of this class."""
        known = {item.name for item in fields(self)}
        return {name: value for name, value in self.raw.items() if name not in known}

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the decoded object *source*; raises `ProviderError` (`protocol`, `schema`)."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read an answer's body; raises `ProviderError` of type `protocol`."""
        return cls.from_object(parse_object(data))

    def to_object(self) -> dict[str, Any]:
        """The answer as plain data: what the server sent, and every field of ours that is set."""
        known = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "raw"}
        return {**self.raw, **{name: _plain(value) for name, value in known.items() if value is not None}}

    def to_json(self) -> bytes:
        """The answer as JSON."""
        return to_json(self.to_object())


def _plain(value: Any) -> Any:
    if isinstance(value, Reply):
        return value.to_object()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
