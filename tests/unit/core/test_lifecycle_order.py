"""Start in the order of dependencies, stop in reverse, all or nothing."""

import asyncio
import itertools

import pytest
from injector import Module, inject, singleton

from core.container import Container, ContainerStopped, WrongState
from core.lifecycle import ContainerState, Hook, LateHook, Lifecycle
from tests.unit.core.components import Component, fails, takes

pytestmark = pytest.mark.leakcheck


class Log(list):
    """What happened, in order."""


class A:
    @inject
    def __init__(self, log: Log) -> None:
        self.log = log

    async def start(self) -> None:
        self.log.append(f"+{type(self).__name__}")

    async def stop(self) -> None:
        self.log.append(f"-{type(self).__name__}")


class B(A):
    @inject
    def __init__(self, log: Log, a: A) -> None:
        super().__init__(log)


class C(A):
    @inject
    def __init__(self, log: Log, b: B) -> None:
        super().__init__(log)


@pytest.mark.parametrize(
    "order", list(itertools.permutations([A, B, C])), ids=lambda order: "".join(c.__name__ for c in order)
)
async def test_lc_01_order_follows_dependencies_not_bindings(order: tuple[type, ...]) -> None:
    """In whatever order A, B and C are bound: A is started before B before C, and stopped after them."""
    log = Log()

    def configure(binder) -> None:
        binder.bind(Log, to=log)
        for cls in order:
            binder.bind(cls, scope=singleton)

    async with Container([configure]):
        assert log == ["+A", "+B", "+C"]
    assert log == ["+A", "+B", "+C", "-C", "-B", "-A"]


async def test_lc_02_failed_start_stops_what_had_started() -> None:
    """B's own error is raised, A is stopped again, C is never touched."""
    seen: list[str] = []
    error = ValueError("no database")
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.adopt("B", Component("B", seen, start=fails(error)))
    lifecycle.adopt("C", Component("C", seen))

    with pytest.raises(ValueError) as caught:
        await lifecycle.start()

    assert caught.value is error
    assert seen == ["+A", "-A"]
    assert lifecycle.state is ContainerState.FAILED


async def test_lc_03_rollback_error_becomes_a_note_of_the_start_error() -> None:
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", [], stop=fails(OSError("disk full"))))
    lifecycle.adopt("B", Component("B", [], start=fails(ValueError("no database"))))

    with pytest.raises(ValueError, match="no database") as caught:
        await lifecycle.start()

    assert len(caught.value.__notes__) == 1
    assert "disk full" in caught.value.__notes__[0]
    assert "stopping A" in caught.value.__notes__[0]


async def test_lc_08_many_stops_run_each_hook_once_and_share_the_outcome() -> None:
    """Ten callers at once and one later get the very same error."""
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen, stop=takes(0.02)))
    lifecycle.adopt("B", Component("B", seen, stop=fails(OSError("broken"))))
    await lifecycle.start()

    outcomes = await asyncio.gather(*(lifecycle.stop() for _ in range(10)), return_exceptions=True)
    with pytest.raises(ExceptionGroup) as later:
        await lifecycle.stop()

    assert seen == ["+A", "+B", "-A"]
    assert {id(outcome) for outcome in outcomes} == {id(later.value)}


async def test_stop_before_start_runs_no_hook_and_is_final() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))

    await lifecycle.stop()

    assert lifecycle.state is ContainerState.STOPPED
    with pytest.raises(ContainerStopped):
        await lifecycle.start()
    assert seen == []


async def test_second_start_is_an_error_that_changes_nothing() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    await lifecycle.start()

    with pytest.raises(WrongState, match="started"):
        await lifecycle.start()

    await lifecycle.stop()
    assert seen == ["+A", "-A"]


async def test_stop_while_starting_rolls_back_and_tells_the_starter() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.adopt("B", Component("B", seen, start=takes(30)))
    start = asyncio.create_task(lifecycle.start())
    await asyncio.sleep(0.02)

    await lifecycle.stop()

    with pytest.raises(ContainerStopped, match="while the container was starting"):
        await start
    assert seen == ["+A", "-A"]


async def test_lc_17_hook_after_start_is_refused() -> None:
    lifecycle = Lifecycle()
    await lifecycle.start()
    with pytest.raises(LateHook, match="warm-up came after the start"):
        lifecycle.append(Hook("warm-up"))
    await lifecycle.stop()


async def test_lc_17_get_after_stop_is_refused() -> None:
    class Bound(Module):
        def configure(self, binder) -> None:
            binder.bind(Log, to=Log())

    container = Container([Bound])
    async with container:
        assert container.get(Log) == []
    with pytest.raises(ContainerStopped, match="stopped"):
        container.get(Log)


async def test_an_object_under_two_keys_is_started_once() -> None:
    seen: list[str] = []
    component = Component("A", seen)
    lifecycle = Lifecycle()
    lifecycle.adopt("one", component)
    lifecycle.adopt("two", component)
    await lifecycle.start()
    await lifecycle.stop()
    assert seen == ["+A", "-A"]


async def test_methods_that_need_arguments_or_are_not_async_are_no_hooks() -> None:
    """A library's object with a start(host) of its own is left alone."""

    class Server:
        async def start(self, host: str) -> None:
            raise AssertionError("started")

        def stop(self) -> None:
            raise AssertionError("stopped")

    lifecycle = Lifecycle()
    lifecycle.adopt("server", Server())
    await lifecycle.start()
    await lifecycle.stop()


async def test_stop_error_does_not_hide_the_error_of_the_block() -> None:
    def configure(binder) -> None:
        binder.bind(Component, to=lambda: Component("A", [], stop=fails(OSError("disk full"))), scope=singleton)

    with pytest.raises(KeyError) as caught:
        async with Container([configure]):
            raise KeyError("mine")
    assert "disk full" in caught.value.__notes__[0]


def test_start_and_stop_on_different_loops_is_a_clear_error() -> None:
    lifecycle = Lifecycle()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(lifecycle.start())
        with pytest.raises(WrongState, match="another event loop"):
            second.run(lifecycle.stop())
        first.run(lifecycle.stop())
