"""A host application with one component, as a process of its own. Its argument says how the component behaves."""

import asyncio
import sys
import time
from contextlib import suppress

from injector import Binder, inject, singleton

from core.container import Container
from core.lifecycle import Lifecycle


def tell(*words: object) -> None:
    """Write a line for the test that waits for it."""
    print(*words, flush=True)


class Component:
    stop_timeout = 20

    @inject
    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.behaviour = sys.argv[1]

    async def start(self) -> None:
        if self.behaviour == "failing-start":
            raise OSError("port in use")
        if self.behaviour == "background-failure":
            self.lifecycle.spawn(self._fail, name="consumer", on_failure="stop_container")
        tell("started")

    async def stop(self) -> None:
        tell("stopping", time.monotonic())
        if self.behaviour == "failing-stop":
            raise OSError("disk full")
        if self.behaviour == "slow-stop":
            await asyncio.sleep(30)
        if self.behaviour == "blocking-stop":
            time.sleep(30)
        while self.behaviour == "deaf-stop":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
        tell("stopped")

    async def _fail(self) -> None:
        raise OSError("queue is gone")


class Slow:
    """Started after Component; the signal comes while it starts."""

    @inject
    def __init__(self, component: Component) -> None:
        self.component = component

    async def start(self) -> None:
        if self.component.behaviour == "slow-start":
            tell("starting")
            await asyncio.sleep(30)
        tell("ready")


def module(binder: Binder) -> None:
    """Bind the component and the one that depends on it."""
    if sys.argv[1] != "missing-binding":
        binder.bind(Component, scope=singleton)
    binder.bind(Slow, scope=singleton)


if __name__ == "__main__":
    sys.exit(asyncio.run(Container([module]).run()))
