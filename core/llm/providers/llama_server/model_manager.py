"""Load and unload models behind a router of llama.cpp."""

from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_manager import ManagerLimits, ServerModelManager
from core.llm.providers.base.model_source import check_model_name
from core.llm.providers.base.provider import ModelStatus, Progress, ProviderServices
from core.llm.providers.base.single_flight import Tell
from core.llm.providers.llama_server.api import LlamaServerApi, RouterModel
from core.llm.providers.llama_server.config import LlamaServerConfig

_POLL_FIRST: Final = 0.05
_POLL_LONGEST: Final = 1.0


class LlamaServerModelManager(ServerModelManager):
    """The models of one llama-server."""

    def __init__(self, api: LlamaServerApi, config: LlamaServerConfig, services: ProviderServices) -> None:
        limits = ManagerLimits(config.load_timeout, config.unload_timeout)
        super().__init__(services, limits, unload_on_stop=config.unload_on_stop)
        self._api = api

    def check_name(self, model: str) -> None:
        """Where a server was given no name for its model, it calls it by the path of its file."""
        check_model_name(model.removeprefix("/"))

    async def find(self, model: str) -> ModelStatus | None:
        """What the list of models says about *model*."""
        found = await self._listed(model)
        return None if found is None else status_of(found)

    async def ask_to_load(self, model: str) -> str:
        """Load *model* and look at the list until it is there: the router answers before it has begun."""
        await self._api.load(model)
        pause = _POLL_FIRST
        while True:
            found = await self._listed(model)
            if found is None:
                raise ProviderError("model_not_found", f"the llama-server has no model {model!r} any more")
            if found.in_memory:
                return ""
            if found.state == "unloaded":
                code = "" if found.exit_code is None else f" (its process ended with exit code {found.exit_code})"
                raise ProviderError(
                    "server_error",
                    f"llama-server could not load {model!r}{code}; the reason is in the output of the server",
                    code="load_failed",
                    retryable=False,
                    scope="model",
                )
            await self._services.clock.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)

    async def ask_to_unload(self, model: str) -> None:
        """End the process of *model*."""
        await self._api.unload(model)

    async def download(self, model: str, report: Tell) -> Progress:  # noqa: ARG002 - the shape of every server
        """Never: the router serves the files of its folder.

        Raises:
            ProviderError: always.
        """
        raise ProviderError(
            "invalid_request",
            f"llama-server cannot download {model!r}: put the file into its --models-dir",
            code="unsupported",
            scope="provider",
        )

    async def _listed(self, model: str) -> RouterModel | None:
        return next((one for one in await self._api.models() if one.id == model), None)


def status_of(model: RouterModel) -> ModelStatus | None:
    """Where *model* is; `None`: not in memory."""
    if model.in_memory:
        return ModelStatus(
            model.id, "ready", detail="asleep: it wakes with its next call" * (model.state == "sleeping")
        )
    return ModelStatus(model.id, "loading") if model.state == "loading" else None
