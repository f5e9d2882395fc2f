"""One configured model: its file, its worker process, and what is known about both. Survives configuration reloads."""

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ModelLoadError, WorkerCrashed
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.provider import ModelState, ModelStatus, ProviderServices
from core.llm.providers.llama_cpp.gguf import GgufError, GgufHeader, read_gguf_header
from core.llm.providers.llama_cpp.paths import FileState, ModelFileError, file_state, resolve_model_path
from core.llm.transport.process import Setup, WorkerExit, WorkerObserver, WorkerProcess, WorkerSpec, WorkerStream

_ENGINE: Final = "core.llm.providers.llama_cpp.engine"
_REASON: Final = re.compile(r"error loading model: (.+)")
_CLOSE_GRACE: Final = 2.0
_DEFAULT_CONTEXT: Final = 8192
_STATES: Final[Mapping[str, ModelState]] = {
    "stopped": "unloaded",
    "starting": "loading",
    "ready": "ready",
    "waiting": "failed",
    "failed": "failed",
    "stopping": "unloading",
    "closed": "unloaded",
}


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Everything that decides how a model is loaded. Two models with equal options are one process."""

    path: str
    models_dir: str | None
    sha256: str | None
    n_ctx: int | None
    n_parallel: int
    n_threads: int
    n_gpu_layers: int | None
    n_batch: int
    chat_template: str | None
    embeddings: bool
    mmap: bool
    prompt_cache: int
    engine: str
    """Further parameters of the engine, as JSON."""
    load_timeout: float
    unload_timeout: float
    memory_limit: int | None
    max_waiting: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that was checked, and what it says about itself."""

    path: Path
    state: FileState
    header: GgufHeader

    def context(self, wanted: int | None) -> int:
        """Tokens of one call: what is configured, or what the model was trained for within reason."""
        return wanted or min(self.header.context_length or _DEFAULT_CONTEXT, _DEFAULT_CONTEXT)


class LocalModel(WorkerObserver):
    """Loads when it is needed; whoever made it must `close` it."""

    def __init__(self, name: str, options: LoadOptions, services: ProviderServices) -> None:
        self.name = name
        self.options = options
        self.file: ModelFile | None = None
        """The file as it was when it was last looked at."""
        self._file_problem = ""
        self._load_problem = ""
        self.load_seconds: float | None = None
        self._events = services.events
        self._loaded: ModelFile | None = None
        self._refused: FileState | None = None
        limit = options.memory_limit
        spec = WorkerSpec(
            name,
            _ENGINE,
            slots=options.n_parallel,
            max_waiting=options.max_waiting,
            rlimits={} if limit is None else {"data": limit},
        )
        self._worker = WorkerProcess(spec, clock=services.clock, rng=services.rng, observer=self, prepare=self._prepare)

    @property
    def pid(self) -> int | None:
        """The process that holds the model, while it does."""
        return self._worker.pid

    @property
    def problem(self) -> str:
        """Why the file cannot be loaded, or why the last load or process failed; empty while all is well."""
        return self._file_problem or self._load_problem

    @property
    def serves(self) -> bool:
        """True where calls are worth a try: it is loaded, or nothing is known against loading it."""
        return self.pid is not None or not (self._file_problem or self._worker.state == "failed")

    async def look(self) -> None:
        """Look at the file without loading it; `file` and `problem` hold what was found."""
        with contextlib.suppress(ModelLoadError):  # it is in `problem`
            await self._inspect()

    async def load(self, *, force: bool = False, deadline: float = float("inf")) -> None:
        """Return once the model is in memory; one load for all who wait. A file that was replaced is loaded anew.

        Raises:
            ModelLoadError: the file cannot be loaded, or loading it takes too long; says why.
            ProviderError: it crashed lately and is restarting, or the deadline passed while it loads.
        """
        if self._worker.state == "ready":
            await self._make_way()
        try:
            await self._worker.start(force=force, deadline=deadline)
        except ModelLoadError as error:
            raise self._explained(error) from None
        except WorkerCrashed as error:
            message = f"the local model {self.name} cannot be loaded: {error}"
            raise ModelLoadError(message, model=self.name, output=error.output) from None

    async def unload(self) -> None:
        """Take the model out of memory; running calls may end first. Returns once its process is gone."""
        self._tell("unload", "unloading")
        await self._worker.stop(self.options.unload_timeout)
        self._tell("unload", "unloaded")

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
        return ModelStatus(self.name, state, _memory_of(self.pid), self.problem, self.pid, loaded)

    # Before a load.

    async def _prepare(self) -> Setup:
        if missing := missing_engine():
            raise ModelLoadError(f"the local model {self.name} cannot be loaded: {missing}", model=self.name)
        file = await self._inspect()
        options = self.options
        if options.sha256 is not None and await asyncio.to_thread(_sha256, file.path) != options.sha256.lower():
            message = f"{file.path} does not have the configured sha256: it is another file, or a damaged one"
            raise ModelLoadError(message, model=self.name)
        self._loaded = file
        params = {
            "name": self.name.partition("/")[2],
            "path": str(file.path),
            "n_ctx": file.context(options.n_ctx),
            "n_parallel": options.n_parallel,
            "n_threads": options.n_threads,
            "n_gpu_layers": options.n_gpu_layers,
            "n_batch": options.n_batch,
            "chat_template": options.chat_template,
            "embeddings": options.embeddings,
            "has_pooling": file.header.has_pooling,
            "mmap": options.mmap,
            "prompt_cache": options.prompt_cache,
            "engine": json.loads(options.engine),
        }
        return Setup("load", params, options.load_timeout)

    async def _inspect(self) -> ModelFile:
        try:
            file = self.file = await asyncio.to_thread(_inspected, self.options, self.file)
        except (ModelFileError, GgufError, OSError) as error:
            if self.pid is None:
                self.file = None
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._file_problem = f"the local model {self.name} cannot be loaded: {reason}"
            raise ModelLoadError(self._file_problem, model=self.name) from None
        self._file_problem = ""
        return file

    async def _make_way(self) -> None:
        """Where the file is not the one that was loaded, end the process, so that the new file is loaded.

        A file that was deleted is still in memory, and so is one that was replaced by another that is no good: both
        serve on. One that was overwritten in place is not, since llama.cpp maps it.
        """
        loaded = self._loaded
        if loaded is None:
            return
        try:
            found = file_state(loaded.path)
        except ModelFileError:
            return
        if found in {loaded.state, self._refused}:
            return
        if (found.device, found.inode) != (loaded.state.device, loaded.state.inode):
            try:
                await self._inspect()
            except ModelLoadError as error:
                self._refused = found
                self._tell("load", "failed", f"{error}; the file that was loaded before serves on")
                return
        # Others may have seen the new file as well, and have ended the process or begun to load while this one looked.
        if self._loaded is loaded and self._worker.state == "ready":
            await self._worker.stop(self.options.unload_timeout)

    def _explained(self, error: ModelLoadError) -> ModelLoadError:
        found = _REASON.search(error.output)
        if found is None or found[1] in str(error):
            return error
        explained = ModelLoadError(f"{error}: {found[1]}", model=error.model, output=error.output)
        self._load_problem = str(explained)
        return explained

    # What becomes of the worker (WorkerObserver).

    def starting(self) -> None:
        """A load has begun."""
        self._tell("load", "loading")

    def ready(self, seconds: float) -> None:
        """The model is loaded."""
        self._load_problem = ""
        self.load_seconds = seconds
        self._tell("load", "ready", f"{seconds:.2f} s")

    def failed(self, error: Exception) -> None:
        """The load has failed."""
        self._load_problem = str(error)
        self._tell("load", "failed", self._load_problem)

    def called_off(self) -> None:
        """Nobody waited for the load any more."""
        self._tell("load", "cancelled")

    def ended(self, how: WorkerExit) -> None:
        """The process is gone."""
        if not how.expected:
            self._load_problem = how.reason
            self._tell("crash", "failed", how.reason)

    def _tell(self, kind: Any, state: str, message: str = "") -> None:
        if self._events.wants(ModelEvent):
            self._events.publish(ModelEvent(self.name, kind, state, message=message))


def missing_engine() -> str:
    """What to do about a machine without the engine; empty where it is installed."""
    if find_spec("xllamacpp") is not None:
        return ""
    here = f"{platform.system()} {platform.machine()} {platform.libc_ver()[0]}".strip()
    return (
        "it needs xllamacpp, which is not installed: `pip install 'core-llm[local]'`. There are builds for Linux with "
        f"glibc (x86_64, aarch64), macOS 13 and later, and Windows (x86_64); this is {here}"
    )


def _inspected(options: LoadOptions, known: ModelFile | None) -> ModelFile:
    path = resolve_model_path(options.path, options.models_dir)
    state = file_state(path)
    if known is not None and known.path == path and known.state == state:
        return known
    return ModelFile(path, state, read_gguf_header(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _memory_of(pid: int | None) -> int | None:
    """Resident bytes of a process, where the system tells."""
    if pid is None:
        return None
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
