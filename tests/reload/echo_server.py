"""A model server that tells each client which model and which configuration it was asked with, piece by piece."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

PIECES = 12


class EchoServer:
    """Speaks OpenAI's streaming dialect; every piece of an answer is `model@revision` of its own request."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self.url = ""
        self.running = 0
        self.finished = 0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        word = f"{body['model']}@{request.headers.get('x-revision', 'none')} "
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        self.running += 1
        try:
            await response.prepare(request)
            for _ in range(PIECES):
                await response.write(_event({"content": word}))
                await asyncio.sleep(self.gap)
            await response.write(_event({}, "stop") + b"data: [DONE]\n\n")
            self.finished += 1
        finally:
            self.running -= 1
        return response


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"


@asynccontextmanager
async def echo_server(gap: float = 0.03) -> AsyncIterator[EchoServer]:
    """The server on a free port of 127.0.0.1."""
    server = EchoServer(gap)
    app = web.Application()
    app.router.add_post("/chat/completions", server._answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
