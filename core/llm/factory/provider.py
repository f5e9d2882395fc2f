"""From a name and a configuration to a provider."""

import difflib
import random
from collections.abc import Callable, Iterable
from typing import Any

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.events import EventBus
from core.llm.common.exceptions import UnknownProvider
from core.llm.factory.discovery import builtin_names, builtin_spec
from core.llm.factory.exceptions import BrokenPlugin, MissingExtra
from core.llm.factory.plugins import ENTRY_POINT_GROUP, Plugin, check_spec, load_plugin, offers
from core.llm.providers.base.provider import BaseLLMProvider, ProviderServices, Resources
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.plugin_types import AllowedPlugins


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
        self._registered: dict[str, ProviderSpec] = {}
        self._plugins: dict[str, Plugin] = {}
        self._configured: Callable[[str], ProviderConfig] | None = None
        for spec in plugins:
            self.register_provider(spec.name, spec)

    def register_provider(self, name: str, spec: ProviderSpec) -> None:
        """Make *spec* known as the provider type *name*, in place of a built-in one of that name.

        Raises:
            BrokenPlugin: it was made for another version of the provider contract.
        """
        check_spec(getattr(spec, "name", name), spec, f"what is registered as {name!r}")
        self._registered[name] = spec

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """What was loaded from third-party packages, with its origin; it stays loaded until the process ends."""
        return tuple(self._plugins.values())

    def spec(self, kind: str) -> ProviderSpec | None:
        """The specification of a provider type, or `None`."""
        spec = self._registered.get(kind) or builtin_spec(kind)
        if spec is None and kind in self._plugins:
            return self._plugins[kind].spec
        return spec

    def names(self) -> tuple[str, ...]:
        """All provider types that need no allowance: those that ship with the library, and registered ones."""
        return tuple(sorted({*builtin_names(), *self._registered}))

    def allow_plugins(self, allowed: Iterable[str]) -> AllowedPlugins:
        """Load those of *allowed* that are not loaded yet; no other package is imported.

        Never raises: what cannot be used has a reason in the result.
        """
        found = AllowedPlugins()
        for name in dict.fromkeys(allowed):
            if name in self._registered:
                continue
            try:
                plugin = self._plugins.get(name) or self._load(name)
            except BrokenPlugin as broken:
                found.broken[name] = str(broken)
                continue
            if plugin is None:
                found.missing[name] = f"no installed package offers an entry point {name!r} in {ENTRY_POINT_GROUP}"
            else:
                self._plugins[name] = plugin
                found.classes[name] = plugin.spec.config_class()
        return found

    def plugin_offering(self, kind: str) -> str | None:
        """The installed package that offers the provider type *kind*, or `None`; imports nothing."""
        for entry in offers(kind):
            return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
        return None

    @staticmethod
    def _load(name: str) -> Plugin | None:
        if name in builtin_names():
            raise BrokenPlugin(f"{name!r} is the name of a provider that ships with core-llm")
        entries = offers(name)
        if not entries:
            return None
        if len({entry.value for entry in entries}) > 1:
            owners = sorted(entry.dist.name for entry in entries if entry.dist is not None)
            raise BrokenPlugin(f"several packages offer {name!r} ({', '.join(owners)}): uninstall all but one")
        return load_plugin(name, entries[0])

    def config_class(self, kind: str) -> type[ProviderConfig] | None:
        """The configuration class of one of `names`, or `None`; those of plugins come from `allow_plugins`."""
        spec = self._registered.get(kind) or builtin_spec(kind)
        return spec.config_class() if spec else None

    def config_schema(self) -> dict[str, Any]:
        """The JSON schema of a configuration file, with every provider type of `names`."""
        from core.llm.providers.config.schema import build_schema  # noqa: PLC0415 - only who asks for it pays for it

        classes = {name: found for name in self.names() if (found := self.config_class(name)) is not None}
        return build_schema(classes)

    def client_kind(self, client: type) -> str:
        """The provider type whose typed client *client* is.

        Raises:
            UnknownProvider: no known provider type has it.
        """
        reference = f"{client.__module__}:{client.__qualname__}"
        for kind in (*self.names(), *self._plugins):
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
            known = sorted({*self.names(), *self._plugins})
            close = difflib.get_close_matches(kind, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise UnknownProvider(f"unknown provider type {kind!r}: {hint}Known types: {', '.join(known)}")
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
