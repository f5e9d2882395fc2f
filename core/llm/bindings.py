"""The bindings of the LLM layer. Nothing is opened, read or started here.

`ProviderModule` is what a host names; it imports this, and with it the whole library, when it is built.
"""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from injector import Binder, InstanceProvider, Module, provider, singleton

from core.llm.accounting.ledger import UsageLedger
from core.llm.client import LLMClient
from core.llm.common.clock import Clock, SystemClock
from core.llm.common.events import EventBus
from core.llm.common.guardrail import Guardrail
from core.llm.factory.provider import LLMProviderFactory
from core.llm.model_manager import ModelManager
from core.llm.observability.audit import AuditLog
from core.llm.observability.logs import EventLog
from core.llm.on_demand import bind_on_demand
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.plugin_types import PluginLoader
from core.llm.routing.functions import RoutingFunctions
from core.llm.routing.strategies.contract import Classifier, Strategy
from core.llm.runtime.health import HealthMonitor
from core.llm.runtime.live import LiveConfiguration
from core.llm.runtime.resources import ResourcePool
from core.llm.runtime.state import RuntimeState
from core.llm.runtime.swap import RuntimeHolder
from core.llm.service import LLMService


class Bindings(Module):
    """`LLMService` and everything behind it, as singletons; the arguments are those of `ProviderModule`."""

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | LLMServiceConfig,
        *,
        watch: bool,
        env: Mapping[str, str] | None,
        plugins: Iterable[ProviderSpec],
        clock: Clock | None,
        rng: random.Random | None,
        strategies: Mapping[str, Strategy] | None,
        classifiers: Mapping[str, Classifier] | None,
        guardrails: Iterable[Guardrail],
    ) -> None:
        if not isinstance(config, str | Path | Mapping | LLMServiceConfig):
            kind = type(config).__name__
            raise TypeError(f"ProviderModule takes the path of a file, a mapping or an LLMServiceConfig, not {kind}")
        self._config = config
        self._watch = watch
        self._env = env
        self._plugins = tuple(plugins)
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._guardrails = tuple(guardrails)
        self._functions = RoutingFunctions(strategies or {}, classifiers or {})

    def configure(self, binder: Binder) -> None:
        """Bind the clock; chat models and typed clients are bound when somebody asks for them."""
        binder.bind(Clock, to=InstanceProvider(self._clock))
        bind_on_demand(binder)

    @singleton
    @provider
    def _events(self) -> EventBus:
        return EventBus()

    @singleton
    @provider
    def _resources(self) -> ResourcePool:
        return ResourcePool()

    @singleton
    @provider
    def _factory(self, resources: ResourcePool, events: EventBus) -> LLMProviderFactory:
        return LLMProviderFactory(resources, events, self._clock, self._rng, self._plugins)

    @singleton
    @provider
    def _manager(self, factory: LLMProviderFactory, events: EventBus) -> ProviderConfigManager:
        return ProviderConfigManager(
            self._config,
            resolve=factory.config_class,
            known_types=factory.names,
            plugins=PluginLoader(factory.allow_plugins, factory.plugin_offering),
            events=events,
            clock=self._clock,
            env=self._env,
            watch=self._watch,
            functions=self._functions,
        )

    @singleton
    @provider
    def _event_log(self, manager: ProviderConfigManager, events: EventBus) -> EventLog:
        return EventLog(events, lambda: manager.current.logging)

    @singleton
    @provider
    def _ledger(self, manager: ProviderConfigManager) -> UsageLedger:
        return UsageLedger(lambda: manager.current.state)

    @singleton
    @provider
    def _audit_log(self, manager: ProviderConfigManager, events: EventBus) -> AuditLog:
        return AuditLog(events, lambda: manager.current.audit, self._clock)

    @singleton
    @provider
    def _holder(self, events: EventBus) -> RuntimeHolder:
        return RuntimeHolder(events)

    @singleton
    @provider
    def _live(
        self,
        manager: ProviderConfigManager,
        factory: LLMProviderFactory,
        holder: RuntimeHolder,
        events: EventBus,
        ledger: UsageLedger,
    ) -> LiveConfiguration:
        state = RuntimeState(self._clock, events, ledger, self._functions, self._guardrails)
        return LiveConfiguration(manager, factory, holder, state)

    @singleton
    @provider
    def _models(self, live: LiveConfiguration, events: EventBus) -> ModelManager:
        return ModelManager(live, events, self._clock)

    @singleton
    @provider
    def _service(
        self,
        log: EventLog,  # noqa: ARG002 - written as long as there are calls, also where a host creates the service alone
        audit: AuditLog,  # noqa: ARG002 - the same
        live: LiveConfiguration,
        events: EventBus,
        models: ModelManager,
    ) -> LLMService:
        # After the models: what a start has to wait for is in memory before calls are admitted.
        return LLMService(live, models, events, self._clock, self._rng)

    @singleton
    @provider
    def _health(
        self,
        service: LLMService,  # noqa: ARG002 - made before, so that the checks end before the service does
        holder: RuntimeHolder,
        manager: ProviderConfigManager,
        events: EventBus,
    ) -> HealthMonitor:
        # A copy, so that a check does not change how the next call is routed.
        rng = random.Random()
        rng.setstate(self._rng.getstate())
        return HealthMonitor(holder, manager, events, self._clock, rng)

    @singleton
    @provider
    def _client(self, service: LLMService) -> LLMClient:
        return LLMClient(service, self._clock)
