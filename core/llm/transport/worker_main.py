"""The child side of a local worker: read calls from the host, run each in a thread of its own, send back what comes.

A worker module hands its engine to `serve`. The methods that `engine.methods` names can be called by the host; each
takes the parameters and a `Job`, may `emit` items while it runs, and returns the result.
"""

import argparse
import contextlib
import faulthandler
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from core.llm.transport.frames import FrameError, encode_frame, read_frame
from core.llm.transport.worker_guard import be_the_first_to_go, guard_against_orphanage, limit_resources

PROTOCOL: Final = 1
WINDOW: Final = 64
"""Items a job may be ahead of its reader."""


class EngineError(Exception):
    """A call that fails in a way the host should know by type and code, as in `ProviderError`."""

    def __init__(self, type: str, message: str, *, code: str | None = None) -> None:  # noqa: A002 - as in ProviderError
        super().__init__(message)
        self.type = type
        self.message = message
        self.code = code


class Engine(Protocol):
    """What runs inside the worker. Every method takes `(params, job)` and may be called from several threads."""

    methods: frozenset[str]
    """Names of the methods that the host may call."""


class Channel:
    """The connection to the host; safe for several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send *message*; the process ends when the host has gone."""
        data = encode_frame(message)
        try:
            with self._lock:
                self._connection.sendall(data)
        except OSError:
            os._exit(0)

    def receive(self) -> dict[str, Any] | None:
        """The next message; `None` when the host has gone or talks nonsense."""
        try:
            return read_frame(self._connection)
        except (OSError, FrameError):
            return None


class Job:
    """One call while it runs."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._number = number
        self._credit = WINDOW
        self._changed = threading.Condition()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """True once nobody wants the rest."""
        return self._cancelled

    def emit(self, item: Any) -> bool:
        """Send *item*; waits while the reader is too far behind. False once the call is cancelled: stop."""
        with self._changed:
            while not self._credit and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                return False
            self._credit -= 1
        self._channel.send({"id": self._number, "item": item})
        return True

    def cancel(self) -> None:
        """Let the running method know that it should stop."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def allow(self, count: int) -> None:
        """The reader has taken *count* items."""
        with self._changed:
            self._credit += count
            self._changed.notify_all()


class Worker:
    """Hands calls to the engine."""

    def __init__(self, channel: Channel, engine: Engine) -> None:
        self._channel = channel
        self._engine = engine
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve until the host says so or has gone."""
        while (message := self._channel.receive()) is not None:
            if "call" in message:
                self._begin(message)
            elif "cancel" in message:
                self._of(message["cancel"], Job.cancel)
            elif "credit" in message:
                self._of(message["credit"], partial(Job.allow, count=int(message["count"])))
            elif "exit" in message:
                return

    def cancel_all(self) -> None:
        """Let every running method know that nobody wants the rest."""
        with self._lock:
            running = list(self._jobs.values())
        for job in running:
            job.cancel()

    def _of(self, number: int, action: Callable[[Job], None]) -> None:
        with self._lock:
            job = self._jobs.get(number)
        if job is not None:  # it may just have ended
            action(job)

    def _begin(self, message: dict[str, Any]) -> None:
        number = int(message["call"])
        job = Job(self._channel, number)
        with self._lock:
            self._jobs[number] = job
        arguments = (number, str(message.get("method")), message.get("params") or {}, job)
        threading.Thread(target=self._run_job, args=arguments, name=f"call-{number}", daemon=True).start()

    def _run_job(self, number: int, method: str, params: Mapping[str, Any], job: Job) -> None:
        try:
            self._channel.send({"id": number, "result": self._call(method, params, job)})
        except EngineError as error:
            self._fail(number, error.type, error.message, error.code)
        except FrameError as error:
            self._fail(number, "protocol", str(error), "worker_protocol")
        except MemoryError:
            self._fail(number, "server_error", "the worker is out of memory", "out_of_memory")
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; the host gets it as the call's error
            # The class only: the text of a library's exception may hold what the user wrote.
            self._fail(number, "server_error", f"the engine raised {type(error).__name__} in {method}", "engine_error")
        finally:
            with self._lock:
                del self._jobs[number]

    def _fail(self, number: int, kind: str, message: str, code: str | None) -> None:
        self._channel.send({"id": number, "error": {"type": kind, "message": message, "code": code}})

    def _call(self, method: str, params: Mapping[str, Any], job: Job) -> Any:
        if method not in self._engine.methods:
            raise EngineError("invalid_request", f"the worker has no method {method!r}", code="unknown_method")
        return getattr(self._engine, method)(params, job)


def serve(create: Callable[[], Engine]) -> NoReturn:
    """Run the engine that *create* makes until the host ends this process. Called by worker modules' `__main__`."""
    options = _arguments()
    guard_against_orphanage(options.guard, Path.cwd())
    limit_resources({name: int(value) for name, _, value in (item.partition("=") for item in options.rlimit)})
    be_the_first_to_go()
    faulthandler.enable()
    for descriptor in (options.guard, options.channel):
        os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=options.channel))
    channel.send({"hello": PROTOCOL, "pid": os.getpid()})
    threading.Thread(target=_beat, args=(channel, options.heartbeat), name="heartbeat", daemon=True).start()
    # Held in a name to the end: native libraries hang now and then in their destructors. The end of the process gives
    # everything back without them.
    worker = Worker(channel, create())
    worker.run()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _beat(channel: Channel, interval: float) -> None:
    pause = threading.Event()
    while not pause.wait(interval):
        channel.send({"beat": 1})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A worker process; started by its host, not by hand.")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--guard", type=int, required=True)
    parser.add_argument("--heartbeat", type=float, required=True)
    parser.add_argument("--rlimit", action="append", default=[])
    return parser.parse_known_args()[0]
