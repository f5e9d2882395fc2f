"""Components that write down what happens to them, and misbehave as told."""

import asyncio
from collections.abc import Awaitable, Callable

Behaviour = Callable[[], Awaitable[None]]


class Component:
    """Writes ``+name`` when started and ``-name`` when stopped, after doing as it is told."""

    def __init__(
        self, name: str, seen: list[str], *, start: Behaviour | None = None, stop: Behaviour | None = None
    ) -> None:
        self.name = name
        self.seen = seen
        self._start = start
        self._stop = stop

    async def start(self) -> None:
        if self._start:
            await self._start()
        self.seen.append(f"+{self.name}")

    async def stop(self) -> None:
        if self._stop:
            await self._stop()
        self.seen.append(f"-{self.name}")


def fails(error: BaseException) -> Behaviour:
    async def behave() -> None:
        raise error

    return behave


async def hangs() -> None:
    await asyncio.Event().wait()


def ignores_cancellation(release: asyncio.Event) -> Behaviour:
    async def behave() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    return behave


def takes(seconds: float) -> Behaviour:
    async def behave() -> None:
        await asyncio.sleep(seconds)

    return behave
