"""Provider types for these tests, and the shortest way from a text to what the loader says about it."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.providers.config.loader import LoadedConfig, load_config
from core.llm.providers.config.models.provider import ModelOptions, ProviderConfig
from core.llm.providers.config.resolving import ProviderTypes


class HostedConfig(ProviderConfig):
    needs_key: ClassVar[bool] = True
    base_url: str | None = "https://api.example.com/v1"
    organization: str | None = None


class ServerConfig(ProviderConfig):
    base_url: str | None = "http://localhost:11434"
    options: Mapping[str, Any] = {}


class LocalModel(ModelOptions):
    path: str


class LocalConfig(ProviderConfig):
    closed_models: ClassVar[bool] = True
    in_process: ClassVar[bool] = True
    models: Mapping[str, LocalModel] = {}


TYPES: dict[str, type[ProviderConfig]] = {
    "openai": HostedConfig,
    "ollama": ServerConfig,
    "openai_compatible": ServerConfig,
    "llama_cpp": LocalConfig,
}


def resolve(name: str) -> type[ProviderConfig] | None:
    """The fake types, and a plugin that cannot be imported."""
    if name == "broken_plugin":
        raise ImportError("no module of that name")
    return TYPES.get(name)


PROVIDER_TYPES = ProviderTypes(resolve, lambda: TYPES)


def dedented(text: str) -> str:
    """*text* without the indentation of the test around it."""
    return textwrap.dedent(text).lstrip("\n")


def load_text(
    folder: Path,
    text: str,
    env: Mapping[str, str] | None = None,
    name: str = "llm.yaml",
    environment: str | None = None,
) -> LoadedConfig:
    """Write *text* into a file and load it."""
    path = folder / name
    path.write_text(dedented(text), encoding="utf-8")
    return load_config(path, env or {}, PROVIDER_TYPES, environment=environment)


def issues_in(
    folder: Path, text: str, env: Mapping[str, str] | None = None, name: str = "llm.yaml"
) -> list[ConfigIssue]:
    """What the loader has against *text*."""
    try:
        load_text(folder, text, env, name)
    except ConfigError as error:
        return list(error.issues)
    return []
