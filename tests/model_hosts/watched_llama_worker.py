"""The real engine; files beside its model slow its loads down, hold its answers, and count what it loaded."""

import os
import time
from pathlib import Path

from core.llm.providers.llama_cpp.engine import LlamaEngine
from core.llm.transport.worker_main import serve


def linger(slow: Path) -> None:
    """Wait as many seconds as the file says, and no longer once it says less."""
    began = time.monotonic()
    while slow.exists() and time.monotonic() - began < float(slow.read_text()):
        time.sleep(0.01)


class HeldJob:
    """A call whose answer stops after its first piece while there is a file *hold*."""

    def __init__(self, job, hold: Path) -> None:
        self._job = job
        self._hold = hold

    def emit(self, item) -> bool:
        going = self._job.emit(item)
        while going and self._hold.exists() and '"content": "' in item and not self._job.cancelled:
            time.sleep(0.005)
        return going

    def __getattr__(self, name: str):
        return getattr(self._job, name)


class WatchedEngine(LlamaEngine):
    def load(self, params, job):
        file = Path(params["path"])
        self._hold = file.with_suffix(".hold")
        linger(file.parent / "slow")
        loaded = super().load(params, job)
        with (file.parent / "loads").open("a") as log:
            log.write(f"{file.stem} {os.getpid()}\n")
        return loaded

    def chat(self, params, job):
        super().chat(params, HeldJob(job, self._hold))


if __name__ == "__main__":
    serve(WatchedEngine)
