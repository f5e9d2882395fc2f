"""A model server under control, for processes that are not."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import openai_stream
from core.llm.testing.wire_steps import stream
from tests.modules.commands import Ollama, mixed, ollama_server


class Background:
    """A wire server on an event loop of its own thread, so that a test may block."""

    def __init__(self) -> None:
        self.server = WireServer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire server")

    def start(self) -> None:
        self._thread.start()
        self._do(self.server.start)
        self.server.otherwise(stream(openai_stream("Containers build objects.")))

    def stop(self) -> None:
        self._do(self.server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, action: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(action(), self._loop).result(5)


@pytest.fixture
def server() -> Iterator[WireServer]:
    """Answers every call with a short stream unless told otherwise."""
    background = Background()
    background.start()
    yield background.server
    background.stop()


@pytest.fixture
def config(tmp_path: Path, server: WireServer) -> Path:
    """One model of that server behind `fast`, with one behind `off` that has no key."""
    path = tmp_path / "llm.yaml"
    path.write_text(config_text(server.url))
    return path


def config_text(url: str, *, alias: str = "fast", more: str = "") -> str:
    """The configuration of the tests."""
    return (
        f"llm_service:\n  default_model: {alias}\n  models: {{{alias}: {{use: openai/gpt, fallback: [acme/m]}}}}\n"
        "  providers:\n    openai: {api_key: '${NO_SUCH_KEY:-}', models: [gpt, gpt2]}\n"
        f"    acme: {{type: openai_compatible, base_url: '{url}', models: [m]}}\n"
        f"  retry: {{max_retries: 0}}\n  reload: {{debounce: 30ms, poll_interval: 200ms}}\n{more}"
    )


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    """An Ollama server with the models `a` and `b`."""
    with ollama_server() as running:
        yield running


@pytest.fixture
def mixed_config(tmp_path: Path, ollama: Ollama) -> Path:
    """Providers of every kind, and that server."""
    path = tmp_path / "llm.yaml"
    path.write_text(mixed(ollama.server.url))
    return path
