"""LocalAI's own endpoints: backends, gallery and jobs, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Capability, ModelFacts
from core.llm.dialects.json import schema_error
from core.llm.providers.base.provider import Progress
from core.llm.providers.base.pull_jobs import PullJob
from core.llm.providers.openai_server import NativeApi, is_missing_endpoint

_ABILITIES: Final[dict[str, tuple[Capability, ...]]] = {
    "chat": ("chat", "stream", "tools", "json", "json_schema"),
    "embeddings": ("embeddings",),
    "vision": ("vision",),
}
_NOT_LOADED: Final = ("not currently loaded", "is not loaded", "not found")
_ADDRESS: Final = ("http://", "https://", "github:", "huggingface:", "file:", "oci:", "ollama:")


@dataclass(frozen=True, slots=True)
class BackendState:
    """A backend process with a model in memory."""

    state: int
    """0 uninitialised, 1 busy, 2 ready, -1 error or unable to say."""
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model that the server can run."""

    name: str
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class GalleryModel:
    """A model that can be installed."""

    id: str
    """`gallery@name`, which is what `pull_model` takes."""
    name: str
    description: str
    installed: bool


class LocalAIApi:
    """LocalAI's endpoints beside the OpenAI ones; most need an admin's key. Every method raises `ProviderError`."""

    def __init__(self, native: NativeApi) -> None:
        self._native = native

    async def monitor(self, model: str) -> BackendState | None:
        """`GET /backend/monitor`; `None`: no backend has *model* in memory."""
        try:
            answer = await self._native.get(f"/backend/monitor?model={quote(model, safe='')}", report=True)
        except ProviderError as error:
            if says_not_loaded(error):
                return None
            raise
        if not isinstance(answer, dict):
            raise schema_error("the state of a backend is no object")
        state = answer.get("state", 0)
        memory = answer.get("memory")
        total = memory.get("total") if isinstance(memory, dict) else None
        return BackendState(state if isinstance(state, int) else 0, total if isinstance(total, int) else None)

    async def load(self, model: str) -> None:
        """`POST /backend/load`: answers once the backend has *model* in memory, however long that takes."""
        await self._native.post("/backend/load", {"model": model}, patient=True)

    async def tokenize(self, model: str) -> None:
        """`POST /v1/tokenize` of one word: loads *model* and generates nothing."""
        await self._native.post("/v1/tokenize", {"model": model, "content": "a"}, patient=True)

    async def shutdown(self, model: str) -> None:
        """`POST /backend/shutdown`; a model that is not in memory is no error."""
        try:
            await self._native.post("/backend/shutdown", {"model": model}, patient=True)
        except ProviderError as error:
            if not says_not_loaded(error):
                raise

    async def loaded_models(self) -> frozenset[str]:
        """`GET /system`: the names of the models in memory."""
        answer = await self._native.get("/system")
        listed = answer.get("loaded_models") if isinstance(answer, dict) else None
        return frozenset(
            str(one["id"]) for one in listed or () if isinstance(one, dict) and isinstance(one.get("id"), str)
        )

    async def installed(self) -> tuple[InstalledModel, ...]:
        """`GET /v1/models/capabilities`, and on older servers `GET /v1/models`."""
        try:
            answer = await self._native.get("/v1/models/capabilities")
        except ProviderError as error:
            if not is_missing_endpoint(error):
                raise
            answer = await self._native.get("/v1/models")
        entries = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise schema_error("it has no list of models")
        return tuple(
            InstalledModel(one["id"], _facts(one))
            for one in entries
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        )

    async def available(self) -> tuple[GalleryModel, ...]:
        """`GET /models/available`: what the galleries offer."""
        entries = await self._native.get("/models/available")
        if not isinstance(entries, list):
            raise schema_error("the gallery is no list")
        return tuple(_offer(one) for one in entries if isinstance(one, dict) and isinstance(one.get("name"), str))

    async def apply(self, model: str) -> PullJob:
        """`POST /models/apply`: begin to install *model*, a name of the gallery or the address of a definition."""
        body = {"url": model} if model.startswith(_ADDRESS) else {"id": model}
        return _begun(await self._native.post("/models/apply", body))

    async def delete(self, model: str) -> PullJob:
        """`POST /models/delete/{name}`: begin to remove *model* and its files."""
        return _begun(await self._native.post(f"/models/delete/{quote(model, safe='')}"))

    async def job(self, job_id: str) -> PullJob:
        """`GET /models/jobs/{uuid}`."""
        return _job(job_id, await self._native.get(f"/models/jobs/{quote(job_id, safe='')}", report=True))

    async def pause(self, job_id: str) -> None:
        """Stop a job and keep what has arrived; on servers that cannot, cancel it."""
        path = f"/api/operations/{quote(job_id, safe='')}"
        try:
            await self._native.post(f"{path}/pause")
        except ProviderError as error:
            if not is_missing_endpoint(error):
                raise
            await self._native.post(f"{path}/cancel")


def says_not_loaded(error: ProviderError) -> bool:
    """Whether *error* is the way of saying that a model is not in memory; older servers do it with a status 500."""
    words = error.message.lower()
    return error.status_code in {404, 500} and any(phrase in words for phrase in _NOT_LOADED)


def _facts(entry: Mapping[str, Any]) -> ModelFacts:
    words = entry.get("capabilities")
    capabilities: set[Capability] = set()
    for word in words if isinstance(words, list) else ():
        capabilities.update(_ABILITIES.get(word, ()) if isinstance(word, str) else ())
    window = entry.get("context_size")
    modalities = entry.get("input_modalities")
    if isinstance(modalities, list) and "chat" in capabilities:
        capabilities.update(["vision"] if "image" in modalities else [])
        capabilities.update(["audio"] if "audio" in modalities else [])
    # A model for which nothing is listed may do anything; LocalAI does not say whether a model thinks.
    if "chat" in capabilities:
        capabilities.add("thinking")
    return ModelFacts(
        context_window=window if isinstance(window, int) and window > 0 else None, capabilities=frozenset(capabilities)
    )


def _offer(entry: Mapping[str, Any]) -> GalleryModel:
    gallery = entry.get("gallery")
    owner = gallery.get("name") if isinstance(gallery, dict) else None
    name = str(entry["name"])
    description = entry.get("description")
    return GalleryModel(
        str(entry.get("id") or (f"{owner}@{name}" if owner else name)),
        name,
        description if isinstance(description, str) else "",
        entry.get("installed") is True,
    )


def _begun(answer: Any) -> PullJob:
    job_id = (answer.get("uuid") or answer.get("ID")) if isinstance(answer, dict) else None
    if not isinstance(job_id, str) or not job_id:
        raise schema_error("the answer has no id of a job")
    return PullJob(job_id, "running", Progress("queued"))


def _job(job_id: str, answer: Any) -> PullJob:
    if not isinstance(answer, dict) or not isinstance(answer.get("processed"), bool):
        raise schema_error("the state of a job is missing")
    message = answer.get("message")
    said = message if isinstance(message, str) and message else str(answer.get("phase") or "processing")
    progress = _progress(answer, said)
    # Some versions write a failure as an empty object, which says no more than that there was one.
    error = answer.get("error")
    if error not in (None, ""):
        return PullJob(job_id, "failed", Progress(error if isinstance(error, str) else said))
    if answer.get("cancelled") is True:
        return PullJob(job_id, "failed", Progress("it was cancelled on the server"))
    if not answer["processed"]:
        return PullJob(job_id, "running", progress)
    if said.lower().startswith(("error", "already being processed")):
        return PullJob(job_id, "failed", Progress(said))
    total = progress.total
    return PullJob(job_id, "done", Progress(said, total, total))


def _progress(answer: Mapping[str, Any], said: str) -> Progress:
    done, total = answer.get("current_bytes"), answer.get("total_bytes")
    if isinstance(done, int) and isinstance(total, int) and total > 0:
        return Progress(said, done, total)
    percent = answer.get("progress")
    if isinstance(percent, int | float):
        return Progress(said, round(min(max(float(percent), 0.0), 100.0), 2), 100.0)
    return Progress(said)
