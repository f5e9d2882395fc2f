"""A worker without a model, for what no real engine does on request: crash, hang, write garbage."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from core.llm.transport.worker_main import EngineError, Job, serve

_PR_SET_PDEATHSIG = 1


class FakeEngine:
    methods = frozenset(
        {
            "load", "echo", "count", "ignore_cancel", "hold_lock", "die", "garbage", "print", "facts", "grandchild",
            "allocate", "refuse", "raise_secret", "surrogate", "flood", "wait", "deaf",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self.cancelled: list[int] = []
        self.running = 0

    def __del__(self) -> None:
        time.sleep(60)  # as native engines do now and then

    def load(self, params: Any, job: Job) -> Any:
        if log := params.get("log"):
            _note(Path(log))
        if "print" in params:
            print(params["print"], flush=True)
        if "die" in params:
            os.kill(os.getpid(), params["die"])
            time.sleep(10)  # the signal may be delivered to another thread
        if params.get("hold_lock"):
            _hold_the_lock(params["seconds"])
        else:
            time.sleep(params.get("seconds", 0))
        _wait_for(params.get("until"))
        if "refuse" in params:
            raise EngineError("server_error", params["refuse"], code="load_failed")
        return {"loaded": True}

    def echo(self, params: Any, job: Job) -> Any:
        return params

    def count(self, params: Any, job: Job) -> Any:
        """Numbers from 0, with a pause between them, until `to` or a cancel; `until` is a file that the last waits for."""
        self.running += 1
        try:
            for number in range(params["to"]):
                if number == params["to"] - 1:
                    _wait_for(params.get("until"), job)
                if not job.emit(number):
                    self.cancelled.append(number)
                    return None
                _pause(params.get("pause", 0), job)
            return params["to"]
        finally:
            self.running -= 1

    def wait(self, params: Any, job: Job) -> Any:
        """A call without items that stops soon after it is cancelled, or when the file `until` is there."""
        _wait_for(params.get("until"), job)
        _pause(params.get("seconds", 0), job)

    def deaf(self, params: Any, job: Job) -> Any:
        """A call that goes on until the file `until` is there, cancelled or not."""
        _wait_for(params["until"])

    def ignore_cancel(self, params: Any, job: Job) -> Any:
        time.sleep(60)

    def hold_lock(self, params: Any, job: Job) -> Any:
        _hold_the_lock(params["seconds"])

    def die(self, params: Any, job: Job) -> Any:
        if "exit" in params:
            os._exit(params["exit"])
        os.kill(os.getpid(), params.get("signal", signal.SIGKILL))
        time.sleep(60)

    def garbage(self, params: Any, job: Job) -> Any:
        kinds = {
            "text": b"Traceback (most recent call last):\n",
            "huge": (2**32 - 1).to_bytes(4) + b"x" * 100,
            "half": (1000).to_bytes(4) + b'{"id": 1, "item"',
            "list": (2).to_bytes(4) + b"[]",
            "stranger": (22).to_bytes(4) + b'{"id": 9999,"item": 1}',
        }
        os.write(_channel(), kinds[params["kind"]])
        if params["kind"] == "half":
            os._exit(0)
        time.sleep(60)

    def flood(self, params: Any, job: Job) -> Any:
        """Send items without minding the window."""
        while True:
            job.allow(1)
            job.emit("x" * 1000)

    def print(self, params: Any, job: Job) -> Any:
        for number in range(params["lines"]):
            print(f"line {number} {params.get('text', '')}", file=sys.stderr)
        return None

    def facts(self, params: Any, job: Job) -> Any:
        return {
            "environment": dict(os.environ),
            "descriptors": {name: _target(name) for name in os.listdir("/proc/self/fd")},
            "directory": os.getcwd(),
            "session": os.getsid(0),
            "group": os.getpgid(0),
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
            "cancelled": self.cancelled,
            "running": self.running,
            "threads": threading.active_count(),
            "sockets": Path("/proc/self/net/unix").read_text(),
        }

    def grandchild(self, params: Any, job: Job) -> Any:
        return subprocess.Popen(["sleep", "60"]).pid

    def allocate(self, params: Any, job: Job) -> Any:
        return len(bytearray(params["bytes"]))

    def refuse(self, params: Any, job: Job) -> Any:
        raise EngineError("context_length", "too long for this model", code="exceed_context_size_error")

    def raise_secret(self, params: Any, job: Job) -> Any:
        raise ValueError(params["prompt"])

    def surrogate(self, params: Any, job: Job) -> Any:
        return "\ud800"


def _note(log: Path) -> None:
    """Add this process to *log*, whose lines are whole whenever it is looked at."""
    fresh = log.with_name(f"{log.name}.{os.getpid()}")
    fresh.write_text(f"{log.read_text() if log.exists() else ''}{os.getpid()}\n")
    fresh.replace(log)


def _wait_for(file: str | None, job: Job | None = None) -> None:
    """Until there is such a file, or the job is cancelled."""
    while file is not None and not Path(file).exists() and not (job is not None and job.cancelled):
        time.sleep(0.005)


def _pause(seconds: float, job: Job) -> None:
    """Sleep, but not for much longer than somebody wants the rest."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not job.cancelled:
        time.sleep(min(left, 0.005))


def _channel() -> int:
    return next(int(word.partition("=")[2]) for word in sys.argv if word.startswith("--channel="))


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def _hold_the_lock(seconds: float) -> None:
    """Sleep in C without letting other Python threads run, as some native loaders do."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def _deaf_engine() -> FakeEngine:
    """As where the kernel tells nobody that its parent has died; asked for by the thread that was told to be told."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)
    return FakeEngine()


if __name__ == "__main__":
    if "--silent" in sys.argv:
        time.sleep(60)
    serve(_deaf_engine if "--deaf" in sys.argv else FakeEngine)
