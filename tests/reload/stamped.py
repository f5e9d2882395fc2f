"""A provider that says which configuration made it, and can refuse to be made or to start."""

from collections.abc import AsyncIterator
from typing import ClassVar

from pydantic import Field

from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import StreamEvent, TextDelta
from core.llm.providers.base.spec import ProviderSpec
from core.llm.testing import ScriptedConfig, ScriptedProvider


class StampedConfig(ScriptedConfig):
    """What the provider below can be told."""

    revision: int = 0
    breaks: str = Field(default="", description="`made`: its constructor raises; `start`: its start does.")


class Stamped(ScriptedProvider):
    """Puts its revision behind every piece of text: an answer of two configurations would show two."""

    made: ClassVar[list["Stamped"]] = []
    """Every one that was ever made, until a test clears it."""
    config: StampedConfig

    def __init__(self, config: StampedConfig, services: ProviderServices) -> None:
        super().__init__(config, services)
        if config.breaks == "made":
            raise ValueError("cannot be made")
        Stamped.made.append(self)

    async def start(self) -> None:
        await super().start()
        if self.config.breaks == "start":
            raise OSError("cannot be started")

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async for event in super().stream_generate(request):
            yield TextDelta(f"{event.text}@{self.config.revision} ") if isinstance(event, TextDelta) else event


STAMPED = ProviderSpec("stamped", "tests.reload.stamped:StampedConfig", "tests.reload.stamped:Stamped")
"""`type: stamped`."""
