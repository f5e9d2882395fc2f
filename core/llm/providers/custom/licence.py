"""What has to be in order before a model is loaded: its files, and the licence that a function of the user looks after.

The function is called with a `LicenceRequest`. It lets the load pass by returning `None` or `True`; it refuses by
returning `False` or a reason, or by raising.
"""

import asyncio
import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from core.llm.common.exceptions import ModelLoadError
from core.llm.common.secrets import one_line, redact
from core.llm.providers.base.load_gate import LoadRequest
from core.llm.providers.custom.threads import in_thread
from core.llm.providers.local_files import ModelFileError, check_sha256, file_state


@dataclass(frozen=True, slots=True)
class LicenceRequest:
    """What a licence is asked for."""

    provider: str
    model: str
    engine: str
    path: str
    """Where the file or directory of the model really lies; empty where it has none."""


@dataclass(frozen=True, slots=True)
class CustomGate:
    """Stands before each load of one model. Equal gates refuse the same."""

    engine: str
    licence_check: str | None
    timeout: float
    digests: tuple[tuple[str, str], ...] = ()
    """Names of files in the model's directory, each with its sha256."""

    async def __call__(self, request: LoadRequest) -> None:
        """Let *request* pass.

        Raises:
            ModelLoadError: a file is not the one that was meant, or the licence check has refused.
        """
        for name, digest in self.digests:
            await self._check_file(request, Path(request.path) / name, digest)
        if self.licence_check is not None:
            await self._check_licence(request, self.licence_check)

    async def _check_file(self, request: LoadRequest, path: Path, digest: str) -> None:
        def check() -> None:
            real = path.resolve()
            check_sha256(real, file_state(real), digest)

        try:
            await asyncio.to_thread(check)
        except (ModelFileError, OSError) as error:
            raise _refused(request, str(error)) from None

    async def _check_licence(self, request: LoadRequest, reference: str) -> None:
        provider, _, model = request.model.partition("/")
        wanted = LicenceRequest(provider, model, self.engine, request.path)
        try:
            async with asyncio.timeout(self.timeout):
                verdict = await _asked(reference, wanted)
        except TimeoutError:
            raise _refused(request, f"its licence check {reference} did not answer within {self.timeout:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises is a refusal
            reason = one_line(redact(str(error)))
            said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
            raise _refused(request, f"its licence check {reference} refuses: {said}") from None
        if verdict is not None and verdict is not True:
            reason = f": {one_line(redact(verdict))}" if isinstance(verdict, str) else ""
            raise _refused(request, f"its licence check {reference} refuses{reason}")


async def _asked(reference: str, request: LicenceRequest) -> Any:
    def ask() -> Any:
        module, _, name = reference.partition(":")
        return getattr(import_module(module), name)(request)

    answer = await in_thread(ask, f"licence check of {request.model}")
    return await answer if inspect.isawaitable(answer) else answer


def _refused(request: LoadRequest, reason: str) -> ModelLoadError:
    return ModelLoadError(f"the local model {request.model} cannot be loaded: {reason}", model=request.model)
