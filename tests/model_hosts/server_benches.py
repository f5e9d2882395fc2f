"""The scripted servers of vendors as hosts under test."""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from core.llm.common.clock import SystemClock
from core.llm.testing import ModelHostBench
from core.llm.testing.llama_router_server import LlamaRouterServer, RouterModelSpec
from core.llm.testing.lm_studio_server import LMStudioModelSpec, LMStudioServer
from core.llm.testing.localai_server import LocalAIModelSpec, LocalAIServer
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.testing.scripted_openai import OpenAIAnswer

NAMES = ("a", "b", "c")
SECRET = "sk-model-host-7f3a9c"
BROKEN = "the file is damaged"
TEXT = "one two three"


class Hurried(SystemClock):
    """The clock of a server, whose loads end as soon as they may take less."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Until then, or until somebody says otherwise."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)


class ServerBench(ModelHostBench):
    """What holds for all of them: one server, which dies with all that it holds."""

    secret = SECRET
    type: ClassVar[str]
    """Of its provider in the configuration."""
    answer_of: ClassVar[Callable[..., Any]] = OpenAIAnswer
    """An answer that its server can be told to give."""

    def __init__(self, server: Any) -> None:
        self.server = server

    @abstractmethod
    def specs(self) -> Iterable[Any]:
        """The models of the server."""

    def entry(self) -> dict[str, Any]:
        models = [*NAMES, "broken"]
        return {"type": self.type, "base_url": self.server.url, "api_key": SECRET, "models": models}

    def slow(self, seconds: float) -> None:
        for spec in self.specs():
            spec.load_seconds = seconds
        # Who sleeps now is woken; who will, is not.
        self.server.clock.changed.set()
        self.server.clock.changed = asyncio.Event()

    def mend(self) -> None:
        for spec in self.specs():
            spec.load_error = ""

    async def die(self, model: str) -> None:
        await self.server.restart()

    def hold(self, streams: int) -> Callable[[], None]:
        event = asyncio.Event()
        self.server.script(*(type(self).answer_of(TEXT, hold=event) for _ in range(streams)))
        return event.set

    def requests(self) -> int:
        return len(self.server.calls)


class OllamaBench(ServerBench):
    """Ollama."""

    type = "ollama"
    answer_of = OllamaAnswer
    server: OllamaServer

    def __init__(self) -> None:
        broken = OllamaModelSpec("broken", load_error=f"llama runner process has terminated: {BROKEN}")
        super().__init__(OllamaServer(*NAMES, broken, clock=Hurried(), api_key=SECRET))

    def specs(self) -> Iterable[OllamaModelSpec]:
        return self.server.store.installed.values()

    def loads(self) -> Sequence[str]:
        return [load.model.removesuffix(":latest") for load in self.server.store.loads]

    def in_memory(self) -> set[str]:
        return {spec.name.removesuffix(":latest") for spec, _, _ in self.server.store.resident()}


class OpenAIServerBench(ServerBench):
    """A server that speaks the OpenAI format and counts its loads itself."""

    def specs(self) -> Iterable[Any]:
        specs: Iterable[Any] = self.server.models.values()
        return specs

    def loads(self) -> Sequence[str]:
        loads: Sequence[str] = self.server.loads
        return loads

    def in_memory(self) -> set[str]:
        return set(self.server.loaded())


class LMStudioBench(OpenAIServerBench):
    """LM Studio."""

    type = "lm_studio"

    def __init__(self) -> None:
        super().__init__(
            LMStudioServer(*NAMES, LMStudioModelSpec("broken", load_error=BROKEN), clock=Hurried(), api_key=SECRET)
        )

    def loads(self) -> Sequence[str]:
        loads: Sequence[str] = self.server.state.loads
        return loads


class LocalAIBench(OpenAIServerBench):
    """LocalAI."""

    type = "localai"

    def __init__(self) -> None:
        super().__init__(
            LocalAIServer(*NAMES, LocalAIModelSpec("broken", load_error=BROKEN), clock=Hurried(), api_key=SECRET)
        )


class LlamaRouterBench(OpenAIServerBench):
    """llama-server in router mode."""

    type = "llama_server"

    def __init__(self) -> None:
        super().__init__(
            LlamaRouterServer(*NAMES, RouterModelSpec("broken", load_error=BROKEN), clock=Hurried(), api_key=SECRET)
        )
