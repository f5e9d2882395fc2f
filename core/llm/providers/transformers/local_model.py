"""One configured model: its directory, its worker process, and what is known about both. Survives reloads."""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from core.llm.common.exceptions import LLMError, ModelLoadError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.provider import ModelStatus, Progress, ProviderServices
from core.llm.providers.base.throttle import Throttle
from core.llm.providers.local_config import Quantization
from core.llm.providers.local_files import FileState, ModelFileError, file_state
from core.llm.providers.local_models import WorkerModel
from core.llm.providers.transformers.config import Dtype
from core.llm.providers.transformers.model_folder import (
    FolderOptions,
    ModelFolder,
    find_folder,
    hub_cache,
    inspect_folder,
)
from core.llm.transport.process import Setup, WorkerSpec

_ENGINE: Final = "core.llm.providers.transformers.engine"
_PACKAGES: Final = ("torch", "transformers", "jinja2")
_CANCEL_SECONDS: Final = 180.0
"""A cancelled call ends with the step that is being computed; the first one reads the whole prompt."""
_START_SECONDS: Final = 60.0
_MEMORY_SECONDS: Final = 5.0
_NETWORK: Final = ("HF_TOKEN", "HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE")
"""What a download may need of the host's environment; a worker that stays offline gets none of it."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Everything that decides how a model is loaded. Two models with equal options are one process."""

    folder: FolderOptions
    allow_download: bool
    trust_remote_code: bool
    device: str
    dtype: Dtype
    quantization: Quantization
    max_batch: int
    batch_wait: float
    n_threads: int
    attention: str | None
    chat_template: str | None
    context_window: int | None
    load_timeout: float
    unload_timeout: float
    memory_limit: int | None
    max_waiting: int


class LocalModel(WorkerModel):
    """Loads when it is needed; whoever made it must `close` it."""

    def __init__(self, name: str, options: LoadOptions, services: ProviderServices) -> None:
        self.options = options
        self.folder: ModelFolder | None = None
        """The directory as it was when it was last looked at; `None` where it is not there, or not yet."""
        self._loaded: ModelFolder | None = None
        self._refused: tuple[FileState, ...] | None = None
        self._throttle = Throttle(services.clock)
        self._clock = services.clock
        limit = options.memory_limit
        spec = WorkerSpec(
            name,
            _ENGINE,
            env=_environment(options),
            slots=options.max_batch,
            max_waiting=options.max_waiting,
            rlimits={} if limit is None else {"data": limit},
            start_timeout=_START_SECONDS,
            cancel_timeout=_CANCEL_SECONDS,
        )
        super().__init__(name, spec, services, options.unload_timeout)

    @property
    def device(self) -> str:
        """Where it lies, or will lie as far as can be told without loading it."""
        if self.pid is not None and self.loaded_as:
            return str(self.loaded_as["device"])
        wanted = self.options.device
        if wanted == "auto":
            return "cuda:0" if Path("/dev/nvidia0").exists() else "cpu"
        return "cuda:0" if wanted == "cuda" else wanted

    @property
    def context_window(self) -> int | None:
        """Tokens of prompt and answer together."""
        limits = (self.options.context_window, self.folder.context_window if self.folder is not None else None)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def found(self) -> object:
        """The directory, as it was when it was last looked at."""
        return self.folder

    async def look(self) -> None:
        """Look at the directory without loading it; `folder` and `problem` hold what was found."""
        with contextlib.suppress(ModelLoadError):  # it is in `problem`
            await self._inspect()

    async def measured(self) -> ModelStatus:
        """As `status`; where the model lies on a GPU, with the memory that it holds there."""
        status = self.status()
        if status.pid is None or self.device == "cpu":
            return status
        limits = PhaseLimits(first_token=None, deadline_at=self._clock.monotonic() + _MEMORY_SECONDS)
        with contextlib.suppress(LLMError):  # it has just ended, or is too busy to say
            bytes_there = await self._worker.request("memory", {}, limits, slot=False)
            if type(bytes_there) is int:
                return replace(status, memory_bytes=bytes_there, detail=status.detail or f"on {self.device}")
        return status

    # Before a load.

    async def _prepare(self) -> Setup:
        if missing := missing_engine():
            raise self._cannot(missing)
        folder = await self._inspect()
        options, where = self.options, self.options.folder
        if folder is not None and folder.needs_code and not options.trust_remote_code:
            raise self._cannot(
                "it comes with Python code of its own, which is not run: set `trust_remote_code` if you have read it"
            )
        self._loaded = folder
        return Setup("load", {**self._source(folder), **self._settings(where)}, options.load_timeout)

    def _source(self, folder: ModelFolder | None) -> Mapping[str, Any]:
        where = self.options.folder
        if folder is None:  # to be downloaded
            return {
                "source": where.hub_id,
                "revision": where.revision or "main",
                "files": {},
                "generates": None,
                "sentence_model": False,
                "context_window": self.options.context_window,
            }
        return {
            "source": str(folder.path),
            "revision": None,
            "files": {str(path): state.to_json() for path, state in folder.weights},
            "generates": folder.generates,
            "sentence_model": folder.sentence_model,
            "context_window": self.context_window,
        }

    def _settings(self, where: FolderOptions) -> Mapping[str, Any]:
        options = self.options
        return {
            "name": self.name.partition("/")[2],
            "cache_dir": str(hub_cache(where.cache_dir)) if where.hub_id is not None else None,
            "allow_download": options.allow_download,
            "trust_remote_code": options.trust_remote_code,
            "allow_pickle": where.allow_pickle,
            "device": options.device,
            "dtype": options.dtype,
            "quantization": options.quantization,
            "max_batch": options.max_batch,
            "batch_wait": options.batch_wait,
            "n_threads": options.n_threads,
            "attention": options.attention,
            "chat_template": options.chat_template,
        }

    async def _inspect(self) -> ModelFolder | None:
        """The directory, checked; `None` for a model that is to be downloaded."""
        try:
            self.folder = await asyncio.to_thread(_inspected, self.options.folder, self.folder)
            if self.folder is None and not self.options.allow_download:
                hub_id = self.options.folder.hub_id
                raise ModelFileError(
                    f"the cache holds no {hub_id}: fetch it by `hf download {hub_id}`, or set `allow_download: true`"
                )
        except (ModelFileError, OSError) as error:
            if self.pid is None:
                self.folder = None
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            problem = self._cannot(reason)
            self.file_problem = str(problem)
            raise problem from None
        self.file_problem = ""
        return self.folder

    async def _look_for_changes(self) -> None:
        """Where the files are not those that were loaded, end the process, so that the new ones are loaded.

        Files that were deleted are still in memory, and so are those that were replaced by others that are no good:
        they serve on. One that was overwritten in place is not, since torch maps it.
        """
        loaded = self._loaded
        if loaded is None:
            return
        try:
            found = tuple(file_state(path) for path in loaded.files)
        except ModelFileError:
            return
        if found in {loaded.states, self._refused}:
            return
        pairs = [pair for pair in zip(found, loaded.states, strict=True) if pair[0] != pair[1]]
        if all((new.device, new.inode) != (old.device, old.inode) for new, old in pairs):
            try:
                await self._inspect()
            except ModelLoadError as error:
                self._refused = found
                self.tell("load", "failed", f"{error}; what was loaded before serves on")
                return
        # Others may have seen the new files as well, and have ended the process or begun to load while this one looked.
        if self._loaded is loaded and self._worker.state == "ready":
            await self._worker.stop(self.unload_timeout)

    def _cannot(self, reason: str) -> ModelLoadError:
        return ModelLoadError(f"the local model {self.name} cannot be loaded: {reason}", model=self.name)

    # What becomes of the worker (WorkerObserver).

    def progress(self, item: Any) -> None:
        """The load has come further."""
        if not isinstance(item, dict):
            return
        done, total = item.get("completed"), item.get("total")
        step = Progress(str(item.get("message")), done, total)
        for listener in tuple(self._listeners):
            listener(step)
        # With listeners it is the part that decides what is in memory, which tells of the progress itself.
        if not self._listeners and self._throttle.due():
            self.tell("load", "loading", step.message, done, total)


def missing_engine() -> str:
    """What to do about a machine without the libraries; empty where they are installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"it needs {' and '.join(missing)}, not installed: `pip install torch` in the build for this machine (see "
        "docs/providers/transformers.md), then `pip install 'core-llm[transformers]'`"
    )


def holds_to_schemas() -> bool:
    """Whether what it takes to hold answers to a JSON schema is installed."""
    return find_spec("llguidance") is not None


def _inspected(options: FolderOptions, known: ModelFolder | None) -> ModelFolder | None:
    path = find_folder(options)
    return None if path is None else inspect_folder(path, options, known)


def _environment(options: LoadOptions) -> Mapping[str, str]:
    env = {
        "OMP_NUM_THREADS": str(options.n_threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    if options.allow_download:
        env |= {name: value for name in _NETWORK if (value := os.environ.get(name))}
        env["HF_HUB_OFFLINE"] = "0"
    return env
