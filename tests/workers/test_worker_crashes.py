"""Crashes, hangs and garbage: only the calls in that worker fail, with a reason, and the next call works."""

import asyncio
import os
import signal
import time

import psutil
import pytest

from core.llm.common.exceptions import ProviderError, WorkerCrashed
from core.llm.testing import FakeClock
from core.llm.transport.process_restart import RestartPolicy

pytestmark = pytest.mark.leakcheck

NEVER_TIRED = RestartPolicy(first_delay=0.01, max_delay=0.01, max_crashes=1000)


async def silent_for(clock, seconds, call):
    """Let that much time pass for the host, in which the worker says nothing."""
    while not call.done() and seconds > 0:
        await clock.advance(1)
        seconds -= 1


async def open_streams(worker, count):
    """Streams that have begun and would run for minutes."""
    streams = [await worker.stream("count", {"to": 100_000, "pause": 0.002}) for _ in range(count)]
    for stream in streams:
        await anext(stream)
    return streams


async def read_to_the_end(stream):
    """Take every item."""
    async for _ in stream:
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_killed_worker_fails_its_calls_within_100_ms_WK01_F137(make_worker, exits, number):
    """Every stream gets a typed error with the process id and the signal.

    A busy machine may hold up what is measured, so of several deaths one has to be that quick.
    """
    worker = make_worker(restart=NEVER_TIRED)
    took, limit = [], 0.1 if number == signal.SIGKILL else 1.0  # the kernel is slower to end a process by SIGSEGV
    while not took or min(took) >= limit:
        assert len(took) < 10, f"the quickest of ten took {min(took):.3f} s"
        streams = await open_streams(worker, 5)
        pid = worker.pid
        tasks = [asyncio.create_task(read_to_the_end(stream)) for stream in streams]
        await asyncio.sleep(0.02)
        killed = time.monotonic()
        os.kill(pid, number)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        took.append(time.monotonic() - killed)
        for error in results:
            assert isinstance(error, WorkerCrashed)
            assert (error.pid, error.exit_code) == (pid, -number)
            assert number.name in str(error)
        assert len({id(error) for error in results}) == 5
        assert await worker.request("echo", {"alive": True}) == {"alive": True}
        assert worker.pid != pid
    assert [one.exit_code for one in exits] == [-number] * len(took)


async def test_another_worker_does_not_notice_WK01(make_worker):
    """A crash stays in its process."""
    doomed, healthy = make_worker(), make_worker()
    stream = await healthy.stream("count", {"to": 200, "pause": 0.001})
    (lost,) = await open_streams(doomed, 1)
    os.kill(doomed.pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashed):
        await read_to_the_end(lost)
    assert [item async for item in stream] == list(range(200))


async def test_an_exit_code_is_told_WK01(worker):
    """Not every end is a signal."""
    with pytest.raises(WorkerCrashed, match="exit code 7") as caught:
        await worker.request("die", {"exit": 7})
    assert caught.value.exit_code == 7


async def test_an_unexpected_sigkill_names_the_likely_reason_F138(worker):
    """The kernel's memory killer leaves no other trace."""
    with pytest.raises(WorkerCrashed, match="out of memory"):
        await worker.request("die", {})


async def test_a_worker_out_of_memory_says_so_and_lives_on_F138(make_worker):
    """The limit is the worker's own; the host's memory is not touched."""
    worker = make_worker(rlimits={"data": 512 * 2**20})
    with pytest.raises(ProviderError) as caught:
        await worker.request("allocate", {"bytes": 2**30})
    assert caught.value.code == "out_of_memory"
    assert await worker.request("echo", {}) == {}


@pytest.mark.parametrize("kind", ["text", "huge", "list", "stranger"])
async def test_garbage_is_a_protocol_error_and_the_worker_is_replaced_F146(worker, kind):
    """All calls of that worker fail; the next one is served by a fresh process."""
    (bystander,) = await open_streams(worker, 1)
    pid = worker.pid
    with pytest.raises(ProviderError) as caught:
        await worker.request("garbage", {"kind": kind})
    assert (caught.value.type, caught.value.code) == ("protocol", "worker_protocol")
    with pytest.raises(ProviderError):
        await read_to_the_end(bystander)
    assert await worker.request("echo", {}) == {}
    assert worker.pid != pid
    assert not psutil.pid_exists(pid)


async def test_half_a_frame_is_a_crash_F146(worker):
    """The worker died while it was writing."""
    with pytest.raises(WorkerCrashed):
        await worker.request("garbage", {"kind": "half"})
    assert await worker.request("echo", {}) == {}


async def test_a_worker_that_floods_the_host_is_stopped_S49(worker):
    """The host's memory is bounded even when the worker minds no window."""
    stream = await worker.stream("flood", {})
    await asyncio.sleep(0.2)
    with pytest.raises(ProviderError) as caught:
        await read_to_the_end(stream)
    assert caught.value.code == "worker_protocol"


async def test_a_worker_without_heartbeat_is_killed_WK04_F139(make_worker):
    """A call that blocks the whole interpreter is a hang, not a long answer."""
    clock = FakeClock(auto_advance=True)
    worker = make_worker(heartbeat=30, clock=clock)
    await worker.start()
    call = asyncio.create_task(worker.request("hold_lock", {"seconds": 60}))
    await silent_for(clock, 90, call)
    assert not call.done()
    await silent_for(clock, 60, call)
    with pytest.raises(WorkerCrashed, match="no sign of life"):
        await call
    assert await worker.request("echo", {}) == {}


async def test_a_stopped_worker_is_replaced_WK04_F139(make_worker):
    """It gives no sign of life, so its calls fail and another one takes its place."""
    clock = FakeClock(auto_advance=True)
    worker = make_worker(heartbeat=30, term_grace=0.2, clock=clock)
    await worker.start()
    pid = worker.pid
    call = asyncio.create_task(worker.request("wait", {"seconds": 60}))
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGSTOP)
    await silent_for(clock, 150, call)
    with pytest.raises(WorkerCrashed, match="hangs"):
        await call
    assert await worker.request("echo", {}) == {}
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("moment", ["load", "ready"])
async def test_a_stopped_worker_does_not_hold_up_the_end_F139(make_worker, moment):
    """It is woken, so that it takes the signal at once instead of after the time that an orderly end may need."""
    worker = make_worker(term_grace=60.0, load={"seconds": 60.0} if moment == "load" else {})
    start = asyncio.ensure_future(worker.start())
    me = psutil.Process()
    async with asyncio.timeout(20.0):
        while not (children := me.children()) or (moment == "ready" and not start.done()):
            await asyncio.sleep(0.01)
        if moment == "load":
            await asyncio.sleep(0.3)
        children[0].suspend()
        await worker.stop()
    assert not children[0].is_running()
    start.cancel()  # whoever waits for a load that was called off begins another one
    await asyncio.gather(start, return_exceptions=True)


async def test_a_call_that_ignores_its_cancellation_costs_the_worker_its_life_WK04(make_worker):
    """A slot that never comes back is a hang too, even with a heartbeat."""
    worker = make_worker(cancel_timeout=0.1, slots=1)
    await worker.start()
    pid = worker.pid
    call = asyncio.create_task(worker.request("ignore_cancel", {}))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await worker.request("echo", {}) == {}
    assert worker.pid != pid


async def test_a_worker_that_never_says_hello_is_given_up(make_worker):
    """The start has a limit of its own."""
    worker = make_worker(args=("--silent",), start_timeout=0.3)
    with pytest.raises(WorkerCrashed, match="said nothing within"):
        await worker.start()
    assert worker.pid is None


async def test_crashing_again_and_again_ends_in_failed_until_forced_WK02(make_worker, exits):
    """More than five crashes within the window: no further process is started."""
    policy = RestartPolicy(first_delay=0.001, max_delay=0.01, window=3600)
    worker = make_worker(restart=policy, load={"die": signal.SIGKILL})
    for _ in range(6):
        with pytest.raises(WorkerCrashed):
            await worker.request("echo", {})
    assert worker.state == "failed"
    for _ in range(3):
        with pytest.raises(ProviderError) as caught:
            await worker.request("echo", {})
        assert (caught.value.code, caught.value.retryable) == ("worker_failed", False)
    assert len(exits) == 6
    with pytest.raises(WorkerCrashed):
        await worker.start(force=True)
    assert len(exits) == 7


async def test_a_call_during_a_long_back_off_fails_at_once_WK02(make_worker):
    """It can be answered elsewhere meanwhile, and knows when to come back."""
    worker = make_worker(restart=RestartPolicy(first_delay=600, max_delay=600), patience=1)
    with pytest.raises(WorkerCrashed):
        await worker.request("die", {})
    assert worker.state == "waiting"
    with pytest.raises(ProviderError) as caught:
        await worker.request("echo", {})
    assert caught.value.code == "worker_restarting"
    assert 250 < caught.value.retry_after <= 600
    await worker.start(force=True)
    assert worker.state == "ready"


async def test_the_last_output_is_on_the_error_WK07(worker):
    """A native library's last words are what one needs to know."""
    await worker.request("print", {"lines": 80})
    with pytest.raises(WorkerCrashed) as caught:
        await worker.request("die", {"signal": signal.SIGABRT})
    lines = caught.value.output.split("\n")
    assert len(lines) <= 50
    assert any("Fatal Python error: Aborted" in line for line in lines) or "line 79" in caught.value.output


async def test_a_worker_that_dies_with_words_about_memory_ran_out_of_it_F138(worker):
    """It has a code of its own, since the same call would end the next process too."""
    await worker.request("print", {"lines": 1, "text": "failed to allocate buffer of size 68719476736"})
    with pytest.raises(WorkerCrashed, match="out of memory") as caught:
        await worker.request("die", {"signal": signal.SIGABRT})
    assert caught.value.code == "out_of_memory"


async def test_any_other_death_is_a_crash_and_a_hang_is_a_hang_F137_F139(worker, make_worker):
    """What a caller may do about it differs."""
    with pytest.raises(WorkerCrashed) as caught:
        await worker.request("die", {"signal": signal.SIGSEGV})
    assert caught.value.code == "worker_crashed"
    hanging = make_worker(heartbeat=0.2)
    with pytest.raises(WorkerCrashed) as caught:
        await hanging.request("hold_lock", {"seconds": 30})
    assert caught.value.code == "worker_hangs"
