"""Any sequence of joining, leaving, answering and failing: one request under way for each meaning, nobody forgotten."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.llm.common.exceptions import ProviderError
from core.llm.testing import Gate
from tests.unit.pipeline.caching import USAGE, Caching, read
from tests.unit.pipeline.support import an_error


@dataclass
class Running:
    """One request under way, as the test believes it to be."""

    gate: Gate
    text: str
    fails: bool
    waiting: list[asyncio.Task[Any]] = field(default_factory=list)


class SingleFlightMachine(RuleBasedStateMachine):
    """Calls by three users, who ask the same thing each."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = self.run(self._world())
        self.running: dict[tuple[str, str], Running] = {}
        self.begun = 0

    async def _world(self) -> Caching:
        return Caching(ttl="1ms")

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def settle(self) -> None:
        self.run(self.world.clock.settle())

    @rule(user=st.sampled_from("abc"), mode=st.sampled_from(["generate", "stream"]), fails=st.booleans())
    def ask(self, user: str, mode: str, fails: bool) -> None:
        """A further call: it joins the one under way, or begins a new one."""
        entry = self.running.get((user, mode))
        if entry is None:
            self.begun += 1
            entry = self.running[user, mode] = Running(Gate(), f"answer {self.begun}", fails)
            ending = an_error() if fails else entry.text
            self.world.provider.will_stream(entry.gate, ending, usage=USAGE)

        async def begin() -> asyncio.Task[Any]:
            return asyncio.create_task(read(self.world.shared, self.world.call(mode, user=user)))

        entry.waiting.append(self.run(begin()))
        self.settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), place=st.integers(0, 9))
    def leave(self, data: st.DataObject, place: int) -> None:
        """One of those who wait is cancelled."""
        key = data.draw(st.sampled_from(sorted(self.running)))
        entry = self.running[key]
        task = entry.waiting.pop(place % len(entry.waiting))
        task.cancel()
        self.settle()
        assert task.cancelled()
        if not entry.waiting:
            del self.running[key]

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """The model answers, or fails; everybody who waits hears of it."""
        key = data.draw(st.sampled_from(sorted(self.running)))
        entry = self.running.pop(key)
        entry.gate.open()
        self.settle()
        results = self.run(_gathered(entry.waiting))
        if entry.fails:
            assert all(isinstance(result, ProviderError) for result in results)
            return
        assert [result[0].content for result in results] == [entry.text] * len(results)
        assert sum(not result[0].cached for result in results) == 1, "exactly one of them pays"
        self.run(self.world.clock.advance(1))  # what was kept is too old now

    @invariant()
    def one_request_for_each_meaning(self) -> None:
        """As many are under way as somebody waits for."""
        assert self.world.sent == self.begun
        assert self.world.provider.script.active == len(self.running)
        assert len(self.world.flights) == len(self.running)

    def teardown(self) -> None:
        tasks = [task for entry in self.running.values() for task in entry.waiting]
        for task in tasks:
            task.cancel()
        self.run(_gathered(tasks))
        self.settle()
        assert self.world.provider.script.active == 0
        self.loop.close()


async def _gathered(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


SingleFlightMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.hypothesis
class TestF102(SingleFlightMachine.TestCase):  # type: ignore[name-defined,misc]  # a class that hypothesis makes
    """F102 for any sequence of events."""

    def test_f102_g23_any_sequence(self) -> None:
        """Joining, leaving, answering and failing in any order."""
        self.runTest()
        run: Callable[[], None] = self.runTest
        run()
