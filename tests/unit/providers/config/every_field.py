"""Every field of every configuration model, each in the smallest file that has it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from core.llm.factory.discovery import builtin_names, builtin_spec
from core.llm.providers.config.models.annotations import members
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig

TYPES: Final[Mapping[str, type[ProviderConfig]]] = {
    name: spec.config_class() for name in builtin_names() if (spec := builtin_spec(name)) is not None
}
_REQUIRED: Final[Mapping[str, object]] = {
    "use": "p/m",
    "model": "p/m",
    "key": "k",
    "amount": 1,
    "period": "day",
    "scope": {"user": "ann"},
    "input": 1,
    "output": 1,
    "path": "embedded",
    "id": "abc",
    "user": "### {text}",
    "assistant": "### {text}",
}
"""What a field holds that cannot be left out."""
_BASES: Final[Mapping[str, dict[str, object]]] = {
    "openai_compatible": {"base_url": "http://localhost:1/v1"},
    "azure_openai": {"base_url": "https://a.openai.azure.com"},
    "llama_cpp": {"models": {"m": "embedded"}},
    "transformers": {"models": {"m": "."}},
    "custom": {"model_path": "m.gguf", "engine": "llama_cpp"},
}
"""What a provider of a type needs at least."""
_KEYS: Final = {"costs.limits": "p_daily", "residency.devices": "p", "residency.sizes": "p/m"}
_HOLE: Final = "@@hole@@"

Put = Callable[[object], dict[str, Any]]


class FieldPlace(NamedTuple):
    """A field, or an entry of one, and how a file with something there is written."""

    path: str
    put: Put

    def text(self, raw: str) -> tuple[str, int]:
        """A file of one line that holds *raw* at this place, and the column where it does."""
        line = json.dumps(self.put(_HOLE))
        hole = f'"{_HOLE}"'
        return line.replace(hole, raw), line.index(hole) + 1


def every_place() -> Iterator[FieldPlace]:
    """Every field of the service and of every provider type; one that types share, once."""
    seen: set[object] = set()
    yield from _fields(LLMServiceConfig, _service, "", seen)
    for kind, model in TYPES.items():

        def put(value: Any, kind: str = kind) -> dict[str, Any]:
            return _service({"providers": {"x": {"type": kind, **_BASES.get(kind, {}), **value}}})

        yield from _fields(model, put, "providers.x", seen)


def _service(value: Any) -> dict[str, Any]:
    providers = {"p": {"type": "ollama", "models": {"m": {}}}, **value.get("providers", {})}
    return {"llm_service": {**value, "providers": providers}}


def _fields(model: type[BaseModel], around: Put, path: str, seen: set[object]) -> Iterator[FieldPlace]:
    needed = {name: _REQUIRED[name] for name, info in model.model_fields.items() if info.is_required()}
    for name, info in model.model_fields.items():
        identity = (next(one for one in model.__mro__ if name in one.__annotations__), name)
        if identity in seen or (path == "" and name == "providers"):
            continue
        seen.add(identity)

        def put(value: object, name: str = name) -> dict[str, Any]:
            return around({**needed, name: value})

        here = f"{path}.{name}" if path else name
        yield FieldPlace(here, put)
        yield from _below(info.annotation, put, here, seen)


def _below(annotation: Any, put: Put, path: str, seen: set[object]) -> Iterator[FieldPlace]:
    for member in members(annotation):
        origin = get_origin(member)
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield from _fields(member, put, path, seen)
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            key = _key(get_args(member)[0], path)

            def entry(value: object, key: str = key) -> dict[str, Any]:
                return put({key: value})

            yield FieldPlace(f"{path}.{key}", entry)
            yield from _below(get_args(member)[1], entry, f"{path}.{key}", seen)
        elif origin in (tuple, list, frozenset, set):

            def item(value: object) -> dict[str, Any]:
                return put([value])

            yield FieldPlace(f"{path}[0]", item)
            yield from _below(get_args(member)[0], item, f"{path}[0]", seen)


def _key(annotation: Any, path: str) -> str:
    words = [word for member in members(annotation) if get_origin(member) is Literal for word in get_args(member)]
    return words[0] if words else _KEYS.get(path, "m")
