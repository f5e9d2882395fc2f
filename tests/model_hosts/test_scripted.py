"""The model host contract on a provider that has only the four methods of a `ModelHost`."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from core.llm.testing import ModelHostBench, ModelHostContract
from tests.model_hosts.scripted_host import MACHINE, MACHINES, Machine

ADDRESS = "http://machine.test"


class MachineBench(ModelHostBench):
    """A machine that is not there, so that nothing but the library is in play."""

    plugins = (MACHINE,)

    def __init__(self) -> None:
        self.machine = MACHINES[ADDRESS] = Machine(("a", "b", "c", "broken"), broken={"broken"})

    def entry(self) -> dict[str, Any]:
        return {"type": "machine", "base_url": ADDRESS, "models": list(self.machine.models)}

    def loads(self) -> Sequence[str]:
        return self.machine.loads

    def in_memory(self) -> set[str]:
        return set(self.machine.loaded)

    def slow(self, seconds: float) -> None:
        self.machine.seconds = seconds

    def mend(self) -> None:
        self.machine.broken.clear()

    def hold(self, streams: int) -> Callable[[], None]:
        self.machine.held = streams
        self.machine.go = asyncio.Event()
        return self.machine.go.set

    async def die(self, model: str) -> None:
        self.machine.loaded.clear()
        self.machine.deaths += 1
        self.machine.go.set()


@pytest.mark.leakcheck
class TestScripted(ModelHostContract):
    """No placement, no listing of what is loaded, no keeping: the smallest host."""

    @pytest.fixture
    def bench(self) -> Iterator[ModelHostBench]:
        yield MachineBench()
        MACHINES.clear()
