"""A model server as a process of its own, so that it can be killed: answers at once, or word by word as a stream.

Arguments: the port, and the word that its answers consist of.
"""

import asyncio
import sys

from aiohttp import web

from core.llm.testing.wire_dialects import openai_answer, openai_stream

WORDS = 8


async def answer(request: web.Request) -> web.StreamResponse:
    """Speak OpenAI's chat dialect."""
    body = await request.json()
    text = " ".join([sys.argv[2]] * WORDS)
    await asyncio.sleep(0.01)
    if not body.get("stream"):
        return web.Response(body=openai_answer(text), content_type="application/json")
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for frame in openai_stream(text):
        await response.write(frame)
        await asyncio.sleep(0.01)
    return response


async def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_post("/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), reuse_address=True).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
