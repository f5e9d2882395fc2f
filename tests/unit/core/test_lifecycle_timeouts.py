"""No hook can hang the start or the stop of the others."""

import asyncio
import time

import pytest

from core.lifecycle import Hook, HookFinished, HookTimeout, Lifecycle
from tests.unit.core.components import Component, fails, hangs, ignores_cancellation, takes

pytestmark = pytest.mark.leakcheck


async def test_lc_04_slow_start_is_cancelled_named_and_rolled_back() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.append(Hook("B", hangs, start_timeout=0.05))
    began = time.monotonic()

    with pytest.raises(
        HookTimeout, match=r"B did not start within 0\.05 s; it was waiting in .*wait.*start_timeout"
    ) as caught:
        await lifecycle.start()

    assert time.monotonic() - began < 12
    assert (caught.value.hook, caught.value.phase, caught.value.abandoned) == ("B", "start", False)
    assert seen == ["+A", "-A"]


async def test_lc_04_default_limits_are_15_s_to_start_and_10_s_to_stop() -> None:
    assert (Hook("x").start_timeout, Hook("x").stop_timeout) == (15, 10)


async def test_lc_04_total_start_budget_bounds_the_sum() -> None:
    lifecycle = Lifecycle(start_timeout=0.1)
    for name in "ABCD":
        lifecycle.append(Hook(name, takes(0.04)))
    with pytest.raises(HookTimeout, match=r"^[A-D] did not start"):  # C, where the machine is quick
        await lifecycle.start()


async def test_lc_04_start_that_succeeds_in_spite_of_its_cancellation_is_stopped_again() -> None:
    seen: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("connected anyway")

    async def stop() -> None:
        seen.append("closed")

    lifecycle = Lifecycle()
    lifecycle.append(Hook("A", stubborn, stop, start_timeout=0.02))
    with pytest.raises(HookTimeout):
        await lifecycle.start()
    assert seen == ["connected anyway", "closed"]


async def test_lc_05_hanging_stop_is_cancelled_and_the_others_are_stopped() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.append(Hook("B", on_stop=hangs, stop_timeout=0.05))
    lifecycle.adopt("C", Component("C", seen))
    await lifecycle.start()

    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()

    assert [str(error).split(";")[0] for error in caught.value.exceptions] == ["B did not stop within 0.05 s"]
    assert seen == ["+A", "+C", "-C", "-A"]


async def test_lc_06_stop_that_swallows_its_cancellation_is_abandoned_and_logged(logged: list[str]) -> None:
    """It costs its own limit and the grace of 0.2 s, and the log says where it hangs."""
    seen: list[str] = []
    release = asyncio.Event()
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.append(Hook("B", on_stop=ignores_cancellation(release), stop_timeout=0.1))
    await lifecycle.start()
    began = time.monotonic()

    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()

    assert 0.3 <= time.monotonic() - began < 30
    assert caught.value.exceptions[0].abandoned
    assert seen == ["+A", "-A"]
    report = next(line for line in logged if "is abandoned" in line)
    assert report.startswith("ERROR B: stop()")
    assert "components.py" in report
    release.set()


async def test_lc_07_every_failed_stop_is_in_one_group_with_its_name() -> None:
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", [], stop=fails(OSError("a"))))
    lifecycle.adopt("B", Component("B", []))
    lifecycle.adopt("C", Component("C", [], stop=fails(ValueError("c"))))
    await lifecycle.start()

    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()

    assert [(type(error), error.__notes__) for error in caught.value.exceptions] == [
        (ValueError, ["(stopping C)"]),
        (OSError, ["(stopping A)"]),
    ]


async def test_lc_14_total_stop_budget_bounds_the_sum_but_skips_nobody() -> None:
    """Three hooks of 10 s each under 0.2 s in total: the first uses it up, the others still get half a second."""
    stopped: list[str] = []

    def slow(name: str):
        async def stop() -> None:
            await asyncio.sleep(0.01)
            stopped.append(name)

        return stop

    lifecycle = Lifecycle(stop_timeout=0.2)
    lifecycle.append(Hook("A", on_stop=slow("A")))
    lifecycle.append(Hook("B", on_stop=hangs))
    lifecycle.append(Hook("C", on_stop=hangs))
    await lifecycle.start()
    began = time.monotonic()

    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()

    assert time.monotonic() - began < 19  # two hooks of 10 s each
    assert [error.hook for error in caught.value.exceptions] == ["C", "B"]
    assert [error.timeout for error in caught.value.exceptions] == [0.5, 0.5]
    assert stopped == ["A"]


async def test_component_sets_its_own_limits_even_after_its_start() -> None:
    """A drain time may come from a configuration that is read in start()."""

    class Service:
        start_timeout = 5
        stop_timeout = 5.0

        async def start(self) -> None:
            self.stop_timeout = 0.03

        async def stop(self) -> None:
            await hangs()

    lifecycle = Lifecycle()
    lifecycle.adopt(Service, Service())
    await lifecycle.start()
    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()
    assert caught.value.exceptions[0].timeout == 0.03


async def test_a_limit_that_is_no_number_fails_the_start() -> None:
    class Service:
        stop_timeout = "15s"

        async def stop(self) -> None: ...

    lifecycle = Lifecycle()
    lifecycle.adopt(Service, Service())
    with pytest.raises(TypeError, match=r"Service\.stop_timeout must be a positive number of seconds, not '15s'"):
        await lifecycle.start()


async def test_lc_19_every_hook_publishes_its_phase_time_and_error() -> None:
    events: list[HookFinished] = []
    error = OSError("b")
    lifecycle = Lifecycle()
    lifecycle.on_event(events.append)
    lifecycle.adopt("A", Component("A", [], start=takes(0.02)))
    lifecycle.adopt("B", Component("B", [], stop=fails(error)))
    await lifecycle.start()
    with pytest.raises(ExceptionGroup):
        await lifecycle.stop()

    assert [(event.hook, event.phase, event.error) for event in events] == [
        ("A", "start", None),
        ("B", "start", None),
        ("B", "stop", error),
        ("A", "stop", None),
    ]
    assert 0.02 <= events[0].duration < 30


async def test_lc_19_start_timeout_logs_the_slowest_hooks_first(logged: list[str]) -> None:
    lifecycle = Lifecycle()
    lifecycle.append(Hook("fast"))
    lifecycle.append(Hook("slow", takes(0.02)))
    lifecycle.append(Hook("stuck", hangs, start_timeout=0.5))
    with pytest.raises(HookTimeout):
        await lifecycle.start()

    table = next(line for line in logged if "Hooks by start time" in line).split("Hooks by start time:\n")[1]
    assert [row.split()[-1] for row in table.strip().splitlines()] == ["stuck", "slow", "fast"]


async def test_a_failing_listener_is_logged_and_changes_nothing(logged: list[str]) -> None:
    def listener(event: object) -> None:
        raise RuntimeError("listener")

    lifecycle = Lifecycle()
    forget = lifecycle.on_event(listener)
    lifecycle.append(Hook("A"))
    await lifecycle.start()
    forget()
    forget()
    await lifecycle.stop()
    assert len([line for line in logged if "listener failed" in line]) == 1
