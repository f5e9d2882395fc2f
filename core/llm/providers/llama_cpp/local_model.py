"""One configured model: its file, its worker process, and what is known about both. Survives configuration reloads."""

import asyncio
import contextlib
import json
import platform
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.llama_cpp.gguf import GgufError
from core.llm.providers.llama_cpp.model_file import FileOptions, ModelFile, inspect, verify
from core.llm.providers.local_files import FileState, ModelFileError, file_state
from core.llm.providers.local_models import WorkerModel
from core.llm.transport.process import Setup, WorkerSpec
from core.llm.transport.process_memory import says_out_of_memory

_ENGINE: Final = "core.llm.providers.llama_cpp.engine"
_REFUSED: Final = "llama.cpp refuses the file"
# The best reason first: else the first error line, without the name of the function that wrote it.
_REASONS: Final = (re.compile(r"error loading model: (.+)"), re.compile(r" E \w+: (?:error: )?(.+)"))


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Everything that decides how a model is loaded. Two models with equal options are one process."""

    files: FileOptions
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


class LocalModel(WorkerModel):
    """Loads when it is needed; whoever made it must `close` it."""

    def __init__(self, name: str, options: LoadOptions, services: ProviderServices) -> None:
        self.options = options
        self.file: ModelFile | None = None
        """The file as it was when it was last looked at."""
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
        super().__init__(name, spec, services, options.unload_timeout)

    @property
    def found(self) -> object:
        """The file, as it was when it was last looked at."""
        return self.file

    async def look(self) -> None:
        """Look at the file without loading it; `file` and `problem` hold what was found."""
        with contextlib.suppress(ModelLoadError):  # it is in `problem`
            await self._inspect()

    # Before a load.

    async def _prepare(self) -> Setup:
        if missing := missing_engine():
            raise ModelLoadError(f"the local model {self.name} cannot be loaded: {missing}", model=self.name)
        file = await self._inspect()
        options = self.options
        try:
            await asyncio.to_thread(verify, options.files, file)
        except ModelFileError as error:
            raise ModelLoadError(f"the local model {self.name} cannot be loaded: {error}", model=self.name) from None
        self._loaded = file
        params = {
            "name": self.name.partition("/")[2],
            "path": str(file.path),
            "state": file.state.to_json(),
            "lora": [
                {"path": str(one.path), "state": one.state.to_json(), "scale": lora.scale}
                for one, lora in zip(file.adapters, options.files.lora, strict=True)
            ],
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
            file = self.file = await asyncio.to_thread(inspect, self.options.files, self.file)
        except (ModelFileError, GgufError, OSError) as error:
            if self.pid is None:
                self.file = None
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.file_problem = f"the local model {self.name} cannot be loaded: {reason}"
            raise ModelLoadError(self.file_problem, model=self.name) from None
        self.file_problem = ""
        return file

    async def _look_for_changes(self) -> None:
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
                self.tell("load", "failed", f"{error}; the file that was loaded before serves on")
                return
        # Others may have seen the new file as well, and have ended the process or begun to load while this one looked.
        if self._loaded is loaded and self._worker.state == "ready":
            await self._worker.stop(self.unload_timeout)

    def _explained(self, error: ModelLoadError) -> ModelLoadError:
        found = next((one for reason in _REASONS if (one := reason.search(error.output))), None)
        if found is None or not str(error).endswith(_REFUSED):
            return error
        message = f"{error}: {found[1]}"
        if says_out_of_memory(found[1]):
            message = (
                f"the local model {self.name} does not fit into memory ({found[1]}): use a smaller model or n_ctx, "
                "keep fewer models in memory, or raise memory_limit where it is set"
            )
        explained = ModelLoadError(message, model=error.model, output=error.output)
        self._load_problem = str(explained)
        return explained


def missing_engine() -> str:
    """What to do about a machine without the engine; empty where it is installed."""
    if find_spec("xllamacpp") is not None:
        return ""
    here = f"{platform.system()} {platform.machine()} {platform.libc_ver()[0]}".strip()
    return (
        "it needs xllamacpp, which is not installed: `pip install 'core-llm[local]'`. There are builds for Linux with "
        f"glibc (x86_64, aarch64), macOS 13 and later, and Windows (x86_64); this is {here}"
    )
