"""What is known of an object while its text is still growing. Pure.

A partial object is an instance of the model that was never validated as a whole: each field that has arrived is
validated by itself, as far as it goes, and a field that has not arrived yet (or does not fit yet) has its default, or
`None` where it has no default. `model_fields_set` names the fields that have arrived.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json

from core.llm.structured.form import WRAPPER, wrapper_of

T = TypeVar("T", bound=BaseModel)

_NOTHING: Final = object()
_STEP: Final = 64
"""A text is read again once it has grown by a part of this size, so that long answers do not cost the square of their
length."""


class PartialReader:
    """Reads one growing text; `read` gives the object as far as it is known, when that is more than before."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._pieces: list[str] = []
        self._length = 0
        self._read_at = 0
        self._start = -1
        self._text = ""
        self._last: Any = _NOTHING

    def add(self, text: str) -> BaseModel | None:
        """Take a piece of the text; the object, where more of it is known now."""
        self._pieces.append(text)
        self._length += len(text)
        if self._length - self._read_at < max(1, self._read_at // _STEP):
            return None
        self._read_at = self._length
        self._text += "".join(self._pieces)
        self._pieces.clear()
        if self._start < 0:
            # Fences and prose before the object are no part of it.
            places = [place for place in (self._text.find("{"), self._text.find("[")) if place >= 0]
            if not places:
                return None
            self._start = min(places)
        value = _partial_json(self._text[self._start :])
        if value is _NOTHING or value == self._last:
            return None
        self._last = value
        return partial_object(self._model, value)


def partial_object(model: type[T], value: Any) -> T | None:
    """A *model* with what *value* holds of it; `None` while there is nothing to hold."""
    if wrapper_of(model) is not None and isinstance(value, Mapping) and set(value) <= {WRAPPER}:
        value = value.get(WRAPPER, _NOTHING)
    built = _NOTHING if value is _NOTHING else _built(model, value)
    return None if built is _NOTHING else built


def _partial_json(text: str) -> Any:
    try:
        return from_json(text, allow_partial="trailing-strings", allow_inf_nan=False)
    except ValueError:
        return _NOTHING


def _built(model: type[BaseModel], value: Any) -> Any:
    if model.__pydantic_root_model__:
        root = _fitting(model.model_fields["root"], value)
        return _NOTHING if root is _NOTHING else model.model_construct(root)
    if not isinstance(value, Mapping):
        return _NOTHING
    known: dict[str, Any] = {}
    arrived: set[str] = set()
    for name, field in model.model_fields.items():
        given = _given(name, field, value)
        fitting = _NOTHING if given is _NOTHING else _fitting(field, given)
        if fitting is not _NOTHING:
            arrived.add(name)
            known[name] = fitting
        else:
            known[name] = (
                None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
            )
    partial = model.model_construct(**known)
    # Set directly: a field with an alias is not taken by its name above.
    partial.__dict__.update(known)
    partial.__pydantic_fields_set__.clear()
    partial.__pydantic_fields_set__.update(arrived)
    return partial


def _default(field: FieldInfo) -> Any:
    try:
        return field.get_default(call_default_factory=True, validated_data={})
    except Exception:  # noqa: BLE001 - a factory of the caller's own may want fields that have not arrived
        return None


def _given(name: str, field: FieldInfo, value: Mapping[str, Any]) -> Any:
    alias = field.validation_alias or field.alias or name
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    for choice in (*choices, name):
        if isinstance(choice, AliasPath):
            found = choice.search_dict_for_path(dict(value))
            if not isinstance(found, type(_PYDANTIC_NOTHING)):
                return found
        elif choice in value:
            return value[choice]
    return _NOTHING


_PYDANTIC_NOTHING: Final = AliasPath("x").search_dict_for_path({})


def _fitting(field: FieldInfo, value: Any) -> Any:
    return _as(field.annotation, value)


def _as(kind: Any, value: Any) -> Any:
    """*value* as a *kind*, as far as it goes; `_NOTHING` where it does not fit (yet)."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _as(get_args(kind)[0], value)
    if isinstance(kind, type) and origin is None and issubclass(kind, BaseModel):
        return _built(kind, value)
    if origin in {Union, UnionType}:
        return _as_one_of(get_args(kind), value)
    arguments = get_args(kind)
    if origin is list and isinstance(value, list):
        items = [_as(arguments[0], item) for item in value]
        return [item for item in items if item is not _NOTHING]
    if origin is dict and isinstance(value, Mapping):
        pairs = {key: _as(arguments[1], item) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not _NOTHING}
    try:
        return _adapter(kind).validate_python(value)
    except (ValidationError, TypeError, ValueError):
        return _NOTHING


def _as_one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    """The member of a union that *value* is, or the one it looks most like by the names of its fields."""
    models = [kind for kind in map(_bare, kinds) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if isinstance(value, Mapping) and models:
        best, most = _NOTHING, 0
        for model in models:
            built = _built(model, value)
            arrived = len(built.model_fields_set) if isinstance(built, BaseModel) else 0
            if arrived > most:
                best, most = built, arrived
        if most:
            return best
    for kind in kinds:
        if _bare(kind) not in models:
            fitting = _as(kind, value)
            if fitting is not _NOTHING:
                return fitting
    return _NOTHING


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@lru_cache(maxsize=512)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
