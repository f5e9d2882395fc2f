"""An OpenAI server for tests: Chat Completions, Responses, embeddings and the model list, as OpenAI and as Azure.

It refuses what the vendor refuses, in the vendor's words: unknown fields, tool calls without results, parameters that a
model family does not take, encrypted reasoning that it has not handed out. It answers what it is told to, or the user's
words, at these addresses:

    /v1/...                                          OpenAI; the key as bearer token
    /openai/v1/...                                   Azure; the key in `api-key`, or a bearer token
    /openai/deployments/NAME/...?api-version=DATE    Azure before v1, and /openai/responses?api-version=DATE

    async with OpenAIServer() as server:
        server.script(OpenAIAnswer("Hello there"))
        provider = OpenAIProvider(OpenAIConfig(base_url=server.url), ...)

What models know of a parameter is a table of families (`openai_rules.FAMILIES`); no model runs in it.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web
from pydantic_core import from_json

from core.llm.testing.local_server import LocalServer, ServerCall
from core.llm.testing.openai_answers import (
    OpenAIAnswer,
    chat_answer,
    chat_frames,
    response_answer,
    response_frames,
    response_items,
)
from core.llm.testing.openai_requests import check_chat, check_embeddings, check_responses
from core.llm.testing.openai_rules import Refused

_ENCRYPTED: Final = "reasoning.encrypted_content"


class OpenAIServer(LocalServer):
    """The server. `async with` starts it on a free port of 127.0.0.1 and stops it."""

    def __init__(
        self,
        *models: str,
        api_key: str | None = None,
        deployments: Mapping[str, str] | None = None,
        dimensions: int = 4,
    ) -> None:
        """With *models* or *deployments* (name and model) there are no others; with *api_key* it is asked for."""
        super().__init__()
        self.calls: list[ServerCall] = []
        self.api_key = api_key
        self._models = models
        self._deployments = dict(deployments or {})
        self._dimensions = dimensions
        self._answers: deque[OpenAIAnswer] = deque()
        self._failures: deque[web.Response] = deque()
        self._issued: set[str] = set()

    @property
    def url(self) -> str:
        """What an OpenAI client calls `base_url`."""
        return f"{self.root}/v1"

    def script(self, *answers: OpenAIAnswer) -> None:
        """What the next chat requests of either endpoint get, in order; afterwards the user's words come back."""
        self._answers.extend(answers)

    def fail(self, status: int, error: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next request with *status* and `{"error": error}`; bytes are sent as plain text."""
        if isinstance(error, bytes):
            self._failures.append(web.Response(status=status, body=error, headers={"content-type": "text/plain"}))
        else:
            self._failures.append(web.json_response({"error": error}, status=status, headers=headers))

    def route(self, router: web.UrlDispatcher) -> None:
        """One handler for all addresses: what they mean depends on the scheme."""
        router.add_route("*", "/{tail:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body: Any = None
        try:
            if request.method == "POST":
                body = _decoded(await request.read())
            self.calls.append(ServerCall.of(request, body))
            endpoint, azure, deployment = self._route(request)
            self._check_key(request, azure=azure)
            if self._failures:
                return self._failures.popleft()
            if endpoint == "models":
                return web.json_response({"object": "list", "data": [_model(name) for name in self._names()]})
            model = self._model_of(body, deployment, azure=azure)
            match endpoint:
                case "chat/completions":
                    return await self._chat(request, body, model, azure=azure)
                case "responses":
                    return await self._responses(request, body, model)
                case _:
                    return self._embed(body, model)
        except Refused as refused:
            return web.json_response({"error": refused.error}, status=refused.status)

    def _route(self, request: web.Request) -> tuple[str, bool, str | None]:
        """Endpoint, whether it is Azure's, and the deployment in the path."""
        path, endpoints = request.path, {"chat/completions", "responses", "embeddings"}
        known = {"models"} if request.method == "GET" else endpoints
        for prefix, azure in (("/openai/v1/", True), ("/v1/", False)):
            if path.startswith(prefix) and path.removeprefix(prefix) in known:
                return path.removeprefix(prefix), azure, None
        version = request.query.get("api-version", "")
        if version[:2] == "20" and path.startswith("/openai/"):
            rest = path.removeprefix("/openai/")
            if rest in known & {"responses", "models"}:
                return rest, True, None
            name, _, endpoint = rest.removeprefix("deployments/").partition("/")
            if rest.startswith("deployments/") and endpoint in known - {"responses"}:
                return endpoint, True, name
        raise Refused("Resource not found", code="404", status=404)

    def _check_key(self, request: web.Request, *, azure: bool) -> None:
        if self.api_key is None:
            return
        given = request.headers.get("authorization") == f"Bearer {self.api_key}"
        if not given and not (azure and request.headers.get("api-key") == self.api_key):
            raise Refused("Incorrect API key provided.", code="invalid_api_key", status=401)

    def _names(self) -> Iterable[str]:
        return self._models or tuple(self._deployments.values())

    def _model_of(self, body: dict[str, Any], deployment: str | None, *, azure: bool) -> str:
        """The model that is meant."""
        name = deployment or str(body.get("model"))
        if azure and self._deployments:
            if name not in self._deployments:
                text = "The API deployment for this resource does not exist."
                raise Refused(text, code="DeploymentNotFound", status=404)
            return self._deployments[name]
        if self._models and name not in self._models:
            text = f"The model `{name}` does not exist or you do not have access to it."
            raise Refused(text, "model", "model_not_found", 404)
        return name

    async def _chat(self, request: web.Request, body: dict[str, Any], model: str, *, azure: bool) -> web.StreamResponse:
        check_chat({**body, "model": model})
        answer = self._next(body["messages"][-1].get("content"))
        if not body.get("stream"):
            return web.json_response(chat_answer(answer, model, azure=azure))
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return await _stream(request, chat_frames(answer, model, azure=azure, usage=usage))

    async def _responses(self, request: web.Request, body: dict[str, Any], model: str) -> web.StreamResponse:
        check_responses({**body, "model": model}, self._issued.__contains__)
        said = body["input"]
        answer = self._next(said if isinstance(said, str) else said[-1].get("content") or said[-1].get("output"))
        encrypted = None
        if answer.reasoning and _ENCRYPTED in (body.get("include") or ()):
            encrypted = "gAAAA" + hashlib.blake2s(f"{len(self._issued)}:{answer.reasoning}".encode()).hexdigest()
            self._issued.add(encrypted)
        items = response_items(answer, encrypted)
        if not body.get("stream"):
            return web.json_response(response_answer(answer, model, items))
        return await _stream(request, response_frames(answer, model, items))

    def _embed(self, body: dict[str, Any], model: str) -> web.StreamResponse:
        check_embeddings({**body, "model": model})
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        size = body.get("dimensions") or self._dimensions
        data = [
            {"object": "embedding", "index": n, "embedding": [len(text) / (place + 1) for place in range(size)]}
            for n, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return web.json_response({"object": "list", "data": data, "model": model, "usage": usage})

    def _next(self, said: Any) -> OpenAIAnswer:
        if self._answers:
            return self._answers.popleft()
        if isinstance(said, list):
            said = " ".join(part.get("text", "") for part in said if isinstance(part, dict))
        return OpenAIAnswer(said or "ok")


async def _stream(request: web.Request, frames: Iterable[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    for frame in frames:
        await response.write(frame)
    await response.write_eof()
    return response


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        value = from_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused("We could not parse the JSON body of your request.")
    return value


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "system"}
