"""Plays Acme for the contract: a real server on 127.0.0.1 that answers what a test has queued."""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from aiohttp import web

from core.llm.testing import ContractUpstream, UpstreamAnswer, UpstreamFailure

REFUSALS = {
    "unauthorised": (401, "invalid_api_key", "the key {secret} is unknown"),
    "rate_limited": (429, "rate_limit_exceeded", "too many requests"),
    "model_not_found": (404, "model_not_found", "there is no such model"),
    "invalid_request": (400, "invalid_request_error", "turns is missing"),
    "server_error": (500, "server_error", "something broke"),
}


class AcmeServer(ContractUpstream):
    """Answers `POST /talk` from a queue and `GET /health` at once."""

    def __init__(self) -> None:
        self._queue: deque[UpstreamAnswer | web.Response] = deque()
        self._received: list[Any] = []
        self._released = asyncio.Event()
        self._open = 0

    async def __aenter__(self) -> Self:
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._server.shutdown(0.1)

    @property
    def received(self) -> Sequence[Any]:
        """The bodies that have arrived."""
        return self._received

    @property
    def open_calls(self) -> int:
        """Requests that are being answered."""
        return self._open

    def answer(self, answer: UpstreamAnswer) -> None:
        """Queue *answer*."""
        self._queue.append(answer)

    def release(self) -> None:
        """Let what is held go on."""
        self._released.set()

    def fail(self, failure: UpstreamFailure, *, secret: str) -> None:
        """Queue a refusal, or stop listening."""
        if failure == "unreachable":
            self._listener.close()
            for connection in self._server.connections:
                connection.force_close()
        elif failure == "not_an_answer":
            self._queue.append(web.Response(text="<html>Sign in</html>", content_type="text/html"))
        else:
            status, code, message = REFUSALS[failure]
            body = {"error": {"code": code, "message": message.format(secret=secret)}}
            headers = {"retry-after": "7"} if failure == "rate_limited" else {}
            self._queue.append(web.json_response(body, status=status, headers=headers))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"ok": True})
        self._open += 1
        try:
            body = await request.json()
            self._received.append(body)
            item = self._queue.popleft()
            if isinstance(item, web.Response):
                return item
            if body["stream"]:
                return await self._stream(request, item)
            return await self._whole(request, item)
        finally:
            self._open -= 1

    async def _whole(self, request: web.BaseRequest, answer: UpstreamAnswer) -> web.StreamResponse:
        if answer.hold_after is not None:
            await self._released.wait()
        body = json.dumps({"model": "acme-large", "said": answer.text, **self._ending(answer)}).encode()
        response = web.StreamResponse()
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body if answer.cut_after is None else body[: len(body) // 2])
        if answer.cut_after is not None and request.transport is not None:
            request.transport.close()
        return response

    async def _stream(self, request: web.BaseRequest, answer: UpstreamAnswer) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        lines = [{"said": piece} for piece in answer.pieces]
        for number, line in enumerate([*lines, self._ending(answer)]):
            if number == answer.hold_after:
                await self._released.wait()
            if number == answer.cut_after:
                break
            await response.write(json.dumps({"model": "acme-large", **line}).encode() + b"\n")
        await response.write_eof()
        return response

    @staticmethod
    def _ending(answer: UpstreamAnswer) -> dict[str, Any]:
        ending: dict[str, Any] = {"end": "full" if answer.finish == "length" else "done"}
        if answer.usage is not None:
            ending["counted"] = {"in": answer.usage.input, "out": answer.usage.output}
        return ending
