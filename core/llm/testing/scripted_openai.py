"""What the scripted servers in the OpenAI format share: scripted chat, embeddings, access.

A subclass adds its own endpoints, the models behind them, and what the vendor refuses. No model runs in any of them:
nothing that depends on one (quality, speed, memory) can be learnt here.
"""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic_core import from_json, to_json

from core.llm.common.clock import Clock, SystemClock
from core.llm.testing.local_server import LocalServer, PathFailures, Refused, ServerCall

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class OpenAIAnswer:
    """What the server says to one chat request."""

    text: str = "Hello there"
    """One frame per word of a stream."""
    thinking: str = ""
    tool_calls: Sequence[tuple[str, str]] = ()
    """Name and arguments of each call."""
    finish: str | None = None
    hold: asyncio.Event | None = None
    """Wait for this after the first frame of text (before the answer, where it is no stream)."""
    cut: bool = False
    """End a stream without its finish."""


class ScriptedOpenAIServer(LocalServer):
    """The server. `async with` starts it on a free port of 127.0.0.1 and stops it."""

    reasoning_field = "reasoning_content"

    def __init__(self, *, clock: Clock | None = None, api_key: str | None = None) -> None:
        """With `api_key`, requests without it as bearer token get a 401."""
        super().__init__()
        self.clock = clock or SystemClock()
        self.api_key = api_key
        self.calls: list[ServerCall] = []
        self.open_calls = 0
        """Requests that are being served at the moment."""
        self._answers: deque[OpenAIAnswer] = deque()
        self._failures = PathFailures()

    @abstractmethod
    def routes(self) -> list[tuple[str, str, Handler]]:
        """The endpoints beside chat and embeddings: method, path, handler."""

    @abstractmethod
    def error(self, status: int, message: str, code: str | None = None) -> Refused:
        """An error in the words of this vendor."""

    @abstractmethod
    async def enter(self, body: dict[str, Any], *, embeds: bool) -> Callable[[], None]:
        """Check the request as the vendor does and load its model if nobody has; returns what ends its use."""

    @abstractmethod
    def dimensions(self, model: str) -> int:
        """Length of the vectors of *model*."""

    def script(self, *answers: OpenAIAnswer) -> None:
        """What the next chat requests get, in order; afterwards `Hello there`."""
        self._answers.extend(answers)

    def fail(
        self, path: str, status: int, body: Any, *, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer *times* requests to *path* with *status* and *body*; bytes are sent as they are (HTML)."""
        self._failures.order(path, Refused(status, body, headers), times)

    def calls_to(self, path: str) -> list[ServerCall]:
        """The requests to *path* so far."""
        return [call for call in self.calls if call.path == path]

    def route(self, router: web.UrlDispatcher) -> None:
        """Chat, embeddings, the endpoints of the vendor, and an error for every other address."""
        own = [("POST", "/v1/chat/completions", self._chat), ("POST", "/v1/embeddings", self._embed)]
        for method, path, handler in [*own, *self.routes()]:
            router.add_route(method, path, self._endpoint(handler))
        router.add_route("*", "/{tail:.*}", self._endpoint(self.unknown))

    async def unknown(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:  # noqa: ARG002 - a handler
        """What a request to an address that does not exist gets."""
        raise self.error(404, "Not Found")

    def _endpoint(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.open_calls += 1
            try:
                body = self._decoded(await request.read())
                self.calls.append(ServerCall.of(request, body))
                self._check_access(request)
                return await handler(request, body)
            except Refused as refused:
                return refused.response()
            finally:
                self.open_calls -= 1

        return handle

    def _decoded(self, data: bytes) -> dict[str, Any]:
        if not data:
            return {}
        try:
            value = from_json(data)
        except ValueError:
            raise self.error(400, "the body is not valid JSON") from None
        if not isinstance(value, dict):
            raise self.error(400, "the body is no object")
        return value

    def _check_access(self, request: web.Request) -> None:
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            raise self.error(401, "an API token is required", "invalid_api_key")
        self._failures.check(request.path)

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        leave = await self.enter(body, embeds=False)
        try:
            answer = self._answers.popleft() if self._answers else OpenAIAnswer()
            if body.get("stream") is True:
                return await self._stream(request, body, answer)
            if answer.hold is not None:
                await answer.hold.wait()
            return web.json_response(self._whole(body, answer))
        finally:
            leave()

    def _whole(self, body: dict[str, Any], answer: OpenAIAnswer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "tool_calls": _calls(answer)}
        if answer.thinking:
            message[self.reasoning_field] = answer.thinking
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}],
            "usage": _usage(answer),
        }

    async def _stream(self, request: web.Request, body: dict[str, Any], answer: OpenAIAnswer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        async def send(choices: list[dict[str, Any]], **more: Any) -> None:
            chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": body["model"], "choices": choices}
            await response.write(b"data: " + to_json({**chunk, **more}) + b"\n\n")

        def delta(finish: str | None = None, **fields: Any) -> list[dict[str, Any]]:
            return [{"index": 0, "delta": fields, "finish_reason": finish}]

        await send(delta(role="assistant"))
        if answer.thinking:
            await send(delta(**{self.reasoning_field: answer.thinking}))
        for number, word in enumerate(answer.text.split(" ") if answer.text else ()):
            await send(delta(content=word if number == 0 else f" {word}"))
            if number == 0 and answer.hold is not None:
                await answer.hold.wait()
        for index, call in enumerate(_calls(answer)):
            await send(delta(tool_calls=[{**call, "index": index}]))
        if not answer.cut:
            await send(delta(_finish(answer)))
            if (body.get("stream_options") or {}).get("include_usage"):
                await send([], usage=_usage(answer))
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _embed(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        texts = body.get("input")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise self.error(400, "'input' must be a string or a list of strings")
        leave = await self.enter(body, embeds=True)
        try:
            length = self.dimensions(body["model"])
            data = [
                {"object": "embedding", "index": index, "embedding": [float(len(text) + n) for n in range(length)]}
                for index, text in enumerate(texts)
            ]
            usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
            return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})
        finally:
            leave()


def _calls(answer: OpenAIAnswer) -> list[dict[str, Any]]:
    # Numbers as ids, as LM Studio makes them.
    return [
        {"type": "function", "id": f"{163_453_437 + n}", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(answer.tool_calls)
    ]


def _finish(answer: OpenAIAnswer) -> str:
    return answer.finish or ("tool_calls" if answer.tool_calls else "stop")


def _usage(answer: OpenAIAnswer) -> dict[str, int]:
    words = len(answer.text.split()) + len(answer.thinking.split())
    return {"prompt_tokens": 7, "completion_tokens": words, "total_tokens": 7 + words}
