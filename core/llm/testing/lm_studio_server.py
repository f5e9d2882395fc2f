"""An LM Studio server for tests: its wire on 127.0.0.1, with scripted models behind it.

It refuses what the vendor refuses, loads models when they are asked for (evicting another that it loaded by itself),
keeps those for their time to live, and loads, unloads and downloads over its REST API.

    async with LMStudioServer("tiny") as server:
        server.script(OpenAIAnswer("Hello there"))
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from core.llm.common.clock import Clock
from core.llm.testing.local_server import Refused
from core.llm.testing.scripted_openai import Handler, OpenAIAnswer, ScriptedOpenAIServer

__all__ = ["LMStudioDownload", "LMStudioModelSpec", "LMStudioServer", "OpenAIAnswer"]

_DEFAULT_CONTEXT: Final = 4096
_DEFAULT_TTL: Final = 3600.0
_LOAD_OPTIONS: Final[dict[str, type]] = {
    "context_length": int,
    "eval_batch_size": int,
    "flash_attention": bool,
    "num_experts": int,
    "offload_kv_cache_to_gpu": bool,
}


@dataclass(slots=True)
class LMStudioModelSpec:
    """A model on the disk of the server."""

    key: str
    kind: str = "llm"
    max_context_length: int = 32_768
    vision: bool = False
    tools: bool = True
    reasoning: bool = False
    size_bytes: int = 1_000_000
    variants: Sequence[str] = ()
    load_seconds: float = 0.0
    load_error: str = ""
    """Why it cannot be loaded."""


@dataclass(slots=True)
class LMStudioDownload:
    """A model that can be downloaded. Each look at its status is one step."""

    model: LMStudioModelSpec
    steps: int = 4
    fails: bool = False
    """End as `failed` at the last step."""
    stalls: bool = False
    """Never get past the first step."""


@dataclass(slots=True)
class _Instance:
    id: str
    spec: LMStudioModelSpec
    config: dict[str, Any]
    ttl: float | None
    """Set for a model that was loaded because a request came."""
    idle_since: float
    users: int = 0


@dataclass(slots=True)
class _Job:
    id: str
    download: LMStudioDownload
    step: int = 0
    status: str = "downloading"


@dataclass(slots=True)
class LMStudioState:
    """What a test may look at."""

    instances: dict[str, _Instance] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    """Keys, in order of loading."""


class LMStudioServer(ScriptedOpenAIServer):
    """The server."""

    def __init__(
        self,
        *models: LMStudioModelSpec | str,
        clock: Clock | None = None,
        api_key: str | None = None,
        native: bool = True,
        preview: bool = False,
        auto_evict: bool = True,
    ) -> None:
        """`native=False`: a version without `/api/v1`. `preview`: the shapes of the API before its release."""
        super().__init__(clock=clock, api_key=api_key)
        self.native = native
        self.preview = preview
        self.auto_evict = auto_evict
        self.models: dict[str, LMStudioModelSpec] = {}
        self.state = LMStudioState()
        self._downloads: dict[str, LMStudioDownload] = {}
        self._jobs: dict[str, _Job] = {}
        for model in models:
            spec = LMStudioModelSpec(model) if isinstance(model, str) else model
            self.models[spec.key] = spec
        if preview:
            self.reasoning_field = "reasoning"

    def publish(self, *downloads: LMStudioDownload | str) -> None:
        """Make models available for download."""
        for one in downloads:
            download = LMStudioDownload(LMStudioModelSpec(one)) if isinstance(one, str) else one
            self._downloads[download.model.key] = download

    def loaded(self) -> list[str]:
        """Ids of the instances in memory."""
        self._sweep()
        return list(self.state.instances)

    def lose_memory(self) -> None:
        """Nothing is loaded any more."""
        self.state.instances.clear()

    def routes(self) -> list[tuple[str, str, Handler]]:
        """The native API, and the model list in the OpenAI format."""
        listing: list[tuple[str, str, Handler]] = [("GET", "/v1/models", self._openai_models)]
        if not self.native:
            return listing
        return [
            *listing,
            ("GET", "/api/v1/models", self._models),
            ("POST", "/api/v1/models/load", self._load),
            ("POST", "/api/v1/models/unload", self._unload),
            ("POST", "/api/v1/models/download", self._download),
            ("GET", "/api/v1/models/download/status/{job_id}", self._download_status),
        ]

    def error(self, status: int, message: str, code: str | None = None) -> Refused:
        """An error in the shape of the OpenAI format, which LM Studio uses on both APIs."""
        body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return Refused(status, {"error": body})

    async def unknown(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:  # noqa: ARG002 - a handler
        """An address that does not exist is answered with a status 200 and an error."""
        return web.json_response({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})

    def dimensions(self, model: str) -> int:  # noqa: ARG002 - all are alike
        """Length of the vectors."""
        return 4

    async def enter(self, body: dict[str, Any], *, embeds: bool) -> Callable[[], None]:
        """Check the request and load its model if nobody has."""
        if not embeds:
            self._check_chat(body)
        ttl = body.get("ttl")
        if ttl is not None and (not isinstance(ttl, int) or isinstance(ttl, bool) or ttl <= 0):
            raise self.error(400, "'ttl' must be a positive integer")
        instance = self._find(str(body.get("model")))
        if instance is None:
            instance = await self._load_for_request(str(body.get("model")), ttl)
        elif instance.ttl is not None and ttl is not None:
            instance.ttl = float(ttl)
        if (instance.spec.kind == "embedding") != embeds:
            raise self.error(400, f"Model {instance.spec.key} cannot do that")
        instance.users += 1

        def leave() -> None:
            instance.users -= 1
            instance.idle_since = self.clock.monotonic()

        return leave

    def _check_chat(self, body: dict[str, Any]) -> None:
        choice = body.get("tool_choice", "auto")
        if not isinstance(choice, str):
            raise Refused(
                400, {"error": "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"}
            )
        kind = (body.get("response_format") or {"type": "text"}).get("type")
        if kind not in {"json_schema", "text"}:
            raise Refused(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"})
        for message in body.get("messages") or [{}]:
            self._check_message(message)

    def _check_message(self, message: Mapping[str, Any]) -> None:
        role, content = message.get("role"), message.get("content")
        if role not in {"system", "developer", "user", "assistant", "tool"}:
            raise self.error(400, "Invalid 'messages' in payload")
        for part in content if isinstance(content, list) else ():
            if part.get("type") not in ({"text"} if role == "tool" else {"text", "image_url"}):
                raise self.error(400, "Invalid 'messages' in payload")
            url = part.get("image_url", {}).get("url", "data:")
            if not url.startswith("data:"):
                raise Refused(400, {"error": "'url' field must be a base64 encoded image."})
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise self.error(400, "Invalid 'messages' in payload: tool_call_id is missing")

    async def _load_for_request(self, model: str, ttl: int | None) -> _Instance:
        spec = self._spec(model)
        if spec is None:
            known = ", ".join(self.models)
            raise self.error(
                400,
                f'Invalid model identifier "{model}". Please specify a valid downloaded model (e.g., {known}).',
                "model_not_found",
            )
        if self.auto_evict:
            for instance in list(self.state.instances.values()):
                if instance.ttl is not None and instance.users == 0:
                    del self.state.instances[instance.id]
        return await self._bring(spec, {}, float(ttl) if ttl is not None else _DEFAULT_TTL)

    async def _bring(self, spec: LMStudioModelSpec, options: Mapping[str, Any], ttl: float | None) -> _Instance:
        if spec.load_seconds:
            await self.clock.sleep(spec.load_seconds)
        if spec.load_error:
            raise self.error(500, f"Failed to load model: {spec.load_error}", "model_load_failed")
        name, number = spec.key, 2
        while name in self.state.instances:
            name, number = f"{spec.key}:{number}", number + 1
        config = {"context_length": min(_DEFAULT_CONTEXT, spec.max_context_length)}
        if spec.kind == "llm":
            config |= {"eval_batch_size": 512, "flash_attention": True, "offload_kv_cache_to_gpu": True}
        config |= {key: value for key, value in options.items() if key in config or key == "num_experts"}
        instance = _Instance(name, spec, config, ttl, self.clock.monotonic())
        self.state.instances[name] = instance
        self.state.loads.append(spec.key)
        return instance

    def _spec(self, model: str) -> LMStudioModelSpec | None:
        return next((spec for spec in self.models.values() if model in {spec.key, *spec.variants}), None)

    def _find(self, model: str) -> _Instance | None:
        self._sweep()
        found = self.state.instances.get(model)
        spec = self._spec(model)
        if found is None and spec is not None:
            found = next((one for one in self.state.instances.values() if one.spec is spec), None)
        return found

    def _sweep(self) -> None:
        now = self.clock.monotonic()
        for instance in list(self.state.instances.values()):
            if instance.users == 0 and now - instance.idle_since >= (
                math.inf if instance.ttl is None else instance.ttl
            ):
                del self.state.instances[instance.id]

    async def _openai_models(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        data = [{"id": key, "object": "model", "owned_by": "organization_owner"} for key in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _models(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._sweep()
        return web.json_response({"models": [self._described(spec) for spec in self.models.values()]})

    def _described(self, spec: LMStudioModelSpec) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "type": spec.kind,
            "publisher": "tests",
            "key": spec.key,
            "display_name": spec.key,
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": spec.size_bytes,
            "params_string": None if spec.kind == "embedding" else "1B",
            "loaded_instances": [
                {"id": one.id, "config": one.config} for one in self.state.instances.values() if one.spec is spec
            ],
            "max_context_length": spec.max_context_length,
            "format": "gguf",
        }
        if spec.kind == "llm":
            entry["capabilities"] = {"vision": spec.vision, "trained_for_tool_use": spec.tools}
            if spec.reasoning:
                entry["capabilities"]["reasoning"] = {"allowed_options": ["off", "on"], "default": "on"}
            entry["variants"] = list(spec.variants)
        return entry

    async def _load(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        options = body.get("config", {}) if self.preview else body
        for name, kind in _LOAD_OPTIONS.items():
            value = options.get(name)
            if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
                raise self.error(400, f"'{name}' must be a {kind.__name__}")
        known = {"model", "echo_load_config", *_LOAD_OPTIONS}
        if not self.preview and (unknown := set(body) - known):
            raise self.error(400, f"Unrecognized key(s) in object: {', '.join(sorted(unknown))}", "unrecognized_keys")
        spec = self._spec(str(body.get("model")))
        if spec is None:
            raise self.error(404, f"Model {body.get('model')} not found", "model_not_found")
        begun = self.clock.monotonic()
        instance = await self._bring(spec, options, None)
        seconds = round(self.clock.monotonic() - begun, 3)
        if self.preview:
            answer = {"model_instance_id": instance.id, "config": instance.config, "load_time_seconds": seconds}
            return web.json_response(answer)
        answer = {"type": spec.kind, "instance_id": instance.id, "load_time_seconds": seconds, "status": "loaded"}
        if body.get("echo_load_config"):
            answer["load_config"] = instance.config
        return web.json_response(answer)

    async def _unload(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self._sweep()
        name = body.get("instance_id")
        if not isinstance(name, str) or set(body) != {"instance_id"}:
            raise self.error(400, "'instance_id' is required")
        if self.state.instances.pop(name, None) is None:
            raise self.error(404, f"Model instance {name} not found", "model_not_found")
        return web.json_response({"instance_id": name})

    async def _download(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        model = str(body.get("model"))
        if model in self.models:
            return web.json_response({"status": "already_downloaded"})
        download = self._downloads.get(model)
        if download is None:
            raise self.error(404, f"Model {model} not found", "model_not_found")
        running = [job for job in self._jobs.values() if job.download is download and job.status == "downloading"]
        job = running[0] if running else _Job(f"job_{len(self._jobs) + 1:010x}", download)
        self._jobs[job.id] = job
        return web.json_response(self._reported(job))

    async def _download_status(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        job = self._jobs.get(request.match_info["job_id"])
        if job is None:
            raise self.error(404, "Job not found")
        download = job.download
        if job.status == "downloading" and not (download.stalls and job.step >= 1):
            job.step += 1
            if job.step >= download.steps:
                job.status = "failed" if download.fails else "completed"
                if not download.fails:
                    self.models[download.model.key] = download.model
        return web.json_response(self._reported(job))

    def _reported(self, job: _Job) -> dict[str, Any]:
        size = job.download.model.size_bytes
        return {
            "job_id": job.id,
            "status": job.status,
            "total_size_bytes": size,
            "downloaded_bytes": size * min(job.step, job.download.steps) // job.download.steps,
            "started_at": "2026-10-03T15:33:23.496Z",
        }
