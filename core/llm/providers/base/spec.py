"""What a provider says about itself without being imported: names, and where its code is."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from core.llm.providers.base.provider import BaseLLMProvider
    from core.llm.providers.config.models.provider import ProviderConfig

PROVIDER_API: Final = 1
"""Version of the contract between this library and a provider; raised when providers have to be changed."""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One kind of provider. `config` and `provider` are `module:Class`, imported only when it is used."""

    name: str
    """The `type` in the YAML."""
    config: str
    provider: str
    summary: str = ""
    extra: str | None = None
    """The optional-dependency group it needs, as in `core-llm[local]`."""
    client: str | None = None
    """`module:Class` of a typed client that can be injected, such as `OllamaClient`."""
    local: bool = False
    """True where models run on this machine under our own control."""
    api: int = 1
    """The `PROVIDER_API` that it was written for; one that was written for another is not used."""

    def config_class(self) -> "type[ProviderConfig]":
        """Import and return the configuration class."""
        loaded: type[ProviderConfig] = _load(self.config)
        return loaded

    def provider_class(self) -> "type[BaseLLMProvider]":
        """Import and return the provider class."""
        loaded: type[BaseLLMProvider] = _load(self.provider)
        return loaded


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
