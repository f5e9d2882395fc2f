"""LM Studio's native REST API: what it answers, in both shapes that its documentation shows.

The released v1 API names a loaded instance `instance_id` and answers `load_config`; its preview said
`model_instance_id` and `config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from core.llm.common.types import Capability, ModelFacts
from core.llm.dialects.json import schema_error
from core.llm.providers.base.provider import Progress
from core.llm.providers.base.pull_jobs import PullJob
from core.llm.providers.openai_server import NativeApi

_LLM: Final[frozenset[Capability]] = frozenset({"chat", "stream", "json", "json_schema"})
_ENDED: Final = {"completed", "already_downloaded"}


@dataclass(frozen=True, slots=True)
class Instance:
    """A model in memory."""

    id: str
    config: Mapping[str, Any]

    @property
    def context_length(self) -> int | None:
        """Tokens of context that it was loaded with."""
        return _count(self.config.get("context_length"))


@dataclass(frozen=True, slots=True)
class DownloadedModel:
    """A model on the disk of the server."""

    key: str
    kind: str
    """`llm` or `embedding`."""
    display_name: str
    size_bytes: int | None
    max_context_length: int | None
    instances: tuple[Instance, ...]
    variants: tuple[str, ...]
    capabilities: frozenset[Capability]
    detail: str

    @property
    def can_chat(self) -> bool:
        """True for language models."""
        return self.kind != "embedding"

    def answers_to(self, model: str) -> bool:
        """Whether a request for *model* means this one: by key, by variant, or by the id of an instance."""
        return model == self.key or model in self.variants or any(one.id == model for one in self.instances)

    def facts(self, context_length: int | None) -> ModelFacts:
        """Its facts; the window is that of the loaded instance, else *context_length*, else the longest possible."""
        loaded = [one.context_length for one in self.instances if one.context_length is not None]
        window = min(loaded) if loaded else context_length or self.max_context_length
        return ModelFacts(context_window=window, capabilities=self.capabilities)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer to a load."""

    instance_id: str
    seconds: float | None
    config: Mapping[str, Any]


class LMStudioApi:
    """The endpoints under `/api/v1`. Every method raises `ProviderError`."""

    def __init__(self, native: NativeApi) -> None:
        self._native = native

    async def models(self) -> tuple[DownloadedModel, ...]:
        """`GET /api/v1/models`: what is on disk, and which of it is in memory."""
        answer = await self._native.get("/api/v1/models")
        entries = answer.get("models") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise schema_error("it has no list of models")
        return tuple(
            _model(entry) for entry in entries if isinstance(entry, dict) and isinstance(entry.get("key"), str)
        )

    async def load(self, model: str, options: Mapping[str, Any]) -> Loaded:
        """`POST /api/v1/models/load`: answers once the model is in memory, however long that takes."""
        body = {"model": model, **options, "echo_load_config": True}
        answer = await self._native.post("/api/v1/models/load", body, patient=True)
        if not isinstance(answer, dict):
            raise schema_error("the answer to a load is no object")
        instance = _text(answer, "instance_id", "model_instance_id")
        status = answer.get("status", "loaded")
        if instance is None or status != "loaded":
            raise schema_error("the answer to a load does not say that the model is loaded")
        seconds = answer.get("load_time_seconds")
        config = answer.get("load_config", answer.get("config"))
        return Loaded(
            instance,
            float(seconds) if isinstance(seconds, int | float) else None,
            config if isinstance(config, dict) else {},
        )

    async def unload(self, instance_id: str) -> None:
        """`POST /api/v1/models/unload`."""
        await self._native.post("/api/v1/models/unload", {"instance_id": instance_id})

    async def download(self, model: str) -> PullJob:
        """`POST /api/v1/models/download`: begin, join or find finished the download of *model*."""
        return _job(await self._native.post("/api/v1/models/download", {"model": model}), "")

    async def download_status(self, job_id: str) -> PullJob:
        """`GET /api/v1/models/download/status/{job_id}`."""
        answer = await self._native.get(f"/api/v1/models/download/status/{quote(job_id, safe='')}", report=True)
        return _job(answer, job_id)


def _model(entry: Mapping[str, Any]) -> DownloadedModel:
    kind = str(entry.get("type", "llm"))
    abilities = entry.get("capabilities")
    capabilities = {"embeddings"} if kind == "embedding" else set(_LLM)
    if isinstance(abilities, dict) and kind != "embedding":
        if abilities.get("vision") is True:
            capabilities.add("vision")
        if abilities.get("trained_for_tool_use") is True:
            capabilities.add("tools")
        if isinstance(abilities.get("reasoning"), dict):
            capabilities.add("thinking")
    quantization = entry.get("quantization")
    words = [entry.get("params_string"), quantization.get("name") if isinstance(quantization, dict) else None]
    return DownloadedModel(
        key=str(entry["key"]),
        kind=kind,
        display_name=str(entry.get("display_name") or entry["key"]),
        size_bytes=_count(entry.get("size_bytes")),
        max_context_length=_count(entry.get("max_context_length")),
        instances=tuple(_instances(entry.get("loaded_instances"))),
        variants=tuple(one for one in entry.get("variants") or () if isinstance(one, str)),
        capabilities=frozenset(capabilities),  # type: ignore[arg-type]  # every word above is a Capability
        detail=" ".join(str(word) for word in words if word),
    )


def _instances(listed: Any) -> list[Instance]:
    found = []
    for one in listed if isinstance(listed, list) else ():
        name = _text(one, "id", "instance_id", "model_instance_id") if isinstance(one, dict) else None
        if name is not None:
            config = one.get("config")
            found.append(Instance(name, config if isinstance(config, dict) else {}))
    return found


def _job(answer: Any, job_id: str) -> PullJob:
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, str):
        raise schema_error("the answer about a download has no status")
    done, total = _count(answer.get("downloaded_bytes")), _count(answer.get("total_size_bytes"))
    if status in _ENDED and total is not None:
        done = total
    message = str(answer.get("error") or answer.get("message") or status)
    identifier = _text(answer, "job_id") or job_id
    if status in _ENDED:
        return PullJob(identifier, "done", Progress(status, done, total))
    if status == "failed":
        reason = "LM Studio gives no reason; see its log" if message == status else message
        return PullJob(identifier, "failed", Progress(reason, done, total))
    if not identifier:
        raise schema_error("the answer about a download has no job_id")
    return PullJob(identifier, "running", Progress(status, done, total))


def _text(answer: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = answer.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**60 else None
