"""A real process, real signals, real exit codes."""

import asyncio
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from injector import singleton

from core.container import Container, SignalsUnavailable
from core.lifecycle import ContainerState

pytestmark = pytest.mark.leakcheck

ROOT = Path(__file__).parents[2]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


class Host:
    """The host process; reading its output says how far it is."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, start: str) -> str:
        """Read on to the line that begins with *start*."""
        while line := (await self.process.stdout.readline()).decode():
            if line.startswith(start):
                return line
        raise AssertionError(f"the host ended without {start!r}:\n{(await self.process.stderr.read()).decode()}")

    async def ended(self) -> tuple[int, str]:
        """Wait for its end; return the exit code, negative for a signal, and what it logged."""
        _, logged = await asyncio.wait_for(self.process.communicate(), 60)
        return self.process.returncode, logged.decode()


@asynccontextmanager
async def host(behaviour: str) -> AsyncIterator[Host]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.lifecycle.host",
        behaviour,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Host(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@SIGNALS
async def test_lc_12_first_signal_stops_cleanly_with_exit_code_0(number: signal.Signals) -> None:
    async with host("clean") as running:
        await running.line("ready")
        running.process.send_signal(number)
        await running.line("stopped")
        code, logged = await running.ended()
    assert code == 0
    assert f"{number.name}: stopping. Once more ends the process at once." in logged


async def test_lc_12_stop_begins_within_50_ms() -> None:
    """The best of several, because the machine of the test may be busy."""
    delays = []
    while not delays or not 0 < min(delays) < 0.05:
        assert len(delays) < 20, f"the quickest of twenty took {min(delays):.3f} s"
        async with host("clean") as running:
            await running.line("ready")
            sent = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            delays.append(float((await running.line("stopping")).split()[1]) - sent)
            await running.ended()


@SIGNALS
@pytest.mark.parametrize("behaviour", ["slow-stop", "blocking-stop", "deaf-stop"])
async def test_lc_12_second_signal_ends_the_process_by_that_signal(behaviour: str, number: signal.Signals) -> None:
    """Even if a component blocks the event loop or is deaf to cancellation.

    A shell shows 143 for SIGTERM and 130 for SIGINT, here -15 and -2.
    """
    async with host(behaviour) as running:
        await running.line("ready")
        running.process.send_signal(number)
        await running.line("stopping")
        await asyncio.sleep(0.1)  # the component is now in the midst of its stop
        sent = time.monotonic()
        running.process.send_signal(number)
        code, _ = await running.ended()
    assert code == -number
    assert time.monotonic() - sent < 20  # its stop would take 30 s


async def test_lc_12_signal_during_the_start_rolls_back_and_exits_0() -> None:
    async with host("slow-start") as running:
        await running.line("starting")
        running.process.send_signal(signal.SIGINT)
        await running.line("stopped")
        code, _ = await running.ended()
    assert code == 0


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("failing-start", "port in use"),
        ("background-failure", "queue is gone"),
        ("missing-binding", "Component   <- not bound; needed by parameter 'component' of Slow"),
    ],
)
async def test_lc_12_exit_code_is_1_after_an_error_that_the_log_names(behaviour: str, said: str) -> None:
    async with host(behaviour) as running:
        code, logged = await running.ended()
    assert code == 1
    assert said in logged


async def test_lc_12_exit_code_is_1_after_a_failed_stop() -> None:
    async with host("failing-stop") as running:
        await running.line("ready")
        running.process.send_signal(signal.SIGTERM)
        code, logged = await running.ended()
    assert code == 1
    assert "disk full" in logged


async def test_lc_13_embedded_container_leaves_the_signal_handlers_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with Container([]):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_lc_13_run_puts_the_handlers_of_before_back() -> None:
    def mine(number: int, frame: object) -> None:
        raise AssertionError("not sent in this test")

    before = signal.signal(signal.SIGTERM, mine)
    try:
        container = Container([])
        running = asyncio.create_task(container.run())
        while container.state is not ContainerState.STARTED:
            await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGTERM) is not mine
        container.lifecycle.request_stop()
        assert await running == 0
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_lc_13_signals_in_another_thread_are_a_clear_error_and_nothing_starts() -> None:
    container = Container([])
    with pytest.raises(SignalsUnavailable, match=r"main thread only.*run\(handle_signals=False\)"):
        _in_thread(lambda: asyncio.run(container.run()))
    assert container.state is ContainerState.NEW


def test_lc_13_another_thread_can_run_without_signals() -> None:
    container = Container([])

    async def main() -> int:
        running = asyncio.create_task(container.run(handle_signals=False))
        while container.state is not ContainerState.STARTED:
            await asyncio.sleep(0)
        await container.stop()
        return await running

    assert _in_thread(lambda: asyncio.run(main())) == 0


def _in_thread(function):
    outcome: list[object] = []

    def call() -> None:
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


async def test_run_reports_a_component_that_found_another_container_stopped(logged: list[str]) -> None:
    """Such an error looks like an interrupted start, and must not end in exit code 0."""
    gone = Container([])
    await gone.stop()

    class Needs:
        async def start(self) -> None:
            gone.get(str)

    assert await Container([lambda binder: binder.bind(Needs, scope=singleton)]).run() == 1
    assert any("nothing can be got from it" in line for line in logged)
