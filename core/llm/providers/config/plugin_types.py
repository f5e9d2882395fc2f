"""What third-party packages add to the provider types of one configuration, as far as its `plugins.allow` lets them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from core.llm.providers.config.models.provider import ProviderConfig


@dataclass(slots=True)
class AllowedPlugins:
    """What became of the names in `plugins.allow`."""

    classes: dict[str, type[ProviderConfig]] = field(default_factory=dict)
    """The configuration class of each provider type that can be used."""
    broken: dict[str, str] = field(default_factory=dict)
    """Installed, but of no use, with the reason: their providers are off."""
    missing: dict[str, str] = field(default_factory=dict)
    """Not installed, with what was looked for: a provider that needs one is a mistake in the configuration."""


def _no_plugins(allowed: Iterable[str]) -> AllowedPlugins:
    return AllowedPlugins(missing=dict.fromkeys(allowed, "plugins cannot be loaded here"))


def _not_offered(kind: str) -> str | None:  # noqa: ARG001 - the signature is that of a look-up
    return None


@dataclass(frozen=True, slots=True)
class PluginLoader:
    """How a configuration comes by its plugins."""

    allow: Callable[[Iterable[str]], AllowedPlugins] = _no_plugins
    """Load what is named, and nothing else. Never raises."""
    offering: Callable[[str], str | None] = _not_offered
    """The installed package that offers a provider type, found without importing it."""
