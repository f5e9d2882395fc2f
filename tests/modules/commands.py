"""The command `core-llm` as a script calls it, and an Ollama server beside it."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from core.llm.testing.ollama_script import OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from tests.modules.terminal import ROOT, environment

COMMAND = [sys.executable, "-m", "modules.cli"]
SECRET = "sk-do-not-show-this-1234567890"


def core_llm(config: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments, "--config", str(config)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(**variables),
        timeout=100,
        check=False,
    )


@contextmanager
def begun(config: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Begin one command, with pipes for both of its outputs; it is ended with the block."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Pace:
    """Stands for the event that a scripted download waits for at each step of its second half: a slow network."""

    def __init__(self, seconds: float = 0.15) -> None:
        self._seconds = seconds

    async def wait(self) -> None:
        await asyncio.sleep(self._seconds)


def slow_download(name: str, steps: int = 40) -> Any:
    """A model of 6 MB whose second half comes in *steps* / 2 pieces, each with a pause."""
    return OllamaDownload(OllamaModelSpec(name), layers=(6_000_000,), steps=steps, hold=Pace())


class Ollama:
    """A scripted Ollama server on an event loop of its own thread, so that a test may block."""

    def __init__(self) -> None:
        self.server = OllamaServer("a", "b")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ollama server")

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.server.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Run *action* on the loop of the server."""

        async def work() -> Any:
            return await action()

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    def gate(self) -> asyncio.Event:
        """An event of the server's loop; `open` sets it."""

        async def make() -> asyncio.Event:
            return asyncio.Event()

        return self.do(make)

    def open(self, gate: asyncio.Event) -> None:
        """Let what waits for *gate* go on."""
        self._loop.call_soon_threadsafe(gate.set)

    def in_memory(self) -> set[str]:
        """The models that the server holds."""

        async def look() -> set[str]:
            return {spec.name for spec, *_ in self.server.store.resident()}

        return self.do(look)


@contextmanager
def ollama_server() -> Iterator[Ollama]:
    """A running server with the models `a` and `b`."""
    with Ollama() as server:
        yield server


def mixed(url: str) -> str:
    """A hosted provider that is off, one that is on, a server and a worker."""
    return f"""\
llm_service:
  default_model: fast
  models:
    # Asked by everybody.
    fast: {{use: openai/gpt, fallback: [ollama/a]}}   # the first choice
    smart: "ollama/a"
    mixed:
      use: [{{model: ollama/a, weight: 3}}, {{model: ollama/b, weight: 1}}]
      strategy: weighted
  providers:
    openai: {{api_key: "${{NO_SUCH_KEY:-}}", models: [gpt]}}
    acme:
      type: openai_compatible
      base_url: {url}
      api_key: {SECRET}
      models: {{m: {{context_window: 128000, price: {{input: 1.5, output: 6}}}}}}
    ollama: {{base_url: "{url}", models: [a, gone]}}
    local: {{type: llama_cpp, models: {{tiny: {{path: embedded, n_ctx: 512}}}}}}
"""
