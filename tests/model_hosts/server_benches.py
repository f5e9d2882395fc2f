"""The scripted servers of vendors as hosts under test."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from core.llm.testing import ModelHostBench
from core.llm.testing.llama_router_server import LlamaRouterServer, RouterModelSpec
from core.llm.testing.lm_studio_server import LMStudioModelSpec, LMStudioServer
from core.llm.testing.local_server import LocalServer
from core.llm.testing.localai_server import LocalAIModelSpec, LocalAIServer
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.testing.scripted_openai import OpenAIAnswer

NAMES = ("a", "b", "c")
SECRET = "sk-model-host-7f3a9c"
BROKEN = "the file is damaged"


class ServerBench(ModelHostBench):
    """What holds for all of them: one server, which dies with all that it holds."""

    secret = SECRET
    server: LocalServer

    @abstractmethod
    def specs(self) -> Iterable[Any]:
        """The models of the server."""

    def slow(self, seconds: float) -> None:
        for spec in self.specs():
            spec.load_seconds = seconds

    def mend(self) -> None:
        for spec in self.specs():
            spec.load_error = ""

    async def die(self, model: str) -> None:
        await self.server.restart()


class OllamaBench(ServerBench):
    """Ollama."""

    def __init__(self) -> None:
        broken = OllamaModelSpec("broken", load_error=f"llama runner process has terminated: {BROKEN}")
        self.server: OllamaServer = OllamaServer(*NAMES, broken, api_key=SECRET)

    def entry(self) -> dict[str, Any]:
        models = [*NAMES, "broken"]
        return {"type": "ollama", "base_url": self.server.url, "api_key": SECRET, "models": models}

    def specs(self) -> Iterable[OllamaModelSpec]:
        return self.server.store.installed.values()

    def loads(self) -> Sequence[str]:
        return [load.model.removesuffix(":latest") for load in self.server.store.loads]

    def in_memory(self) -> set[str]:
        return {spec.name.removesuffix(":latest") for spec, _, _ in self.server.store.resident()}

    def hold(self, streams: int) -> Callable[[], None]:
        event = asyncio.Event()
        self.server.script(*(OllamaAnswer("one two three", hold=event) for _ in range(streams)))
        return event.set

    def requests(self) -> int:
        return len(self.server.calls)


class LMStudioBench(ServerBench):
    """LM Studio."""

    def __init__(self) -> None:
        broken = LMStudioModelSpec("broken", load_error=BROKEN)
        self.server: LMStudioServer = LMStudioServer(*NAMES, broken, api_key=SECRET)

    def entry(self) -> dict[str, Any]:
        models = [*NAMES, "broken"]
        return {"type": "lm_studio", "base_url": self.server.url, "api_key": SECRET, "models": models}

    def specs(self) -> Iterable[LMStudioModelSpec]:
        return self.server.models.values()

    def loads(self) -> Sequence[str]:
        return self.server.state.loads

    def in_memory(self) -> set[str]:
        return set(self.server.loaded())

    def hold(self, streams: int) -> Callable[[], None]:
        event = asyncio.Event()
        self.server.script(*(OpenAIAnswer("one two three", hold=event) for _ in range(streams)))
        return event.set

    def requests(self) -> int:
        return len(self.server.calls)


class LocalAIBench(ServerBench):
    """LocalAI."""

    def __init__(self) -> None:
        broken = LocalAIModelSpec("broken", load_error=BROKEN)
        self.server: LocalAIServer = LocalAIServer(*NAMES, broken, api_key=SECRET)

    def entry(self) -> dict[str, Any]:
        models = [*NAMES, "broken"]
        return {"type": "localai", "base_url": self.server.url, "api_key": SECRET, "models": models}

    def specs(self) -> Iterable[LocalAIModelSpec]:
        return self.server.models.values()

    def loads(self) -> Sequence[str]:
        return self.server.loads

    def in_memory(self) -> set[str]:
        return set(self.server.loaded())

    def hold(self, streams: int) -> Callable[[], None]:
        event = asyncio.Event()
        self.server.script(*(OpenAIAnswer("one two three", hold=event) for _ in range(streams)))
        return event.set

    def requests(self) -> int:
        return len(self.server.calls)


class LlamaRouterBench(ServerBench):
    """llama-server in router mode."""

    def __init__(self) -> None:
        broken = RouterModelSpec("broken", load_error=BROKEN)
        self.server: LlamaRouterServer = LlamaRouterServer(*NAMES, broken, api_key=SECRET)

    def entry(self) -> dict[str, Any]:
        models = [*NAMES, "broken"]
        return {"type": "llama_server", "base_url": self.server.url, "api_key": SECRET, "models": models}

    def specs(self) -> Iterable[RouterModelSpec]:
        return self.server.models.values()

    def loads(self) -> Sequence[str]:
        return self.server.loads

    def in_memory(self) -> set[str]:
        return set(self.server.loaded())

    def hold(self, streams: int) -> Callable[[], None]:
        event = asyncio.Event()
        self.server.script(*(OpenAIAnswer("one two three", hold=event) for _ in range(streams)))
        return event.set

    def requests(self) -> int:
        return len(self.server.calls)
