"""A server in the OpenAI format, played on a real socket for the provider contract."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from aiohttp import web

from core.llm.common.types import Usage
from core.llm.testing import ContractUpstream, UpstreamAnswer, UpstreamFailure
from core.llm.testing.contract_upstream import RETRY_AFTER

Answering = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class OpenAIUpstream(ContractUpstream):
    """Answers in order of arrival."""

    def __init__(self) -> None:
        self._received: list[Any] = []
        self.authorisations: list[str | None] = []
        self._queue: deque[Answering] = deque()
        self._open = 0
        self._gate = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/{what:.*}", self._post)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @property
    def received(self) -> Sequence[Any]:
        return self._received

    @property
    def open_calls(self) -> int:
        return self._open

    def answer(self, answer: UpstreamAnswer) -> None:
        async def play(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            return await (self._stream if body.get("stream") else self._whole)(request, answer)

        self._queue.append(play)

    def answer_vectors(self, vectors: Sequence[Sequence[float]]) -> None:
        data = [{"index": index, "embedding": list(vector)} for index, vector in enumerate(vectors)]

        async def play(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
            return web.json_response({"data": data[::-1], "usage": {"prompt_tokens": 3, "total_tokens": 3}})

        self._queue.append(play)

    def fail(self, failure: UpstreamFailure, *, secret: str) -> None:
        if failure == "unreachable":
            self._down = asyncio.ensure_future(self._stop())
            return
        status, headers, error = {
            "unauthorised": (401, {}, {"message": f"Incorrect API key provided: {secret}.", "code": "invalid_api_key"}),
            "rate_limited": (
                429,
                {"Retry-After": f"{RETRY_AFTER:g}"},
                {"message": "slow down", "code": "rate_limit_exceeded"},
            ),
            "model_not_found": (404, {}, {"message": "no such model", "code": "model_not_found"}),
            "invalid_request": (400, {}, {"message": "what?", "type": "invalid_request_error"}),
            "server_error": (500, {}, {"message": "it broke"}),
            "not_an_answer": (200, {}, {}),
        }[failure]

        async def play(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
            if failure == "not_an_answer":
                return web.Response(text="<html>Log in</html>", content_type="text/html")
            return web.json_response({"error": error}, status=status, headers=headers)

        self._queue.append(play)

    def release(self) -> None:
        self._gate.set()

    async def _models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "contract-model"}]})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self._received.append(body)
        self.authorisations.append(request.headers.get("Authorization"))
        play = self._queue.popleft()
        self._open += 1
        try:
            return await play(request, body)
        finally:
            self._open -= 1

    async def _whole(self, request: web.Request, answer: UpstreamAnswer) -> web.StreamResponse:
        if answer.hold_after is not None:
            await self._gate.wait()
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.thinking:
            message["reasoning_content"] = answer.thinking
        if answer.tool_calls:
            message["tool_calls"] = _calls(answer)
        body: dict[str, Any] = {
            "id": "c",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": _finish(answer)}],
        }
        if answer.usage is not None:
            body["usage"] = _usage(answer.usage)
        data = json.dumps(body).encode()
        if answer.cut_after is not None:
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            return _cut(request, response)
        return web.Response(body=data, content_type="application/json")

    async def _stream(self, request: web.Request, answer: UpstreamAnswer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(delta: dict[str, Any], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            await response.write(
                b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode() + b"\n\n"
            )

        await send({"role": "assistant"})
        if answer.thinking:
            await send({"reasoning_content": answer.thinking})
        for number, piece in enumerate(answer.pieces):
            if number == answer.hold_after:
                await self._gate.wait()
            if number == answer.cut_after:
                return _cut(request, response)
            await send({"content": piece})
        for index, call in enumerate(_calls(answer)):
            await send({"tool_calls": [{**call, "index": index}]})
        await send({}, _finish(answer))
        if answer.usage is not None:
            tail = {"choices": [], "usage": _usage(answer.usage)}
            await response.write(b"data: " + json.dumps(tail).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response


def _finish(answer: UpstreamAnswer) -> str:
    return "tool_calls" if answer.tool_calls else answer.finish


def _calls(answer: UpstreamAnswer) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json()}}
        for call in answer.tool_calls
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
