"""A running service on scripted providers."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from core.container import Container
from core.llm.common.clock import Clock
from core.llm.common.events import EventBus
from core.llm.module import ProviderModule
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.runtime.swap import RuntimeHolder
from core.llm.service import LLMService
from core.llm.testing import SCRIPTED, SCRIPTED_HOST, Script, ScriptedProvider


class World:
    """A container with a service, and what a test wants to reach inside it."""

    def __init__(self, container: Container, scripts: Mapping[str, Script]) -> None:
        self.container = container
        self.scripts = scripts
        self.service: LLMService = container.get(LLMService)
        self.manager: ProviderConfigManager = container.get(ProviderConfigManager)
        self.holder: RuntimeHolder = container.get(RuntimeHolder)
        self.events: EventBus = container.get(EventBus)

    def __getattr__(self, name: str) -> Script:
        try:
            return self.scripts[name]
        except KeyError:
            raise AttributeError(name) from None

    def provider(self, name: str) -> ScriptedProvider:
        """The live provider object of that name."""
        found = self.holder.current.providers[name]
        assert isinstance(found, ScriptedProvider)
        return found

    def leases(self) -> int:
        """Calls that hold a configuration now."""
        assert all(runtime.leases == len(runtime.calls) for runtime in self.holder.live)
        return sum(runtime.leases for runtime in self.holder.live)


def settings(scripts: Mapping[str, Script], retries: int = 0, **config: Any) -> dict[str, Any]:
    """A configuration with one scripted provider for each of *scripts*; *config* is laid over it."""
    providers = {name: {"type": "scripted", "script": script.name, "models": ["m"]} for name, script in scripts.items()}
    given = config.pop("providers", {})
    for name, options in given.items():
        providers[name] = {**providers.get(name, {}), **options}
    base = {
        "default_model": "alpha/m",
        "retry": {"initial_delay": "1ms", "max_delay": "2ms", "max_retries": retries},
        "health_check": {"enabled": False},
        "lifecycle": {"shutdown_timeout": "500ms"},
    }
    return {"llm_service": {**base, "providers": providers, **config}}


@asynccontextmanager
async def serving(
    *names: str,
    clock: Clock | None = None,
    seed: int = 0,
    modules: tuple[Any, ...] = (),
    plugins: Sequence[ProviderSpec] = (),
    retries: int = 0,
    strategies: Mapping[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[World]:
    """A service on scripted providers called *names* (alpha and beta unless given)."""
    # Each world has scripts of its own, so that tests cannot meet in a name.
    scripts = {name: Script.named(f"{name}-{random.getrandbits(64):x}") for name in names or ("alpha", "beta")}
    module = ProviderModule(
        settings(scripts, retries, **config),
        watch=False,
        env={},
        plugins=[SCRIPTED, SCRIPTED_HOST, *plugins],
        clock=clock,
        rng=random.Random(seed),
        strategies=strategies,
    )
    async with Container([module, *modules]) as container:
        yield World(container, scripts)
