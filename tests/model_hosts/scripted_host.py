"""A scripted provider over a memory that the tests hold: what a third party's model host looks like."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.providers.base.provider import ModelStatus, Progress, ProgressCallback
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse, StreamEvent
from core.llm.providers.base.spec import ProviderSpec
from core.llm.testing import ScriptedModelHost

STEPS = 20


@dataclass
class Machine:
    """Something with memory for models."""

    models: tuple[str, ...]
    loaded: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    seconds: float = 0.0
    held: int = 0
    """So many next answers wait for `go`."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    deaths: int = 0


MACHINES: dict[str, Machine] = {}
"""By the address in the configuration."""


class MachineHost(ScriptedModelHost):
    """Loads in small steps that it counts, and answers with the user's words."""

    @property
    def machine(self) -> Machine:
        return MACHINES[str(self.config.base_url)]

    async def list_models(self) -> Any:
        self.loaded = sorted(self.machine.loaded)
        return await super().list_models()

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        machine = self.machine
        if model not in machine.models:
            raise ProviderError("model_not_found", f"no model {model!r}", provider=self.name, model=model)
        if model not in machine.loaded:
            for step in range(STEPS):
                if progress is not None:
                    progress(Progress("reading", step, STEPS))
                await asyncio.sleep(machine.seconds / STEPS)  # of which the next one may take less
            if model in machine.broken:
                self._tell(model, "load", "failed")
                raise ModelLoadError(f"the model {model} is damaged", model=model)
            machine.loaded.add(model)
            machine.loads.append(model)
        self._tell(model, "load", "ready")
        return await self.model_status(model)

    async def unload_model(self, model: str) -> ModelStatus:
        self.machine.loaded.discard(model)
        self._tell(model, "unload", "unloaded")
        return await self.model_status(model)

    async def model_status(self, model: str) -> ModelStatus:
        return ModelStatus(model, "ready" if model in self.machine.loaded else "unloaded")

    def _tell(self, model: str, kind: Literal["load", "unload"], state: str) -> None:
        self.services.events.publish(ModelEvent(f"{self.name}/{model}", kind, state))

    async def generate(self, request: ChatRequest) -> LLMResponse:
        await self.load_model(request.model)
        return await super().generate(request)

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        await self.load_model(request.model)
        machine, begun = self.machine, False
        deaths, held = machine.deaths, machine.held > 0
        machine.held -= held
        async for event in super().stream_generate(request):
            if machine.deaths != deaths:
                raise ProviderError("network_error", "the machine has gone", code="cut")
            if held and begun:
                await machine.go.wait()
            begun = begun or bool(event.text)
            yield event


MACHINE = ProviderSpec(
    "machine", "core.llm.testing.provider:ScriptedConfig", "tests.model_hosts.scripted_host:MachineHost", local=True
)
