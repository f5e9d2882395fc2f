"""The model host contract on llama.cpp: the model that ships with the library, in real worker processes."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.llm.providers.llama_cpp import embedded, local_model
from core.llm.testing import ModelHostBench, ModelHostContract

NAMES = ("a", "b", "c")


class LlamaBench(ModelHostBench):
    """Four files in a folder, each a process of its own once it is loaded."""

    owned = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in NAMES:
            shutil.copy(embedded.path(), folder / f"{name}.gguf")
        (folder / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 64)

    def entry(self) -> dict[str, Any]:
        models = {
            name: {"path": str(self._folder / f"{name}.gguf"), "n_ctx": 256, "n_parallel": 4, "n_threads": 1}
            for name in (*NAMES, "broken")
        }
        return {"type": "llama_cpp", "models": models}

    def loads(self) -> Sequence[str]:
        return [name for name, _ in self._logged()]

    def in_memory(self) -> set[str]:
        return {name for name, pid in self._logged() if _lives(pid)}

    def slow(self, seconds: float) -> None:
        fresh = self._folder / "slow.new"
        fresh.write_text(str(seconds))
        fresh.replace(self._folder / "slow")  # a worker may be reading it

    def mend(self) -> None:
        shutil.copy(embedded.path(), self._folder / "broken.gguf")

    def hold(self, streams: int) -> Callable[[], None]:
        file = self._folder / "a.hold"
        file.touch()
        return lambda: file.unlink(missing_ok=True)

    async def die(self, model: str) -> None:
        for name, pid in self._logged():
            if name == model and _lives(pid):
                with suppress(ProcessLookupError):  # it may be dying already
                    os.kill(pid, signal.SIGKILL)

    def _logged(self) -> list[tuple[str, int]]:
        try:
            lines = (self._folder / "loads").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(name, int(pid)) for name, pid in map(str.split, lines)]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.leakcheck
class TestLlamaCpp(ModelHostContract):
    """Everything real: file, engine, process."""

    @pytest.fixture
    def bench(self, tmp_path, monkeypatch):
        monkeypatch.setattr(local_model, "_ENGINE", "tests.model_hosts.watched_llama_worker")
        return LlamaBench(tmp_path)
