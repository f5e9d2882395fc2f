"""A LocalAI server for tests: its wire on 127.0.0.1, with scripted models behind it.

It loads models when they are asked for, says what its backends do, shuts them down when they were idle too long or when
it is told to, and installs and removes models in jobs.

    async with LocalAIServer("tiny") as server:
        server.script(OpenAIAnswer("Hello there"))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from core.llm.common.clock import Clock
from core.llm.testing.local_server import Refused
from core.llm.testing.scripted_openai import Handler, OpenAIAnswer, ScriptedOpenAIServer

__all__ = ["LocalAIModelSpec", "LocalAIOffer", "LocalAIServer", "OpenAIAnswer"]


@dataclass(slots=True)
class LocalAIModelSpec:
    """An installed model."""

    name: str
    capabilities: Sequence[str] = ("chat", "completion")
    context_size: int = 8192
    memory: int = 1_073_741_824
    load_seconds: float = 0.0
    load_error: str = ""
    silent: bool = False
    """Its backend cannot tell its state."""


@dataclass(slots=True)
class LocalAIOffer:
    """A model of the gallery. Each look at the job of its installation is one step."""

    model: LocalAIModelSpec
    gallery: str = "localai"
    steps: int = 4
    error: str = ""
    """Ends the installation at its last step."""
    bytes: int = 0
    """Where it is set, progress is told in bytes as well, as recent servers do."""
    stalls: bool = False
    kept: int = 0
    """Steps that a paused installation has kept."""

    @property
    def id(self) -> str:
        """What an installation names."""
        return f"{self.gallery}@{self.model.name}"


@dataclass(slots=True)
class _Backend:
    spec: LocalAIModelSpec
    idle_since: float
    users: int = 0


@dataclass(slots=True)
class _Job:
    id: str
    offer: LocalAIOffer | None
    deletes: str = ""
    step: int = 0
    processed: bool = False
    message: str = ""
    error: str = ""
    cancelled: bool = False


class LocalAIServer(ScriptedOpenAIServer):
    """The server."""

    def __init__(
        self,
        *models: LocalAIModelSpec | str,
        clock: Clock | None = None,
        api_key: str | None = None,
        admin: bool = True,
        loads: bool = True,
        tokenizes: bool = True,
        capabilities: bool = True,
        pauses: bool = True,
        idle_timeout: float | None = None,
    ) -> None:
        """A key that is no `admin` may not ask about backends; other switches take away what older versions lack."""
        super().__init__(clock=clock, api_key=api_key)
        self.admin = admin
        self.idle_timeout = idle_timeout
        self.models: dict[str, LocalAIModelSpec] = {}
        self.backends: dict[str, _Backend] = {}
        self.loads: list[str] = []
        """Names, in order of loading."""
        self.offers: dict[str, LocalAIOffer] = {}
        self.jobs: dict[str, _Job] = {}
        self._can = {"load": loads, "tokenize": tokenizes, "capabilities": capabilities, "pause": pauses}
        for model in models:
            spec = LocalAIModelSpec(model) if isinstance(model, str) else model
            self.models[spec.name] = spec

    def publish(self, *offers: LocalAIOffer | str) -> None:
        """Make models available in the gallery."""
        for one in offers:
            offer = LocalAIOffer(LocalAIModelSpec(one)) if isinstance(one, str) else one
            self.offers[offer.id] = offer

    def loaded(self) -> list[str]:
        """Names of the models in memory."""
        self._sweep()
        return list(self.backends)

    def lose_memory(self) -> None:
        """Nothing is loaded any more."""
        self.backends.clear()

    def routes(self) -> list[tuple[str, str, Handler]]:
        """LocalAI's own endpoints."""
        optional: list[tuple[str, str, str, Handler]] = [
            ("load", "POST", "/backend/load", self._load),
            ("tokenize", "POST", "/v1/tokenize", self._tokenize),
            ("capabilities", "GET", "/v1/models/capabilities", self._capabilities),
            ("pause", "POST", "/api/operations/{job}/pause", self._pause),
        ]
        return [
            *((method, path, handler) for switch, method, path, handler in optional if self._can[switch]),
            ("GET", "/v1/models", self._models),
            ("GET", "/backend/monitor", self._monitor),
            ("POST", "/backend/shutdown", self._shutdown),
            ("GET", "/system", self._system),
            ("GET", "/models/available", self._available),
            ("POST", "/models/apply", self._apply),
            ("POST", "/models/delete/{name}", self._delete),
            ("GET", "/models/jobs/{job}", self._job),
            ("POST", "/api/operations/{job}/cancel", self._cancel),
        ]

    def error(self, status: int, message: str, code: str | None = None) -> Refused:  # noqa: ARG002 - it has no codes
        """An error as LocalAI writes it: the code is the status."""
        return Refused(status, {"error": {"code": status, "message": message, "type": ""}})

    def dimensions(self, model: str) -> int:  # noqa: ARG002 - all are alike
        """Length of the vectors."""
        return 4

    async def enter(self, body: dict[str, Any], *, embeds: bool) -> Callable[[], None]:
        """Load the model if nobody has."""
        backend = await self._bring(str(body.get("model")))
        if embeds and "embeddings" not in backend.spec.capabilities:
            raise self.error(500, "embeddings are not supported by this model")
        backend.users += 1

        def leave() -> None:
            backend.users -= 1
            backend.idle_since = self.clock.monotonic()

        return leave

    async def _bring(self, model: str) -> _Backend:
        self._sweep()
        found = self.backends.get(model)
        if found is not None:
            return found
        spec = self.models.get(model)
        if spec is None:
            raise self.error(404, f"model {model!r} not found")
        if spec.load_seconds:
            await self.clock.sleep(spec.load_seconds)
        if spec.load_error:
            raise self.error(500, f"failed to load model: {spec.load_error}")
        self.loads.append(model)
        backend = self.backends[model] = _Backend(spec, self.clock.monotonic())
        return backend

    def _sweep(self) -> None:
        if self.idle_timeout is None:
            return
        now = self.clock.monotonic()
        for name, backend in list(self.backends.items()):
            if backend.users == 0 and now - backend.idle_since >= self.idle_timeout:
                del self.backends[name]

    def _for_admins(self) -> None:
        if not self.admin:
            raise self.error(403, "admin access required")

    async def _models(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        data = [{"id": name, "object": "model"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _capabilities(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        data = [
            {
                "id": spec.name,
                "object": "model",
                "capabilities": list(spec.capabilities),
                "input_modalities": ["text", "image"] if "vision" in spec.capabilities else ["text"],
                "output_modalities": ["text"],
                "context_size": spec.context_size,
            }
            for spec in self.models.values()
        ]
        return web.json_response({"object": "list", "data": data})

    async def _load(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        model = body.get("model")
        if not model:
            return web.json_response({"loaded": None, "message": "model is required"}, status=400)
        try:
            await self._bring(str(model))
        except Refused as refused:
            reason = self.models[model].load_error if model in self.models else "model config not found"
            failed = {"loaded": [], "message": f"failed to load model: {reason}"}
            raise Refused(500, failed) from refused
        return web.json_response({"loaded": [model], "message": "model loaded"})

    async def _tokenize(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not isinstance(body.get("content"), str):
            raise self.error(400, "content is required")
        await self._bring(str(body.get("model")))
        return web.json_response({"tokens": [1] * len(body["content"].split())})

    async def _monitor(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        self._sweep()
        model = request.query.get("model", "")
        if not model:
            raise self.error(400, "model query parameter is required")
        backend = self.backends.get(model)
        if backend is None:
            raise self.error(500, f"backend {model} is not currently loaded")
        memory = {"total": backend.spec.memory, "breakdown": {"weights": backend.spec.memory}}
        state = -1 if backend.spec.silent else 1 if backend.users else 2
        return web.json_response({"state": state, "memory": memory})

    async def _shutdown(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        model = str(body.get("model", ""))
        if self.backends.pop(model, None) is None:
            raise self.error(404, f'model "{model}" is not loaded on this instance or on any worker node')
        return web.json_response({"message": "model stopped"})

    async def _system(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        loaded = [{"id": name, "backend": "llama-cpp"} for name in self.loaded()]
        return web.json_response({"backends": ["llama-cpp"], "loaded_models": loaded})

    async def _available(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        listed = [
            {
                "name": offer.model.name,
                "description": "a model for tests",
                "gallery": {"name": offer.gallery, "url": "https://example.invalid/index.yaml"},
                "installed": offer.model.name in self.models,
            }
            for offer in self.offers.values()
        ]
        return web.json_response(listed)

    async def _apply(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        wanted = body.get("id") or body.get("url")
        if not isinstance(wanted, str) or not set(body) <= {"id", "url", "config_url", "name", "overrides", "variant"}:
            raise self.error(400, "id or url is required")
        offer = next((one for one in self.offers.values() if wanted in {one.id, one.model.name}), None)
        job = self._begin(offer)
        if offer is None:
            job.processed, job.error = True, f"no model found with name {wanted!r}"
        else:
            job.step, offer.kept = offer.kept, 0
        return self._begun(job)

    async def _delete(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        return self._begun(self._begin(None, request.match_info["name"]))

    def _begin(self, offer: LocalAIOffer | None, deletes: str = "") -> _Job:
        job = _Job(f"00000000-0000-0000-0000-{len(self.jobs) + 1:012d}", offer, deletes)
        self.jobs[job.id] = job
        return job

    def _begun(self, job: _Job) -> web.StreamResponse:
        return web.json_response({"uuid": job.id, "status": f"{self.url}/models/jobs/{job.id}"})

    async def _job(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._for_admins()
        job = self.jobs.get(request.match_info["job"])
        if job is None:
            raise self.error(500, "could not find any status for ID")
        if not job.processed:
            self._advance(job)
        status: dict[str, Any] = {
            "deletion": bool(job.deletes),
            "file_name": "",
            "processed": job.processed,
            "message": job.message,
            "progress": 0.0,
            "file_size": "",
            "downloaded_size": "",
            "gallery_element_name": job.offer.id if job.offer else job.deletes,
            "cancelled": job.cancelled,
            "cancellable": not job.processed,
        }
        if job.error:
            status["error"] = job.error
        if job.offer is not None:
            status["progress"] = 100.0 * job.step / job.offer.steps
            if job.offer.bytes:
                status |= {
                    "current_bytes": job.offer.bytes * job.step // job.offer.steps,
                    "total_bytes": job.offer.bytes,
                }
        return web.json_response(status)

    def _advance(self, job: _Job) -> None:
        if job.offer is None:
            job.processed, job.message = True, "completed"
            if self.models.pop(job.deletes, None) is None:
                job.error = f"model {job.deletes} not found"
            return
        offer = job.offer
        job.message = f"processing file: {offer.model.name}.gguf"
        if offer.stalls and job.step >= 1:
            return
        job.step += 1
        if job.step >= offer.steps:
            job.processed, job.error, job.message = True, offer.error, "completed"
            if not offer.error:
                self.models[offer.model.name] = offer.model

    async def _pause(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        job = self._stopped(request)
        if job.offer is not None:
            job.offer.kept = job.step
        return web.json_response({"success": True, "message": "Operation paused"})

    async def _cancel(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        self._stopped(request)
        return web.json_response({"success": True, "message": "Operation cancelled"})

    def _stopped(self, request: web.Request) -> _Job:
        self._for_admins()
        job = self.jobs.get(request.match_info["job"])
        if job is None or job.processed:
            raise Refused(400, {"error": "operation not found or not cancellable"})
        job.processed, job.cancelled, job.message = True, True, "cancelled"
        return job
