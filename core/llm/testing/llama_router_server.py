"""A llama-server in router mode for tests: its wire on 127.0.0.1, with scripted models behind it.

It loads a model in the background when it is told to, or with the first request for it, makes room by unloading the one
that was used longest ago, and says of each model where it is.

    async with LlamaRouterServer("tiny") as server:
        server.script(OpenAIAnswer("Hello there"))
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from core.llm.common.clock import Clock
from core.llm.testing.local_server import Refused
from core.llm.testing.scripted_openai import Handler, OpenAIAnswer, ScriptedOpenAIServer

__all__ = ["LlamaRouterServer", "OpenAIAnswer", "RouterModelSpec"]


@dataclass(slots=True)
class RouterModelSpec:
    """A file of the folder that the router serves."""

    name: str
    context: int = 4096
    load_seconds: float = 0.0
    load_error: str = ""
    """Set for a model whose process ends while it loads."""


@dataclass(slots=True)
class _Child:
    spec: RouterModelSpec
    task: "asyncio.Task[None]"
    ready: bool = False
    users: int = 0
    last_use: float = 0.0


class LlamaRouterServer(ScriptedOpenAIServer):
    """The server."""

    def __init__(
        self,
        *models: RouterModelSpec | str,
        clock: Clock | None = None,
        api_key: str | None = None,
        models_max: int = 4,
        router: bool = True,
    ) -> None:
        """With `router=False`, a server of one model, which it has loaded at its start."""
        super().__init__(clock=clock, api_key=api_key)
        self.router = router
        self.models_max = models_max
        self.models: dict[str, RouterModelSpec] = {}
        self.loads: list[str] = []
        """Names, in order of loading."""
        self._children: dict[str, _Child] = {}
        self._failed: set[str] = set()
        for model in models:
            spec = RouterModelSpec(model) if isinstance(model, str) else model
            self.models[spec.name] = spec

    def loaded(self) -> list[str]:
        """Names of the models in memory."""
        return [name for name, child in self._children.items() if child.ready]

    def lose_memory(self) -> None:
        """Nothing is loaded any more."""
        for child in self._children.values():
            child.task.cancel()
        self._children.clear()

    async def stop(self) -> None:
        """Stop listening, cut what is open, and end what loads. Idempotent."""
        await super().stop()
        self.lose_memory()

    def routes(self) -> list[tuple[str, str, Handler]]:
        """The list of models, and what manages them."""
        listing: list[tuple[str, str, Handler]] = [
            ("GET", "/models", self._models),
            ("GET", "/v1/models", self._models),
        ]
        if not self.router:
            return listing
        return [*listing, ("POST", "/models/load", self._load), ("POST", "/models/unload", self._unload)]

    def error(self, status: int, message: str, code: str | None = None) -> Refused:
        """An error as llama-server writes it: the code is the status, the type is a word."""
        kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
        kind = code or kinds.get(status, "server_error")
        return Refused(status, {"error": {"code": status, "message": message, "type": kind}})

    def dimensions(self, model: str) -> int:  # noqa: ARG002 - all are alike
        """Length of the vectors."""
        return 4

    async def enter(self, body: dict[str, Any], *, embeds: bool) -> Callable[[], None]:  # noqa: ARG002 - all embed
        """Load the model if nobody has."""
        name = str(body.get("model"))
        if not self.router:
            return _nothing
        if name not in self.models:
            raise self.error(400, f"model '{name}' not found")
        child = self._children.get(name) or self._begin(self.models[name])
        await asyncio.wait([child.task])
        if not child.ready:
            raise self.error(500, f"model name={name} failed to load")
        child.users += 1

        def leave() -> None:
            child.users -= 1
            child.last_use = self.clock.monotonic()

        return leave

    def _begin(self, spec: RouterModelSpec) -> _Child:
        idle = [one for one in self._children.values() if one.ready and not one.users]
        while len(self._children) >= self.models_max and idle:
            oldest = min(idle, key=lambda one: one.last_use)
            idle.remove(oldest)
            del self._children[oldest.spec.name]
        self._failed.discard(spec.name)
        work = asyncio.get_running_loop().create_task(self._bring(spec), name=f"router loads {spec.name}")
        child = self._children[spec.name] = _Child(spec, work, last_use=self.clock.monotonic())
        return child

    async def _bring(self, spec: RouterModelSpec) -> None:
        if spec.load_seconds:
            await self.clock.sleep(spec.load_seconds)
        if spec.load_error:
            self._failed.add(spec.name)
            self._children.pop(spec.name, None)
            return
        self.loads.append(spec.name)
        self._children[spec.name].ready = True

    def _named(self, body: dict[str, Any]) -> RouterModelSpec:
        spec = self.models.get(str(body.get("model")))
        if spec is None:
            raise self.error(404, "model is not found")
        return spec

    async def _load(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        spec = self._named(body)
        if spec.name in self._children:
            raise self.error(400, "model is already loaded")
        self._begin(spec)
        return web.json_response({"success": True})

    async def _unload(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        child = self._children.pop(self._named(body).name, None)
        if child is None:
            raise self.error(400, "model is not loaded")
        child.task.cancel()
        return web.json_response({"success": True})

    async def _models(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [self._line(spec) for spec in self.models.values()]})

    def _line(self, spec: RouterModelSpec) -> dict[str, Any]:
        line: dict[str, Any] = {"id": spec.name, "object": "model", "owned_by": "llamacpp", "created": 1_790_000_000}
        if not self.router:
            return {**line, "meta": {"n_ctx_train": spec.context}}
        child = self._children.get(spec.name)
        value = "unloaded" if child is None else "loaded" if child.ready else "loading"
        status: dict[str, Any] = {"value": value, "args": ["llama-server", "--ctx-size", str(spec.context)]}
        if spec.name in self._failed:
            status |= {"failed": True, "exit_code": 1}
        return {**line, "status": status}


def _nothing() -> None:
    """Its one model stays where it is."""
