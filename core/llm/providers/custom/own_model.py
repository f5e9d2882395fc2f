"""A model in a class of the user: where it runs, and what is known about it. Survives configuration reloads."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, replace
from typing import Final, Literal

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.base.provider import ModelStatus, ProviderServices
from core.llm.providers.custom.own_file import OwnFile, OwnFileOptions, inspect, verify
from core.llm.providers.custom.worker import OwnEngine
from core.llm.providers.local_files import ModelFileError
from core.llm.providers.local_models import WorkerModel
from core.llm.transport.process import Setup, WorkerSpec
from core.llm.transport.process_threads import ThreadWorker

_WORKER: Final = "core.llm.providers.custom.worker"


@dataclass(frozen=True, slots=True)
class OwnOptions:
    """Everything that decides how a class is loaded. Two models with equal options are one process."""

    reference: str
    file: OwnFileOptions
    settings: str
    """What the class is told, as JSON."""
    isolation: Literal["process", "none"]
    parallel: int
    load_timeout: float
    unload_timeout: float
    memory_limit: int | None
    max_waiting: int


class OwnModel(WorkerModel):
    """Loads when it is needed; whoever made it must `close` it."""

    def __init__(self, name: str, options: OwnOptions, services: ProviderServices) -> None:
        self.options = options
        self.file: OwnFile | None = None
        """Its file as it was when it was last looked at."""
        limit = options.memory_limit
        spec = WorkerSpec(
            name,
            _WORKER,
            slots=options.parallel,
            max_waiting=options.max_waiting,
            rlimits={} if limit is None else {"data": limit},
        )
        super().__init__(name, spec, services, options.unload_timeout)
        if options.isolation == "none":
            self._worker = ThreadWorker(
                spec, OwnEngine, clock=services.clock, rng=services.rng, observer=self, prepare=self._admitted
            )

    @property
    def abilities(self) -> dict[str, bool]:
        """What its class can do beyond writing; empty until it has been loaded."""
        return self.loaded_as or {}

    @property
    def found(self) -> object:
        """What its class has said about itself; its file says nothing."""
        return self.loaded_as

    @property
    def file_bytes(self) -> int | None:
        """The size of its file, where it has one."""
        return None if self.file is None or self.file.state is None else self.file.state.size

    async def look(self) -> None:
        """Look at the file without loading it; `problem` holds what was found."""
        with contextlib.suppress(ModelLoadError):  # it is in `problem`
            await self._inspected()

    def status(self) -> ModelStatus:
        """Where the model is in its life; what runs in this process has no memory that could be told from the rest."""
        status = super().status()
        return status if self.options.isolation == "process" else replace(status, pid=None, memory_bytes=None)

    async def _prepare(self) -> Setup:
        file = await self._inspected()
        options = self.options
        settings = json.loads(options.settings)
        if file is not None:
            try:
                await asyncio.to_thread(verify, options.file, file)
            except ModelFileError as error:
                raise self._unloadable(error) from None
            settings["model_path"] = str(file.path)
        params = {
            "class": options.reference,
            "settings": settings,
            "path": "" if file is None else str(file.path),
            "state": None if file is None or file.state is None else file.state.to_json(),
        }
        return Setup("load", params, options.load_timeout)

    async def _inspected(self) -> OwnFile | None:
        try:
            self.file = await asyncio.to_thread(inspect, self.options.file)
        except ModelFileError as error:
            failure = self._unloadable(error)
            self.file_problem = str(failure)
            raise failure from None
        self.file_problem = ""
        return self.file

    def _unloadable(self, error: ModelFileError) -> ModelLoadError:
        return ModelLoadError(f"the local model {self.name} cannot be loaded: {error}", model=self.name)
