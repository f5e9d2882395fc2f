"""Hugging Face models as hosts under test: four directories, each a process of its own once it is loaded."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from core.llm.testing import ModelHostBench
from tests.model_hosts.watched_transformers_worker import WITHOUT_TORCH

NAMES = ("a", "b", "c")


class TransformersBench(ModelHostBench):
    """Copies of one model in a folder."""

    owned = True

    def __init__(self, folder: Path, model: Path, *, torch: bool) -> None:
        self._folder = folder
        self._model = model
        for name in (*NAMES, "broken"):
            shutil.copytree(model, folder / name)
        (folder / "broken" / "model.safetensors").write_bytes(b"\0" * 64)
        if not torch:
            (folder / WITHOUT_TORCH).touch()

    def entry(self) -> dict[str, Any]:
        models = {
            name: {"path": str(self._folder / name), "device": "cpu", "n_threads": 1} for name in (*NAMES, "broken")
        }
        return {"type": "transformers", "models": models}

    def loads(self) -> Sequence[str]:
        return [name for name, _ in self._logged()]

    def in_memory(self) -> set[str]:
        return {name for name, pid in self._logged() if _lives(pid)}

    def slow(self, seconds: float) -> None:
        fresh = self._folder / "slow.new"
        fresh.write_text(str(seconds))
        fresh.replace(self._folder / "slow")  # a worker may be reading it

    def mend(self) -> None:
        shutil.copy(self._model / "model.safetensors", self._folder / "broken" / "model.safetensors")

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
