"""A server in a process of its own that holds many calls at once: OpenAI's chat format, prepared once.

Arguments: seconds before an answer, pieces of a stream, seconds between two of them. It prints its port, serves until its
standard input closes, and prints how many requests it has answered.
"""

import asyncio
import random
import sys

from core.llm.testing.wire_dialects import openai_answer, openai_chunk, openai_stream

WORDS = 8
TEXT = " ".join(["word"] * WORDS)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> bytes:
    """*data* in HTTP's chunked framing."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server(asyncio.Protocol):
    """One connection."""

    delay = 0.0
    pieces = 0
    gap = 0.0
    served = 0
    rng = random.Random(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            head, found, rest = self.received.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            body, self.received = rest[:length], rest[length:]
            loop = asyncio.get_running_loop()
            if b'"stream":true' in body.replace(b" ", b""):
                loop.call_later(self.delay, self.begin)
            else:
                loop.call_later(self.delay, self.answer)

    def answer(self) -> None:
        body = openai_answer(TEXT)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)
        Server.served += 1

    def begin(self) -> None:
        self.transport.write(_STREAM_HEAD + chunked(openai_chunk({"role": "assistant", "content": ""})))
        self.piece(0)

    def piece(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if number < self.pieces:
            self.transport.write(chunked(openai_chunk({"content": "word "})))
            # Models do not write in step: without jitter all streams would bring their next piece at the same moment.
            pause = self.gap * self.rng.uniform(0.5, 1.5)
            asyncio.get_running_loop().call_later(pause, self.piece, number + 1)
            return
        self.transport.write(b"".join(map(chunked, openai_stream("")[1:])) + b"0\r\n\r\n")
        Server.served += 1


async def serve() -> None:
    """Serve until nobody holds the other end of standard input."""
    Server.delay, Server.pieces, Server.gap = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(Server.served, flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
