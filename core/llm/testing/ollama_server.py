"""An Ollama server for tests: the wire of the real one on 127.0.0.1, with scripted models behind it.

It checks requests as the vendor does (types are checked, unknown fields ignored), keeps models in memory for their
`keep_alive`, pulls with progress, verifies blobs, and answers what it is told to, or the user's words.

    async with OllamaServer("tiny") as server:
        server.script(OllamaAnswer("Hello there"))
        client = OllamaClient(lambda: HttpTransport(HttpOptions(server.url)))

No model runs in it: nothing that depends on one (quality, speed, memory) can be learnt from it.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic_core import from_json

from core.llm.common.clock import Clock, SystemClock
from core.llm.testing import ollama_types as types
from core.llm.testing.local_server import LocalServer, PathFailures, Refused, ServerCall
from core.llm.testing.ollama_generation import Generation, vector
from core.llm.testing.ollama_library import Library
from core.llm.testing.ollama_script import OllamaAnswer, OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_store import OllamaStore, context_of
from core.llm.testing.ollama_types import BadRequest, check, check_options

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class OllamaServer(LocalServer):
    """The server. `async with` starts it on a free port of 127.0.0.1 and stops it."""

    def __init__(
        self,
        *models: OllamaModelSpec | str,
        clock: Clock | None = None,
        version: str = "0.33.0",
        api_key: str | None = None,
    ) -> None:
        """With `api_key`, requests without it as bearer token get a 401."""
        super().__init__()
        self.clock = clock or SystemClock()
        self.version = version
        self.api_key = api_key
        self.calls: list[ServerCall] = []
        self.store = OllamaStore(self.clock)
        self.store.add(models)
        self.library = Library(self.store)
        self.open_streams = 0
        """Streams that are being sent at the moment."""
        self._answers: deque[OllamaAnswer] = deque()
        self._vectors: deque[Sequence[Sequence[float]]] = deque()
        self._failures = PathFailures()

    def script(self, *answers: OllamaAnswer) -> None:
        """What the next chat and generate requests get, in order; afterwards the user's words come back."""
        self._answers.extend(answers)

    def script_vectors(self, *vectors: Sequence[Sequence[float]]) -> None:
        """What the next embed requests get, in order, instead of numbers made from the texts."""
        self._vectors.extend(vectors)

    def fail(
        self, path: str, status: int, error: str | bytes, *, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer *times* requests to *path* with *status* and `{"error": error}`; bytes are sent as they are (HTML)."""
        body = error if isinstance(error, bytes) else {"error": error}
        self._failures.order(path, Refused(status, body, headers), times)

    def lose_memory(self) -> None:
        """Nothing is loaded any more."""
        self.store.unload_all()

    def publish(self, *downloads: OllamaDownload | str) -> None:
        """Make models available to `pull`."""
        self.library.publish(*downloads)

    def calls_to(self, path: str) -> list[ServerCall]:
        """The requests to *path* so far."""
        return [call for call in self.calls if call.path == path]

    def route(self, router: web.UrlDispatcher) -> None:
        """Every address of the API."""
        for method, path, shape, handler in self._routes():
            router.add_route(method, path, self._endpoint(shape, handler))
        router.add_route("POST", "/api/blobs/{digest}", self._endpoint(None, self._upload))
        router.add_route("HEAD", "/api/blobs/{digest}", self._endpoint(None, self._blob))
        router.add_route("*", "/{tail:.*}", self._endpoint(None, _not_found))

    def _routes(self) -> list[tuple[str, str, tuple[str, Any] | None, Handler]]:
        return [
            ("POST", "/api/chat", ("ChatRequest", types.CHAT), self._chat),
            ("POST", "/api/generate", ("GenerateRequest", types.GENERATE), self._generate),
            ("POST", "/api/embed", ("EmbedRequest", types.EMBED), self._embed),
            ("POST", "/api/embeddings", ("EmbeddingRequest", types.EMBEDDINGS), self._embeddings),
            ("GET", "/api/tags", None, self.library.tags),
            ("GET", "/api/ps", None, self.library.ps),
            ("POST", "/api/show", ("ShowRequest", types.NAMED), self.library.show),
            ("POST", "/api/pull", ("PullRequest", types.NAMED), self.library.pull),
            ("POST", "/api/push", ("PushRequest", types.NAMED), self.library.push),
            ("POST", "/api/create", ("CreateRequest", types.CREATE), self.library.create),
            ("POST", "/api/copy", ("CopyRequest", types.COPY), self.library.copy),
            ("DELETE", "/api/delete", ("DeleteRequest", types.NAMED), self.library.delete),
            ("GET", "/api/version", None, self._version),
            ("GET", "/api/status", None, _status),
            ("GET", "/", None, _running),
        ]

    def _endpoint(
        self, shape: tuple[str, Any] | None, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            body: dict[str, Any] = {}
            try:
                if shape is not None:
                    body = _decoded(await request.read())
                self.calls.append(ServerCall.of(request, body))
                self._check_access(request)
                if shape is not None:
                    check(body, shape[1], shape[0])
                return await handler(request, body)
            except Refused as refused:
                return refused.response()
            except BadRequest as refused:
                return web.json_response({"error": str(refused)}, status=refused.status)

        return handle

    def _check_access(self, request: web.Request) -> None:
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            raise BadRequest("unauthorized", 401)
        self._failures.check(request.path)

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        messages = body.get("messages") or []
        return await self._infer(request, body, "chat", empty=not messages)

    async def _generate(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await self._infer(request, body, "generate", empty=not body.get("prompt"))

    async def _infer(self, request: web.Request, body: dict[str, Any], kind: str, *, empty: bool) -> web.StreamResponse:
        begun = self.clock.monotonic()
        name = body.get("model") or ""
        spec = self.store.find(name)
        keep_alive = body.get("keep_alive")
        if empty and keep_alive is not None and types.keep_alive_seconds(keep_alive) == 0:
            self.store.expire(spec)
            return Generation(self.clock, body, kind, spec, 0.0).marker("unload")
        _check_capabilities(spec, body, kind)
        check_options(body.get("options") or {})
        _check_loads(spec)
        loaded = self.store.acquire(spec, body.get("options"), keep_alive)
        self.open_streams += 1
        try:
            if loaded and spec.load_seconds:
                await self.clock.sleep(spec.load_seconds)
            generation = Generation(self.clock, body, kind, spec, begun)
            if empty:
                return generation.marker("load")
            return await generation.send(request, self._answers.popleft() if self._answers else None)
        finally:
            self.open_streams -= 1
            self.store.release(spec)

    async def _embed(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        begun = self.clock.monotonic()
        given = body.get("input")
        inputs = [given] if isinstance(given, str) and given else given or []
        if not isinstance(inputs, list) or not all(isinstance(item, str) for item in inputs):
            raise BadRequest("invalid input type")
        spec = self.store.find(body.get("model") or "")
        check_options(body.get("options") or {})
        _check_loads(spec)
        self.store.acquire(spec, body.get("options"), body.get("keep_alive"))
        try:
            limit = context_of(spec, body.get("options"))
            lengths = [len(text.split()) for text in inputs]
            if body.get("truncate") is False and max(lengths, default=0) > limit:
                raise BadRequest("input length exceeds maximum context length")
            made = [vector(text, body.get("dimensions") or spec.dimensions, normalised=True) for text in inputs]
            answer: dict[str, Any] = {
                "model": body["model"],
                "embeddings": self._vectors.popleft() if self._vectors else made,
            }
            if inputs:
                total = int((self.clock.monotonic() - begun) * 1e9) + 1
                counted = sum(min(length, limit) for length in lengths)
                answer.update(total_duration=total, load_duration=1, prompt_eval_count=counted)
            return web.json_response(answer)
        finally:
            self.store.release(spec)

    async def _embeddings(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        spec = self.store.find(body.get("model") or "")
        self.store.acquire(spec, body.get("options"), body.get("keep_alive"))
        self.store.release(spec)
        prompt = body.get("prompt") or ""
        return web.json_response({"embedding": vector(prompt, spec.dimensions) if prompt else []})

    async def _upload(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        return await self.library.upload(request)

    async def _blob(self, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=200 if request.match_info["digest"] in self.store.blobs else 404)

    async def _version(self, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"version": self.version})


async def _status(_request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"cloud": {"disabled": True, "source": "env"}})


async def _running(_request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text="Ollama is running")


async def _not_found(_request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=404, text="404 page not found")


def _decoded(data: bytes) -> dict[str, Any]:
    if not data:
        raise BadRequest("missing request body")
    try:
        value = from_json(data)
    except ValueError as error:
        raise BadRequest(f"invalid character in the request body: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("json: cannot unmarshal the body into Go value of type struct")
    return value


def _check_loads(spec: OllamaModelSpec) -> None:
    if spec.load_error:
        raise BadRequest(spec.load_error, 500)


def _check_capabilities(spec: OllamaModelSpec, body: dict[str, Any], kind: str) -> None:
    name = body["model"]
    if "completion" not in spec.capabilities:
        raise BadRequest(f'"{name}" does not support {kind}')
    if body.get("tools") and "tools" not in spec.capabilities:
        raise BadRequest(f"registry.ollama.ai/library/{spec.name} does not support tools")
    if body.get("think") and "thinking" not in spec.capabilities:
        raise BadRequest(f'"{name}" does not support thinking')
    if body.get("suffix") and "insert" not in spec.capabilities:
        raise BadRequest(f"registry.ollama.ai/library/{spec.name} does not support insert")
