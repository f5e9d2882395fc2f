"""The scenarios of the cancel sweep that start and stop things."""

import asyncio
from typing import Any

from core.container import Container
from core.lifecycle import ContainerState, Lifecycle
from core.llm import LLMService, ProviderModule
from tests.sweep.public import sweeps
from tests.sweep.test_service_sweep import CHAIN, HALTING


class Setting:
    """A container that a scenario starts, or parts of one that is not started."""

    def __init__(self) -> None:
        config: dict[str, Any] = {**CHAIN, "health_check": {"interval": "1h"}}
        self.module = ProviderModule({"llm_service": config}, watch=False, env={}, plugins=[HALTING])
        self.container = Container([self.module])

    async def end(self) -> None:
        """What whoever was cancelled leaves to the next one: stop may be called again."""
        await self.container.stop()


@sweeps(
    "Container.__aenter__", "Container.__aexit__", "Container.start", "Container.stop", "Lifecycle.start",
    "Lifecycle.stop", "LLMService.start", "LLMService.stop", "ModelManager.start", "ModelManager.stop",
    "HealthMonitor.start", "HealthMonitor.stop", "UsageLedger.start", "UsageLedger.stop", "UsageLedger.prepare",
    "ProviderConfigManager.load", "ProviderConfigManager.start", "ProviderConfigManager.stop",
)  # fmt: skip
async def enter_and_leave(setting: Setting, number: int) -> None:
    async with setting.container as container:
        await container.get(LLMService).generate("hello", timeout=30)


@sweeps("Container.run", "Lifecycle.wait_stopped")
async def run(setting: Setting, number: int) -> None:
    _stop_once_started(setting.container.lifecycle)
    await setting.container.run(handle_signals=False)
    await setting.container.lifecycle.wait_stopped()


def _stop_once_started(lifecycle: Lifecycle) -> None:
    if lifecycle.state == ContainerState.STARTED:
        lifecycle.request_stop()
    elif lifecycle.state in {ContainerState.NEW, ContainerState.STARTING}:
        asyncio.get_running_loop().call_later(0.005, _stop_once_started, lifecycle)


@sweeps("TaskHandle.wait", "TaskHandle.stop")
async def background(setting: Setting, number: int) -> None:
    async with setting.container as container:

        async def ticks() -> None:
            await asyncio.sleep(3600)

        handle = container.lifecycle.spawn(ticks, name="ticks")
        await handle.stop()
        await handle.wait()
