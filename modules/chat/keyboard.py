"""Standard input without a thread that would outlive the application."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

_PIECE = 65536


async def lines(descriptor: int | None = None) -> AsyncIterator[str]:
    """Each line of standard input (or *descriptor*) as it is entered; ends at end of file."""
    rest = b""
    async for data in _pieces(_source(descriptor)):
        *complete, rest = (rest + data).split(b"\n")
        for line in complete:
            yield line.decode("utf-8", "replace").removesuffix("\r")
    if rest:
        yield rest.decode("utf-8", "replace")


async def everything(descriptor: int | None = None) -> str:
    """All of standard input (or *descriptor*), to its end; empty where there is none."""
    if descriptor is None and sys.stdin is None:
        return ""
    return b"".join([data async for data in _pieces(_source(descriptor))]).decode("utf-8", "replace")


def is_terminal() -> bool:
    """Whether a person can type; a closed standard input is none."""
    return sys.stdin is not None and sys.stdin.isatty()


def _source(descriptor: int | None) -> int:
    return sys.stdin.fileno() if descriptor is None else descriptor


async def _pieces(source: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    try:
        loop.add_reader(source, arrived.set)
    except PermissionError:
        # A regular file cannot be waited for, and need not be: reading it does not block for long.
        while data := await asyncio.to_thread(os.read, source, _PIECE):
            yield data
        return
    try:
        while True:
            await arrived.wait()
            arrived.clear()
            data = os.read(source, _PIECE)
            if not data:
                return
            yield data
    finally:
        loop.remove_reader(source)
