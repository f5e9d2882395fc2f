"""A server that sends far too much, in a process of its own so that its buffers are not ours. Argument: what it sends.

It writes its port and serves until it is killed.
"""

import asyncio
import contextlib
import sys
import zlib
from collections.abc import Iterator

MIB = 2**20
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
FAILED = JSON.replace(b"200 OK", b"500 Broken")
PACKED = JSON.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
EVENTS = JSON.replace(b"application/json", b"text/event-stream")
FIRST = b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def bomb() -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(200):
        yield packer.compress(b" " * MIB)
    yield packer.flush()


def pieces(kind: str) -> Iterator[bytes]:
    """The whole answer, bit by bit."""
    if kind == "header":
        yield b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * (70 * 1024) + b"\r\ncontent-length: 2\r\n\r\n{}"
    elif kind == "bomb":
        yield PACKED
        yield from (chunk(piece) for piece in bomb() if piece)
        yield b"0\r\n\r\n"
    elif kind in {"body", "error"}:
        yield JSON if kind == "body" else FAILED
        yield from [chunk(b" " * MIB)] * 192
    else:
        yield EVENTS + chunk(FIRST)
        piece = b"x" * MIB if kind == "event" else (b": " + b"x" * 8189 + b"\n") * 128
        if kind == "event":
            yield chunk(b"data: ")
        yield from [chunk(piece)] * 300


async def serve(kind: str) -> None:
    """Answer every request with the same flood."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            for piece in pieces(kind):
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
