"""Real worker processes around an engine that does what a test asks for."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from core.llm.common.clock import Clock
from core.llm.transport.process import Setup, WorkerExit, WorkerObserver, WorkerProcess, WorkerSpec
from core.llm.transport.process_restart import RestartPolicy

FAKE = "tests.workers.fake_worker"
QUICK = RestartPolicy(first_delay=0.02, max_delay=0.5)


class Exits(WorkerObserver, list[WorkerExit]):
    """Every end of a worker that was reported."""

    def ended(self, how: WorkerExit) -> None:
        self.append(how)


@pytest.fixture
def exits() -> Exits:
    """What the observer was told."""
    return Exits()


@pytest.fixture
async def make_worker(exits: Exits) -> AsyncIterator[Callable[..., WorkerProcess]]:
    """Make workers that are closed at the end of the test."""
    made: list[WorkerProcess] = []

    def make(
        *, load: dict[str, Any] | None = None, load_timeout: float = 60.0, clock: Clock | None = None, **fields: Any
    ) -> WorkerProcess:
        spec = WorkerSpec("fake", FAKE, setup=Setup("load", load or {}, load_timeout), restart=QUICK, slots=8)
        worker = WorkerProcess(replace(spec, **fields), observer=exits, clock=clock)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        await worker.close()


@pytest.fixture
def worker(make_worker: Callable[..., WorkerProcess]) -> WorkerProcess:
    """One worker with the usual settings."""
    return make_worker()
