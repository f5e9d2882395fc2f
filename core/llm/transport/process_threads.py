"""A worker in threads of this very process, for code that cannot or shall not run in one of its own.

It looks like any other worker from outside. What it lacks is what only a process gives: a crash or a memory kill takes
the host with it, a call that does not stop keeps its thread, and memory comes back as far as the engine lets go of it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from core.llm.common.clock import Clock
from core.llm.transport.frames import FrameReader
from core.llm.transport.process import WorkerProcess
from core.llm.transport.process_child import WorkerChild
from core.llm.transport.process_exit import WorkerExit
from core.llm.transport.process_spec import WorkerSpec
from core.llm.transport.worker_main import Channel, Engine, Worker


class ThreadEngine(Engine, Protocol):
    """An engine that can be taken down again."""

    def unload(self) -> None:
        """Give back what it holds. Called once, when no call is waited for any more."""


class ThreadWorker(WorkerProcess):
    """Keeps one engine in threads of this process; *create* makes it anew for each load."""

    def __init__(self, spec: WorkerSpec, create: Callable[[], ThreadEngine], **options: Any) -> None:
        super().__init__(spec, **options)
        self._create = create

    async def _spawn(self) -> WorkerChild:
        return _ThreadChild(self.spec, self._clock, self._child_ended, self._create())


class _Mailbox(Channel):
    """The connection of an engine to the event loop of its host."""

    def __init__(self, take: Callable[[dict[str, Any]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = take
        self.inbox: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def send(self, message: dict[str, Any]) -> None:
        """Hand *message* to the host."""
        self.run_there(lambda: self._take(message))

    def receive(self) -> dict[str, Any] | None:
        """The next message of the host; `None` when there will be no more."""
        return self.inbox.get()

    def run_there(self, action: Callable[[], None]) -> None:
        """Run *action* on the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody listens any more
            self._loop.call_soon_threadsafe(action)


class _NoOutput:
    """What is printed goes where the host's own output goes."""

    text = ""


class _ThreadChild(WorkerChild):
    """One life of such a worker. Each of its calls has a thread of its own, and so has the one that hands them out."""

    def __init__(
        self, spec: WorkerSpec, clock: Clock, on_end: Callable[[WorkerExit], None], engine: ThreadEngine
    ) -> None:
        super().__init__(spec, clock, on_end)
        self._output = _NoOutput()  # type: ignore[assignment]  # all that is asked of it is its text
        self._mailbox = _Mailbox(self._heard)
        self._frames = FrameReader()
        self._engine = engine
        self._hello.set_result(None)
        threading.Thread(target=self._serve, name=f"worker {spec.name}", daemon=True).start()

    def watch_heartbeats(self) -> None:
        """A thread gives no signs of life of its own."""

    def _serve(self) -> None:
        worker = Worker(self._mailbox, self._engine)
        worker.run()
        worker.cancel_all()
        try:
            self._engine.unload()
        finally:
            self._mailbox.run_there(self._lost.set)

    def _write(self, frame: bytes) -> None:
        for message, _ in self._frames.feed(frame):
            self._mailbox.inbox.put(message)

    def _heard(self, message: dict[str, Any]) -> None:
        if message["id"] in self._calls:  # not one that was given up
            self._take(message)

    async def _kill(self, orderly: float = 0) -> None:
        """Nothing can stop a thread: the engine is asked to let go, and forgotten if it does not."""
        self._mailbox.inbox.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(orderly, self._spec.term_grace)):
                await self._lost.wait()
        self._stop_timers()
        failure = self._failure() if self._failure else None
        self.ended.set()
        self._on_end(WorkerExit(self.pid, None, self._expected, str(failure or "was stopped"), ""))
