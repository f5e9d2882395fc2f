"""The configuration that is in force, and how another one takes its place.

A reload is a transaction: read, validate, compare, let the runtime build and swap, publish. Whatever fails on the way,
the configuration in force stays as it is, and the issues say where the mistake is.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from core.llm.common.clock import Clock
from core.llm.common.events import ConfigApplied, ConfigRejected, EventBus, ProviderDisabled, Subscription
from core.llm.common.exceptions import ConfigError, ConfigIssue, LLMError, UnknownProvider
from core.llm.providers.config.changes import ConfigChange, ConfigStatus, ReloadResult, ValueOrigin
from core.llm.providers.config.diff import ConfigDiff, compare
from core.llm.providers.config.explain import explain
from core.llm.providers.config.in_force import InForce, located
from core.llm.providers.config.issues import suggest_name
from core.llm.providers.config.loader import LoadedConfig
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig, ReloadOptions
from core.llm.providers.config.plugin_types import PluginLoader
from core.llm.providers.config.reading import ConfigReader, Reading, place_of
from core.llm.providers.config.resolving import ProviderTypes, TypeResolver
from core.llm.providers.config.turns import Turns
from core.llm.providers.config.watcher import ConfigWatcher
from core.llm.routing.functions import NO_FUNCTIONS, RoutingFunctions

_log: Final = logging.getLogger("core.llm.config")

Applier = Callable[[ConfigChange], Awaitable[None]]
ChangeListener = Callable[[ConfigChange], None]


class ProviderConfigManager:
    """Loads, holds, reloads and explains the configuration. The constructor does no I/O.

    Args:
        source: path of a YAML or TOML file, a mapping with the same keys, or an `LLMServiceConfig`.
        resolve: the configuration class of a provider type.
        env: environment variables; None is the process's own.
        watch: follow edits of the files once started.
        environment: name of the layer above the file (`llm.<environment>.yaml`); None takes it from `LLM_ENV`.
        known_types: names of all provider types, for messages.
        plugins: how the types that `plugins.allow` names are loaded; None refuses them all.
        functions: strategies and classifiers of the host's own, which aliases may name.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any] | LLMServiceConfig,
        *,
        resolve: TypeResolver,
        events: EventBus,
        clock: Clock,
        env: Mapping[str, str] | None = None,
        watch: bool = True,
        environment: str | None = None,
        known_types: Callable[[], Any] = tuple,
        plugins: PluginLoader | None = None,
        functions: RoutingFunctions = NO_FUNCTIONS,
    ) -> None:
        self._source = Path(source) if isinstance(source, str) else source
        self._reader = ConfigReader(
            ProviderTypes(resolve, known_types, plugins or PluginLoader(), functions), clock, env, environment
        )
        self._events = events
        self._clock = clock
        self._watch = watch
        self._applier: Applier | None = None
        self._listeners: tuple[ChangeListener, ...] = ()
        self._books = InForce(clock)
        self._turns = Turns()
        self._watcher: ConfigWatcher | None = None
        self._signal_loop: asyncio.AbstractEventLoop | None = None

    @property
    def current(self) -> LLMServiceConfig:
        """The configuration in force.

        Raises:
            ConfigError: nothing has been loaded yet.
        """
        return self._books.require().config

    @property
    def generation(self) -> int:
        """How many configurations have been in force; 0 before the first load."""
        return self._books.generation

    @property
    def disabled(self) -> Mapping[str, str]:
        """Providers that are configured and off, with the reason."""
        return self._books.require().disabled

    @property
    def status(self) -> ConfigStatus:
        """How the configuration is doing."""
        return self._books.status(self._watcher.mode if self._watcher else "off")

    def set_applier(self, apply: Applier) -> None:
        """Let *apply* build and swap what a new configuration needs, before it is published.

        Any `LLMError` it raises rejects the configuration as a whole.
        """
        self._applier = apply

    def on_change(self, listener: ChangeListener) -> Subscription:
        """Call *listener* after every swap; what it raises is logged and disturbs nothing."""

        def call(change: ConfigChange) -> None:
            listener(change)

        self._listeners = (*self._listeners, call)

        def cancel() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not call)

        return Subscription(cancel)

    def get_provider_config(self, name: str) -> ProviderConfig:
        """The configuration of provider *name*, as an instance of that provider's own class.

        Raises:
            UnknownProvider: there is none of that name.
        """
        providers = self.current.providers
        if name not in providers:
            raise UnknownProvider(f"no provider {name!r} is configured: {suggest_name(name, providers, 'configured')}")
        return providers[name]

    def explain(self, path: str) -> tuple[ValueOrigin, ...]:
        """Where the value at a dotted *path* comes from: what is in force first, then what it replaced."""
        return explain(self._books.require(), path)

    async def load(self) -> LLMServiceConfig:
        """Load for the first time; afterwards the configuration in force.

        Raises:
            ConfigError: with every issue; there is nothing to fall back to.
        """
        async with self._turns.alone:
            if self._books.loaded is None:
                read = await self._reader.read(self._source, self._books.watch_set)
                if read.loaded is None:
                    raise ConfigError(read.errors) from None
                await self._put_in_force(read, read.loaded, compare(None, read.loaded.config))
            return self.current

    async def reload(self, *, dry_run: bool = False) -> ReloadResult:
        """Read the sources again and put what they say in force.

        Reloads run one after the other; all that are asked for while one runs share the one that follows it.

        Args:
            dry_run: validate and compare only.
        """
        if dry_run:
            async with self._turns.alone:
                return await self._check()
        return await self._turns.shared(self._reload)

    async def replace(self, config: Mapping[str, Any] | LLMServiceConfig) -> ReloadResult:
        """Put *config* in force instead of what the sources say.

        Without a file it is the source from now on. With one it holds until the file is edited or `reload` is called.
        """
        return await self._turns.own(lambda: self._replace(config))

    async def start(self) -> None:
        """Load if that has not been done, then follow edits of the files."""
        await self.load()
        options = self.current.reload
        if self._watch and options.enabled and isinstance(self._source, Path) and self._watcher is None:
            self._watcher = ConfigWatcher(
                lambda: self._books.watch_set,
                self._files_moved,
                self._reload_options,
                clock=self._clock,
                events=self._events,
            )
            await self._watcher.start()
        if options.on_sighup:
            self._listen_for_hangup()

    async def stop(self) -> None:
        """Stop following edits. The configuration stays readable. Idempotent."""
        if self._signal_loop is not None:
            self._signal_loop.remove_signal_handler(signal.SIGHUP)
            self._signal_loop = None
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            await watcher.stop()
        await self._turns.stop()

    def _reload_options(self) -> ReloadOptions:
        return self.current.reload

    def _listen_for_hangup(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGHUP, lambda: self._turns.begin(self.reload()))
        except (RuntimeError, ValueError, NotImplementedError):
            _log.warning(
                "reload.on_sighup is set, but signals can only be handled in the main thread of a POSIX system"
            )
            return
        self._signal_loop = loop

    async def _reload(self) -> ReloadResult:
        return self._books.counted(await self._apply(await self._reader.read(self._source, self._books.watch_set)))

    async def _replace(self, config: Mapping[str, Any] | LLMServiceConfig) -> ReloadResult:
        read = await self._reader.read(config, self._books.watch_set)
        if isinstance(self._source, Path):
            return self._books.counted(await self._apply(replace(read, beside_files=True)))
        result = self._books.counted(await self._apply(read))
        if result.status != "rejected":
            self._source = config
        return result

    async def _check(self) -> ReloadResult:
        read = await self._reader.read(self._source, self._books.watch_set)
        if read.loaded is None:
            return self._books.result("rejected", read, errors=read.errors)
        diff = compare(self._books.loaded.config if self._books.loaded else None, read.loaded.config)
        return self._books.result("applied" if diff else "unchanged", read, diff)

    async def _files_moved(self) -> None:
        """The watcher's call: the files may have changed."""
        async with self._turns.alone:
            if self._books.watch_set.digest() == self._books.seen:
                return
            read = await self._reader.read(self._source, self._books.watch_set)
            refused = self._books.refused
            result = await self._apply(read, from_watcher=True)
            # What is broken is looked at whenever something moves beside it, and every look finds the same.
            if result.status != "rejected" or self._books.refused != refused:
                self._books.counted(result)

    async def _apply(self, read: Reading, *, from_watcher: bool = False) -> ReloadResult:
        """Put what was read in force, unless it is wrong, looks unfinished, or changes nothing."""
        if read.loaded is None:
            return self._reject(read, read.errors)
        diff = compare(self._books.loaded.config if self._books.loaded else None, read.loaded.config)
        if not diff and self._books.loaded is not None:
            self._books.keep(read, read.loaded)
            return self._books.result("unchanged", read)
        if from_watcher:
            doubt = self._books.doubt(read)
            if doubt is not None:
                if self._watcher is not None:
                    self._watcher.look_again_in(doubt[1])
                return self._reject(read, doubt[:1])
        try:
            await self._put_in_force(read, read.loaded, diff)
        except ConfigError as error:
            return self._reject(read, error.issues)
        except LLMError as error:
            return self._reject(read, [ConfigIssue(str(error))])
        except Exception as error:  # noqa: BLE001 - whatever building raises refuses the edit, nothing else
            # The text of a foreign error may hold a value of the configuration; its type and place do not.
            return self._reject(
                read, [ConfigIssue(f"could not be applied: {type(error).__name__} in {place_of(error)}")]
            )
        return self._books.result("applied", read, diff)

    async def _put_in_force(self, read: Reading, loaded: LoadedConfig, diff: ConfigDiff) -> None:
        before = self._books.loaded
        old = before.config if before else None
        change = ConfigChange(old, loaded.config, self.generation + 1, diff, loaded.disabled)
        if self._applier is not None:
            try:
                await self._applier(change)
            except ConfigError as error:
                raise ConfigError([located(issue, loaded) for issue in error.issues]) from error.__cause__
        # From here to the end nothing is awaited: nobody sees half of it.
        duration = self._books.put(read, loaded, change.notes)
        for warning in self._books.warnings:
            _log.warning("%s", warning)
        self._events.publish(ConfigApplied(self.generation, diff.changes, duration, diff.restart_required))
        for name, reason in loaded.disabled.items():
            if before is None or before.disabled.get(name) != reason:
                self._events.publish(ProviderDisabled(name, reason))
        for listener in self._listeners:
            try:
                listener(change)
            except Exception as error:  # noqa: BLE001 - a listener's bug must not undo what is already in force
                _log.error("a listener of configuration changes raised %s in %s", type(error).__name__, place_of(error))

    def _reject(self, read: Reading, errors: Sequence[ConfigIssue]) -> ReloadResult:
        news = self._books.reject(read, errors)
        if news is not None:
            self._events.publish(ConfigRejected(news, self.generation))
        return self._books.result("rejected", read, errors=tuple(errors))
