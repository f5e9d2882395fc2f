"""The endpoints by which a router of llama.cpp manages its models, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts
from core.llm.dialects.json import schema_error
from core.llm.providers.openai_server import NativeApi, is_missing_endpoint

_NOT_THERE: Final = ("not loaded", "not running", "already unloaded")
_THERE: Final = ("already loaded", "already running")


@dataclass(frozen=True, slots=True)
class RouterModel:
    """One line of the list of models."""

    id: str
    state: str | None
    """unloaded, loading, loaded or sleeping; `None` at a server that is no router: its one model is always there."""
    exit_code: int | None
    """Set where its process has failed."""
    facts: ModelFacts

    @property
    def in_memory(self) -> bool:
        """Whether it answers without a load."""
        return self.state in {None, "loaded", "sleeping"}


class LlamaServerApi:
    """`/models` and what is below it. Every method raises `ProviderError`."""

    def __init__(self, native: NativeApi) -> None:
        self._native = native

    async def models(self) -> tuple[RouterModel, ...]:
        """`GET /models`."""
        answer = await self._native.get("/models")
        entries = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise schema_error("it has no list of models")
        return tuple(_model(one) for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str))

    async def load(self, model: str) -> None:
        """`POST /models/load`: answers at once, long before *model* is in memory.

        Raises:
            ProviderError: `invalid_request` with code `unsupported`: the server is no router.
        """
        await self._manage("load", model, _THERE)

    async def unload(self, model: str) -> None:
        """`POST /models/unload`; a model that is not there is no error. Raises as `load`."""
        await self._manage("unload", model, _NOT_THERE)

    async def _manage(self, verb: str, model: str, done: tuple[str, ...]) -> None:
        try:
            await self._native.post(f"/models/{verb}", {"model": model})
        except ProviderError as error:
            words = error.message.lower()
            if any(phrase in words for phrase in done):
                return
            if is_missing_endpoint(error) and any(one.state is None for one in await self.models()):
                raise ProviderError(
                    "invalid_request",
                    f"this llama-server cannot {verb} {model!r}: it is no router. Start it with --models-dir or "
                    "--models-preset and without --model",
                    code="unsupported",
                    status_code=error.status_code,
                    scope="provider",
                ) from None
            raise


def _model(entry: Mapping[str, Any]) -> RouterModel:
    status = entry.get("status")
    state, code = None, None
    if isinstance(status, dict):
        state = str(status.get("value"))
        if status.get("failed") is True:
            told = status.get("exit_code")
            code = told if isinstance(told, int) else -1
    return RouterModel(str(entry["id"]), state, code, ModelFacts(context_window=_context(entry, status)))


def _context(entry: Mapping[str, Any], status: Any) -> int | None:
    args = status.get("args") if isinstance(status, dict) else None
    if isinstance(args, list):
        for name, value in pairwise(args):
            if name in {"-c", "--ctx-size"} and str(value).isdigit() and int(value) > 0:
                return int(value)
    meta = entry.get("meta")
    trained = meta.get("n_ctx") or meta.get("n_ctx_train") if isinstance(meta, dict) else None
    return trained if isinstance(trained, int) and trained > 0 else None
