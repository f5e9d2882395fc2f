"""From a name and a configuration to a provider."""

import difflib
import random
from collections.abc import Callable, Iterable
from typing import Any

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.events import EventBus
from core.llm.common.exceptions import UnknownProvider
from core.llm.factory.discovery import builtin_names, builtin_spec
from core.llm.factory.exceptions import MissingExtra
from core.llm.providers.base.provider import BaseLLMProvider, ProviderServices, Resources
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models import ProviderConfig


class LLMProviderFactory:
    """Knows every kind of provider and builds them."""

    def __init__(
        self,
        resources: Resources,
        events: EventBus | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        plugins: Iterable[ProviderSpec] = (),
    ) -> None:
        self._resources = resources
        self._events = events or EventBus()
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._registered: dict[str, ProviderSpec] = {spec.name: spec for spec in plugins}
        self._configured: Callable[[str], ProviderConfig] | None = None

    def register_provider(self, name: str, spec: ProviderSpec) -> None:
        """Make *spec* known as the provider type *name*, in place of a built-in one of that name."""
        self._registered[name] = spec

    def spec(self, kind: str) -> ProviderSpec | None:
        """The specification of a provider type, or `None`."""
        return self._registered.get(kind) or builtin_spec(kind)

    def names(self) -> tuple[str, ...]:
        """All known provider types."""
        return tuple(sorted({*builtin_names(), *self._registered}))

    def config_class(self, kind: str) -> type[ProviderConfig] | None:
        """The configuration class of a provider type, or `None` where the type is unknown."""
        spec = self.spec(kind)
        return spec.config_class() if spec else None

    def client_kind(self, client: type) -> str:
        """The provider type whose typed client *client* is.

        Raises:
            UnknownProvider: no known provider type has it.
        """
        reference = f"{client.__module__}:{client.__qualname__}"
        for kind in self.names():
            spec = self.spec(kind)
            if spec is not None and spec.client == reference:
                return kind
        raise UnknownProvider(f"{reference} is no provider's client")

    def build(self, name: str, config: ProviderConfig) -> BaseLLMProvider:
        """A provider called *name* from *config*; nothing is opened yet.

        Raises:
            UnknownProvider: there is no such type; the message names what is close.
            MissingExtra: it needs a package that is not installed.
        """
        kind = config.type or name
        spec = self.spec(kind)
        if spec is None:
            close = difflib.get_close_matches(kind, self.names(), n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise UnknownProvider(f"unknown provider type {kind!r}: {hint}Known types: {', '.join(self.names())}")
        services = ProviderServices(name, self._resources, self._clock, self._events, self._rng)
        try:
            provider_class: Any = spec.provider_class()
        except ModuleNotFoundError as error:
            if spec.extra is None:
                raise
            raise MissingExtra(kind, spec.extra, error.name or "a package") from None
        provider: BaseLLMProvider = provider_class(config, services)
        return provider

    def use_configuration(self, lookup: Callable[[str], ProviderConfig]) -> None:
        """Where `create_provider` finds the configuration of a name."""
        self._configured = lookup

    def create_provider(self, name: str) -> BaseLLMProvider:
        """A new provider from the live configuration of *name*. The caller starts and closes it."""
        if self._configured is None:
            raise UnknownProvider(f"no configuration is loaded, so provider {name!r} is unknown")
        return self.build(name, self._configured(name))
