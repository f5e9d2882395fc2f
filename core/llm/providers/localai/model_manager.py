"""Load, shut down and install models on a LocalAI server."""

from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_manager import ManagerLimits
from core.llm.providers.base.model_source import check_model_name
from core.llm.providers.base.provider import ModelState, ModelStatus, ProviderServices
from core.llm.providers.base.pull_jobs import PullJob, PullJobManager
from core.llm.providers.localai.api import LocalAIApi
from core.llm.providers.localai.config import LocalAIConfig
from core.llm.providers.openai_server import is_missing_endpoint

_STATES: Final[dict[int, tuple[ModelState, str]]] = {
    0: ("loading", "the backend is not initialised yet"),
    1: ("in_use", ""),
    2: ("ready", ""),
}
_POLL: Final = 0.2


class LocalAIModelManager(PullJobManager):
    """The models of one LocalAI server."""

    def __init__(self, api: LocalAIApi, config: LocalAIConfig, services: ProviderServices) -> None:
        limits = ManagerLimits(config.load_timeout, config.unload_timeout)
        super().__init__(
            services,
            limits,
            unload_on_stop=config.unload_on_stop,
            pull_stall=config.pull_stall_timeout,
            pull_from=config.pull_from,
        )
        self._api = api

    async def find(self, model: str) -> ModelStatus | None:
        """What the backend monitor says about *model*."""
        seen = await self._api.monitor(model)
        if seen is None:
            return None
        silent: tuple[ModelState, str] = ("unknown", "the backend reports an error, or cannot tell its state")
        state, detail = _STATES.get(seen.state, silent)
        return ModelStatus(model, state, seen.memory_bytes, detail)

    async def ask_to_load(self, model: str) -> str:
        """Load *model* by `/backend/load`, and on older servers by counting the tokens of one word."""
        try:
            await self._api.load(model)
        except ProviderError as error:
            if not is_missing_endpoint(error):
                raise
        else:
            return ""
        try:
            await self._api.tokenize(model)
        except ProviderError as error:
            if not is_missing_endpoint(error):
                raise
            raise ProviderError(
                "invalid_request",
                f"this LocalAI server cannot load {model!r} without generating: it has neither /backend/load nor "
                "/v1/tokenize. It loads the model with the first request; update LocalAI to load ahead",
                code="unsupported",
                status_code=error.status_code,
                scope="provider",
            ) from None
        return "loaded by counting tokens: this LocalAI has no /backend/load"

    async def ask_to_unload(self, model: str) -> None:
        """Shut the backend of *model* down."""
        await self._api.shutdown(model)

    async def begin_pull(self, model: str) -> PullJob:
        """Begin to install *model* from the gallery."""
        return await self._api.apply(model)

    async def poll_pull(self, job: PullJob) -> PullJob:
        """Where *job* stands."""
        return await self._api.job(job.id)

    async def stop_pull(self, job: PullJob) -> None:
        """Pause *job*: what has arrived is kept, and the same installation later goes on from there."""
        await self._api.pause(job.id)

    async def delete(self, model: str) -> None:
        """Remove *model* and its files; returns once the server has done so.

        Raises:
            ProviderError: it refuses, or the removal failed.
        """
        check_model_name(model)
        job = await self._api.delete(model)
        while job.state == "running":
            await self._services.clock.sleep(_POLL)
            job = await self._api.job(job.id)
        if job.state == "failed":
            raise ProviderError(
                "server_error", f"{model!r} was not deleted: {job.progress.message}", code="delete_failed"
            )
