"""A model in a worker process of its own: loaded when it is called, ended to unload it. Survives reloads."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ModelLoadError, WorkerCrashed
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.load_gate import LoadRequest
from core.llm.providers.base.provider import ModelState, ModelStatus, Progress, ProgressCallback, ProviderServices
from core.llm.transport.process import Setup, WorkerExit, WorkerObserver, WorkerProcess, WorkerSpec, WorkerStream

_CLOSE_GRACE: Final = 2.0
_STATES: Final[Mapping[str, ModelState]] = {
    "stopped": "unloaded",
    "starting": "loading",
    "ready": "ready",
    "waiting": "failed",
    "failed": "failed",
    "stopping": "unloading",
    "closed": "unloaded",
}


class WorkerModel(WorkerObserver, ABC):
    """What becomes of one model and its process. Whoever made it must `close` it.

    A subclass says in `_prepare` how it is loaded, and keeps `file_problem` up to date.
    """

    def __init__(self, name: str, spec: WorkerSpec, services: ProviderServices, unload_timeout: float) -> None:
        self.name = name
        self.file_problem = ""
        """What is known against loading it, without having tried."""
        self.load_seconds: float | None = None
        self.unload_timeout = unload_timeout
        self._load_problem = ""
        self._listeners: list[ProgressCallback] = []
        self._events = services.events
        self._gate = services.load_gate
        self._worker = WorkerProcess(
            spec, clock=services.clock, rng=services.rng, observer=self, prepare=self._admitted
        )

    @property
    @abstractmethod
    def found(self) -> object:
        """What was found when it was last looked at; another object where that may have changed."""

    @abstractmethod
    async def look(self) -> None:
        """Look at its files without loading it; `found` and `problem` hold what is there."""

    @abstractmethod
    async def _prepare(self) -> Setup:
        """The call that loads it; raises `ModelLoadError` where it cannot be loaded."""

    async def _admitted(self) -> Setup:
        setup = await self._prepare()
        if self._gate is not None:
            where = setup.params.get("path") or setup.params.get("source") or ""  # a file, or a directory
            await self._gate(LoadRequest(self.name, str(where)))
        return setup

    async def _look_for_changes(self) -> None:
        """A loaded model is about to be used: end its process where its files have changed."""

    def _explained(self, error: ModelLoadError) -> ModelLoadError:
        """*error* with what the worker has printed about its reason."""
        return error

    @property
    def pid(self) -> int | None:
        """The process that holds the model, while it does."""
        return self._worker.pid

    @property
    def loaded_as(self) -> Any:
        """What the worker said when it had loaded the model."""
        return self._worker.setup_result

    @property
    def problem(self) -> str:
        """Why it cannot be loaded, or why the last load or process failed; empty while all is well."""
        return self.file_problem or self._load_problem

    @property
    def serves(self) -> bool:
        """True where calls are worth a try: it is loaded, or nothing is known against loading it."""
        return self.pid is not None or not (self.file_problem or self._worker.state == "failed")

    async def load(self, *, force: bool = False, deadline: float = float("inf")) -> None:
        """Return once the model is in memory; one load for all who wait. A file that was replaced is loaded anew.

        Where the process dies while it loads, it is started once more.

        Raises:
            ModelLoadError: the file cannot be loaded, or loading it takes too long; says why.
            ProviderError: it crashed lately and is restarting, or the deadline passed while it loads.
        """
        if self._worker.state == "ready":
            await self._look_for_changes()
        try:
            await self._start(force=force, deadline=deadline)
        except ModelLoadError as error:
            raise self._explained(error) from None
        except WorkerCrashed as error:
            message = f"the local model {self.name} cannot be loaded: {error}"
            raise ModelLoadError(message, model=self.name, output=error.output) from None

    async def _start(self, *, force: bool, deadline: float) -> None:
        try:
            await self._worker.start(force=force, deadline=deadline)
        except WorkerCrashed as error:
            if error.code != "worker_crashed":
                raise
            # A process that died by chance need not fail those who wait; one that dies again has a reason.
            await self._worker.start(deadline=deadline)

    async def load_telling(self, progress: ProgressCallback | None) -> None:
        """As `load`, at once even after failures; *progress* is told how far it is."""
        if progress is None:
            await self.load(force=True)
            return
        progress(Progress("loading"))
        self._listeners.append(progress)
        try:
            await self.load(force=True)
        finally:
            self._listeners.remove(progress)
        progress(Progress("ready"))

    async def unload(self, *, cut: bool = False) -> None:
        """Take the model out of memory; running calls may end first, unless they are *cut*.

        Returns once its process is gone.
        """
        self.tell("unload", "unloading")
        await self._worker.stop(0.0 if cut else self.unload_timeout)
        self.tell("unload", "unloaded")

    async def close(self) -> None:
        """Unload for good."""
        await self._worker.close(_CLOSE_GRACE)

    async def stream(self, method: str, body: str, limits: PhaseLimits) -> WorkerStream:
        """Start a call whose items are wanted as they come; loads the model first where needed."""
        await self.load(deadline=limits.deadline_at)
        return await self._worker.stream(method, {"body": body}, limits)

    async def request(self, method: str, body: str, limits: PhaseLimits, *, slot: bool = True) -> Any:
        """Make a call and return its result; loads the model first where needed."""
        await self.load(deadline=limits.deadline_at)
        return await self._worker.request(method, {"body": body}, replace(limits, first_token=None), slot=slot)

    def status(self) -> ModelStatus:
        """Where the model is in its life."""
        state = _STATES[self._worker.state]
        if state == "ready" and self._worker.calls:
            state = "in_use"
        elif state == "unloaded" and self.problem:
            state = "failed"
        loaded = self.load_seconds if self.pid is not None else None
        return ModelStatus(self.name, state, memory_of(self.pid), self.problem, self.pid, loaded)

    async def measured(self) -> ModelStatus:
        """As `status`, with the memory that it holds where that has to be asked for."""
        return self.status()

    # What becomes of the worker (WorkerObserver).

    def starting(self) -> None:
        """A load has begun."""
        self.tell("load", "loading")

    def ready(self, seconds: float) -> None:
        """The model is loaded."""
        self._load_problem = ""
        self.load_seconds = seconds
        self.tell("load", "ready", f"{seconds:.2f} s")

    def failed(self, error: Exception) -> None:
        """The load has failed."""
        self._load_problem = str(error)
        self.tell("load", "failed", self._load_problem)

    def called_off(self) -> None:
        """Nobody waited for the load any more."""
        self.tell("load", "cancelled")

    def ended(self, how: WorkerExit) -> None:
        """The process is gone."""
        if not how.expected:
            self._load_problem = how.reason
            self.tell("crash", "failed", how.reason)

    def tell(
        self, kind: Any, state: str, message: str = "", completed: float | None = None, total: float | None = None
    ) -> None:
        """Let everybody know who listens."""
        if self._events.wants(ModelEvent):
            self._events.publish(ModelEvent(self.name, kind, state, completed, total, message))


def memory_of(pid: int | None) -> int | None:
    """Resident bytes of a process, where the system tells."""
    if pid is None:
        return None
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
