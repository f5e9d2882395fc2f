"""Load, unload and download models on an LM Studio server."""

from collections.abc import Mapping
from typing import Any

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_manager import ManagerLimits
from core.llm.providers.base.provider import ModelStatus, ProviderServices
from core.llm.providers.base.pull_jobs import PullJob, PullJobManager
from core.llm.providers.lm_studio.api import DownloadedModel, Instance, LMStudioApi
from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.openai_server import is_missing_endpoint


class LMStudioModelManager(PullJobManager):
    """The models of one LM Studio server."""

    def __init__(self, api: LMStudioApi, config: LMStudioConfig, services: ProviderServices) -> None:
        limits = ManagerLimits(config.load_timeout, config.unload_timeout)
        super().__init__(
            services,
            limits,
            unload_on_stop=config.unload_on_stop,
            pull_stall=config.pull_stall_timeout,
            pull_from=config.pull_from,
        )
        self._api = api
        self._config = config

    async def find(self, model: str) -> ModelStatus | None:
        """Whether *model* has an instance in memory, and how that was loaded."""
        known, instances = await self._instances(model)
        if known is None or not instances:
            return None
        # LM Studio says nothing about memory; the size of the file is what the weights take.
        return ModelStatus(model, "ready", known.size_bytes, self._said(model, instances))

    async def ask_to_load(self, model: str) -> str:
        """Load *model* as configured; a wrong context is reported, not hidden."""
        options = self._config.options_of(model)
        try:
            loaded = await self._api.load(model, options)
        except ProviderError as error:
            raise _explained(error, model) from None
        return _difference(options, loaded.config)

    async def ask_to_unload(self, model: str) -> None:
        """Unload every instance of *model*, or the one whose id it is."""
        _, instances = await self._instances(model)
        for instance in instances:
            try:
                await self._api.unload(instance.id)
            except ProviderError as error:
                # Somebody else, or its time to live, was faster.
                if error.type != "model_not_found" and "not found" not in error.message.lower():
                    raise

    async def begin_pull(self, model: str) -> PullJob:
        """Begin to download *model*: a key of LM Studio's hub, or the address of a Hugging Face repository."""
        try:
            return await self._api.download(model)
        except ProviderError as error:
            raise _explained(error, model) from None

    async def poll_pull(self, job: PullJob) -> PullJob:
        """Where *job* stands."""
        return await self._api.download_status(job.id)

    async def stop_pull(self, job: PullJob) -> None:
        """Nothing: LM Studio has no endpoint that stops a download. It goes on, and the next pull joins it."""

    async def _instances(self, model: str) -> tuple[DownloadedModel | None, tuple[Instance, ...]]:
        try:
            models = await self._api.models()
        except ProviderError as error:
            raise _explained(error, model) from None
        for one in models:
            if one.answers_to(model):
                own = tuple(instance for instance in one.instances if instance.id == model)
                is_instance = own and model != one.key and model not in one.variants
                return one, own if is_instance else one.instances
        return None, ()

    def _said(self, model: str, instances: tuple[Instance, ...]) -> str:
        options = self._config.options_of(model)
        differences = [_difference(options, instance.config) for instance in instances]
        parts = [f"{len(instances)} instances"] if len(instances) > 1 else []
        # One instance as configured is enough: it may be the one that answers.
        return "; ".join([*parts, *([differences[0]] if all(differences) else [])])


def _difference(options: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """In what *config*, as far as the server tells it, is not what was configured."""
    wrong = [
        f"{name} {config[name]} instead of {value}"
        for name, value in options.items()
        if name in config and config[name] != value
    ]
    return f"loaded with {', '.join(wrong)}: unload it to have it loaded as configured" if wrong else ""


def _explained(error: ProviderError, model: str) -> ProviderError:
    if is_missing_endpoint(error) and model not in error.message:
        error.type, error.scope, error.retryable = "invalid_request", "provider", False
        error.code = "not_found"
        error.message = (
            f"this LM Studio server has no model management, or does not know {model!r} ({error.message}): it needs "
            "LM Studio 0.4 or later"
        )
        error.args = (error.message,)
    return error
