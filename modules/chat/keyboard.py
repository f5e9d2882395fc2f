"""Lines from standard input without a thread that would outlive the application."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator


async def lines(descriptor: int | None = None) -> AsyncIterator[str]:
    """Each line of standard input (or *descriptor*) as it is entered; ends at end of file."""
    source = sys.stdin.fileno() if descriptor is None else descriptor
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(source, arrived.set)
    rest = b""
    try:
        while True:
            await arrived.wait()
            arrived.clear()
            data = os.read(source, 65536)
            if not data:
                if rest:
                    yield rest.decode("utf-8", "replace")
                return
            *complete, rest = (rest + data).split(b"\n")
            for line in complete:
                yield line.decode("utf-8", "replace").removesuffix("\r")
    finally:
        loop.remove_reader(source)


async def everything(descriptor: int | None = None) -> str:
    """All of standard input, read off the event loop so that files and pipes work alike."""
    source = sys.stdin.fileno() if descriptor is None else descriptor

    def read() -> bytes:
        pieces = []
        while piece := os.read(source, 65536):
            pieces.append(piece)
        return b"".join(pieces)

    return (await asyncio.to_thread(read)).decode("utf-8", "replace")
