"""The services of the layer for one command, without what goes on in the background of an application."""

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.container import Container
from core.llm import (
    Clock,
    EventBus,
    HealthMonitor,
    LLMService,
    LLMServiceConfig,
    ModelManager,
    ProviderConfigManager,
    ProviderModule,
)


@dataclass(frozen=True, slots=True)
class Application:
    """What commands use."""

    container: Container
    manager: ProviderConfigManager
    llm: LLMService
    models: ModelManager
    health: HealthMonitor
    events: EventBus
    clock: Clock

    @property
    def config(self) -> LLMServiceConfig:
        """The configuration in force."""
        return self.manager.current


@asynccontextmanager
async def opened(path: str, *, keeps: bool = False) -> AsyncIterator[Application]:
    """Load the configuration at *path* and build its providers; close them in the end.

    The container is not started: a look at the models of an application must not preload its models, check its
    providers, follow its file, or write to its ledger. No call is sent.

    Args:
        path: the configuration file.
        keeps: what is loaded on a server stays there, whatever the configuration says about the end of an application.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    container = Container([ProviderModule(path, watch=False, env=await _keeping(path) if keeps else None)])
    # The service comes first: it is what builds the providers when the configuration is loaded.
    llm = container.get(LLMService)
    manager = container.get(ProviderConfigManager)
    try:
        await manager.load()
        yield Application(
            container,
            manager,
            llm,
            container.get(ModelManager),
            container.get(HealthMonitor),
            container.get(EventBus),
            container.get(Clock),
        )
    finally:
        await llm.stop()
        await container.stop()


async def _keeping(path: str) -> Mapping[str, str] | None:
    """The process's own environment, with `unload_on_stop` switched off wherever it is on; `None`: it is nowhere."""
    plain = Container([ProviderModule(path, watch=False)])
    config = await plain.get(ProviderConfigManager).load()
    asked = [name for name, one in config.providers.items() if getattr(one, "unload_on_stop", False)]
    if not asked:
        return None
    overrides = {
        f"LLM__PROVIDERS__{re.sub('[^A-Z0-9]+', '_', name.upper())}__UNLOAD_ON_STOP": "false" for name in asked
    }
    return {**os.environ, **overrides}
