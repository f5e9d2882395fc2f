"""Say where a setting comes from."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from core.llm.common.secrets import MASK, redact
from core.llm.providers.config.changes import ValueOrigin
from core.llm.providers.config.fields import is_secret
from core.llm.providers.config.loader import LoadedConfig
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.tree import Node, Path, find, parse_dotted


def explain(loaded: LoadedConfig, path: str) -> tuple[ValueOrigin, ...]:
    """The value at *path* in force, then each value it replaced; empty where there is no such setting."""
    steps = parse_dotted(loaded.tree, path)
    node = None if steps is None else find(loaded.tree, steps)
    if steps is None or node is None or node.value is None:
        return _default(loaded.config, path)
    secret = node.secret or _is_secret(loaded.config, steps)
    origins = []
    layer: Node | None = node
    while layer is not None:
        value = MASK if secret else _shown(layer)
        origins.append(ValueOrigin(value, layer.at.layer, layer.at.line, layer.at.column))
        layer = layer.under
    return tuple(origins)


def _is_secret(config: LLMServiceConfig, steps: Path) -> bool:
    if steps[:1] == ("providers",) and len(steps) > 2 and steps[1] in config.providers:
        return is_secret(type(config.providers[str(steps[1])]), steps[2:])
    return is_secret(LLMServiceConfig, steps)


def _shown(node: Node) -> Any:
    if node.secret:
        return MASK
    if isinstance(node.value, dict):
        return {key: _shown(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [_shown(child) for child in node.value]
    return redact(node.value) if isinstance(node.value, str) else node.value


def _default(config: LLMServiceConfig, path: str) -> tuple[ValueOrigin, ...]:
    value: Any = config
    rest = path
    while rest:
        names = type(value).model_fields if isinstance(value, BaseModel) else value
        if not isinstance(names, Mapping):
            return ()
        fitting = [name for name in names if rest == name or rest.startswith(f"{name}.")]
        if not fitting:
            return ()
        name = max(fitting, key=len)
        value = getattr(value, name) if isinstance(value, BaseModel) else value[name]
        rest = rest[len(name) + 1 :]
    if isinstance(value, BaseModel | Mapping):
        return ()
    return (ValueOrigin(MASK if isinstance(value, SecretStr | SecretBytes) else value, "default"),)
