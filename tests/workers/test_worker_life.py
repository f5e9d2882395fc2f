"""Start, stop and what is left afterwards: nothing."""

import asyncio
import gc
import logging
import os
import resource
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.llm.common.exceptions import ModelLoadError, ProviderError, WorkerCrashed
from core.llm.testing import FakeClock
from core.llm.transport.process_calls import NO_LIMITS
from core.llm.transport.process_restart import RestartPolicy
from tests.leaks import Resources, assert_nothing_left

pytestmark = pytest.mark.leakcheck


async def test_nothing_runs_before_the_first_call(worker):
    """A worker is started when it is needed."""
    assert (worker.state, worker.pid) == ("stopped", None)
    await worker.request("echo", {})
    assert worker.state == "ready"
    assert psutil.pid_exists(worker.pid)


async def test_fifty_callers_of_a_cold_worker_cause_one_start_F142(make_worker, tmp_path):
    """All of them are served by it."""
    log = tmp_path / "loads"
    worker = make_worker(load={"log": str(log), "seconds": 0.1})
    answers = await asyncio.gather(*[worker.request("echo", {"n": number}) for number in range(50)])
    assert [answer["n"] for answer in answers] == list(range(50))
    assert len(log.read_text().split()) == 1


async def test_one_of_several_waiters_may_leave(make_worker, tmp_path):
    """The start goes on for the others."""
    log = tmp_path / "loads"
    go = tmp_path / "go"
    worker = make_worker(load={"log": str(log), "until": str(go)})
    leaving, staying = (asyncio.create_task(worker.start()) for _ in range(2))
    while not log.exists():
        await asyncio.sleep(0.005)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go.touch()
    await staying
    assert worker.state == "ready"
    assert len(log.read_text().split()) == 1


async def left_while_loading(worker, log):
    """The process of a worker whose only caller has left while it loads; it says in *log* that it does."""
    waiter = asyncio.create_task(worker.start())
    while not log.exists():
        await asyncio.sleep(0.005)
    loader = psutil.Process(int(log.read_text()))
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    return loader


async def test_when_the_last_waiter_leaves_the_start_is_called_off(make_worker, tmp_path):
    """The loader does not go on to its end, and the next call starts afresh."""
    log = tmp_path / "loads"
    go = tmp_path / "go"
    worker = make_worker(load={"log": str(log), "until": str(go)})
    loader = await left_while_loading(worker, log)
    again = asyncio.create_task(worker.request("echo", {}))
    await gone(loader)
    go.touch()
    assert await again == {}
    assert len(log.read_text().split()) == 2


async def test_a_loader_that_blocks_the_interpreter_is_called_off_as_well(make_worker, tmp_path):
    """Nothing in the worker can run that would end it."""
    log = tmp_path / "loads"
    worker = make_worker(load={"log": str(log), "seconds": 60, "hold_lock": True})
    loader = await left_while_loading(worker, log)
    await gone(loader)


async def test_a_load_that_takes_too_long_is_killed_F141(make_worker, tmp_path):
    """Even when the loader blocks everything in the worker."""
    log = tmp_path / "loads"
    clock = FakeClock()
    load = {"log": str(log), "seconds": 60, "hold_lock": True}
    worker = make_worker(load=load, load_timeout=300, clock=clock)
    start = asyncio.create_task(worker.start())
    while not log.exists():
        await asyncio.sleep(0.005)
    await clock.advance(299)
    assert not start.done()
    await clock.advance(2)
    with pytest.raises(ModelLoadError, match="not ready within"):
        await start
    assert not psutil.pid_exists(int(log.read_text()))


async def test_a_callers_deadline_does_not_stop_a_load(make_worker, tmp_path):
    """A model that takes longer to load than one call may last would never be ready."""
    log = tmp_path / "loads"
    go = tmp_path / "go"
    worker = make_worker(load={"log": str(log), "until": str(go)})
    with pytest.raises(ProviderError) as caught:
        await worker.request("echo", {}, replace(NO_LIMITS, deadline_at=time.monotonic() + 0.2))
    assert caught.value.code == "deadline_exceeded"
    go.touch()
    assert await worker.request("echo", {}) == {}
    assert len(log.read_text().split()) == 1


async def test_a_cancellation_at_the_deadline_counts_as_the_deadline(make_worker, tmp_path):
    """Whoever enforces the deadline from outside cancels the call; the load goes on all the same."""
    log = tmp_path / "loads"
    go = tmp_path / "go"
    clock = FakeClock()
    worker = make_worker(load={"log": str(log), "until": str(go)}, load_timeout=3600, clock=clock)
    limit = replace(NO_LIMITS, deadline_at=clock.monotonic() + 600)
    call = asyncio.create_task(worker.request("echo", {}, limit))
    while not log.exists():
        await asyncio.sleep(0.005)
    await clock.advance(599.95)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.touch()
    assert await worker.request("echo", {}) == {}
    assert len(log.read_text().split()) == 1


async def test_every_waiter_gets_an_error_of_its_own(make_worker):
    """What handles errors writes on them."""
    worker = make_worker(load={"seconds": 0.1, "refuse": "no such architecture"})
    errors = await asyncio.gather(*[worker.start() for _ in range(3)], return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {"the local model fake cannot be loaded: no such architecture"}
    assert {type(error) for error in errors} == {ModelLoadError}


async def test_a_refused_load_tells_why_and_leaves_no_process_F140(make_worker, tmp_path, exits):
    """The engine's reason reaches the caller; it is no crash."""
    log = tmp_path / "loads"
    slow = RestartPolicy(first_delay=60, max_delay=60)
    worker = make_worker(load={"log": str(log), "refuse": "no such architecture"}, restart=slow)
    for _ in range(8):
        with pytest.raises(ModelLoadError, match="no such architecture"):
            await worker.start(force=True)
    assert worker.state == "waiting"
    assert not any(psutil.pid_exists(int(pid)) for pid in log.read_text().split())
    assert all(one.expected for one in exits)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("sys.executable", "/nowhere/python", r"No such file or directory \(/nowhere/python\)"),
        ("sys.executable", "", "sys.executable is empty"),
        ("tempfile.tempdir", "/nowhere", r"No such file or directory \(/nowhere/core-llm-"),
    ],
)
async def test_a_process_that_cannot_be_started_says_why(make_worker, monkeypatch, place, value, reason):
    """And works again once the reason is gone."""
    worker = make_worker()
    with monkeypatch.context() as broken:
        broken.setattr(place, value)
        with pytest.raises(ModelLoadError, match=reason):
            await worker.start()
    await worker.start(force=True)


async def test_a_process_without_a_descriptor_left_says_what_to_raise(make_worker):
    """Nothing stays open of the try."""
    worker = make_worker()
    gc.collect()
    before, (soft, hard) = len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 4, hard))
    try:
        with pytest.raises(ModelLoadError, match="ulimit -n"):
            await worker.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_crash_while_loading_carries_the_output_WK07(make_worker):
    """The last lines are attached."""
    worker = make_worker(load={"print": "ggml: cannot allocate 80 GiB", "die": 6})
    with pytest.raises(WorkerCrashed, match="SIGABRT") as caught:
        await worker.start()
    assert "ggml: cannot allocate 80 GiB" in caught.value.output


async def test_stopping_waits_for_calls_that_end_in_time_F143(worker):
    """An unload does not cut an answer that is almost complete."""
    stream = await worker.stream("count", {"to": 50, "pause": 0.004})
    reader = asyncio.create_task(_read(stream))
    await asyncio.sleep(0.02)
    pid = worker.pid
    await worker.stop(grace=60)
    assert await reader == list(range(50))
    assert not psutil.pid_exists(pid)


async def test_stopping_cuts_what_takes_longer_F143(worker):
    """After the grace the calls fail with a reason, and the process is gone when `stop` returns."""
    stream = await worker.stream("count", {"to": 100_000, "pause": 0.004})
    reader = asyncio.create_task(_read(stream))
    await asyncio.sleep(0.02)
    pid = worker.pid
    began = time.monotonic()
    await worker.stop(grace=0.2)
    assert 0.2 <= time.monotonic() - began < 60  # the answer would take 400 s
    assert not psutil.pid_exists(pid)
    with pytest.raises(ProviderError, match="was unloaded") as caught:
        await reader
    assert caught.value.code == "worker_stopped"


async def test_an_orderly_end_does_not_wait_for_the_engines_destructor(worker, exits):
    """Native libraries hang in it now and then; the end of the process does its work."""
    await worker.start()
    async with asyncio.timeout(30):
        await worker.stop(grace=60)
    assert [one.exit_code for one in exits] == [0]


async def test_a_call_during_a_stop_is_served_by_the_next_process(worker, tmp_path):
    """It neither fails nor hangs."""
    await worker.start()
    first = worker.pid
    go = tmp_path / "go"
    stream = await worker.stream("count", {"to": 30, "until": str(go)})
    stopping = asyncio.create_task(worker.stop(grace=60))
    await asyncio.sleep(0.01)
    assert worker.state == "stopping"
    call = asyncio.create_task(worker.request("echo", {}))
    await asyncio.sleep(0.01)
    go.touch()
    assert await _read(stream) == list(range(30))
    assert await call == {}
    await stopping
    assert worker.pid != first


async def test_a_closed_worker_refuses_calls(worker):
    """It is not started again by accident."""
    await worker.start()
    await asyncio.gather(worker.close(), worker.close())
    assert worker.state == "closed"
    with pytest.raises(ProviderError) as caught:
        await worker.request("echo", {})
    assert caught.value.code == "worker_closed"


async def test_closing_during_a_start_ends_the_start(make_worker, tmp_path):
    """Nothing is left of it."""
    log = tmp_path / "loads"
    worker = make_worker(load={"log": str(log), "seconds": 60})
    waiting = asyncio.create_task(worker.start())
    while not log.exists():
        await asyncio.sleep(0.005)
    await worker.close()
    with pytest.raises(ProviderError) as caught:
        await waiting
    assert caught.value.code == "worker_closed"
    assert not psutil.pid_exists(int(log.read_text()))


async def test_fifty_lives_leave_no_process_thread_descriptor_or_file_WK08(worker):
    """Also no zombie: every process is reaped."""
    await worker.request("echo", {})
    await worker.stop()
    directories = []
    before = Resources.now()
    for number in range(50):
        await worker.request("echo", {})
        directories.append(Path(psutil.Process(worker.pid).cwd()))
        if number % 2:
            await worker.stop()
        else:
            await worker.stop(grace=5)
    await assert_nothing_left(before)
    assert len(set(directories)) == 50
    assert not any(directory.exists() for directory in directories)


async def test_what_the_worker_started_goes_with_it(worker):
    """The whole process group is ended."""
    grandchild = psutil.Process(await worker.request("grandchild", {}))
    await worker.stop()
    await gone(grandchild)


async def test_the_environment_is_an_allow_list_S14(worker, monkeypatch):
    """No key of the host reaches a worker, not even by a prefix that is passed on."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-must-not-travel")
    monkeypatch.setenv("CUDA_SECRET_TOKEN", "must-not-travel")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    environment = (await worker.request("facts", {}))["environment"]
    assert not [name for name, value in environment.items() if "must-not-travel" in value]
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["OMP_NUM_THREADS"] == "1"


async def test_a_worker_has_its_pipe_and_nothing_else_S48(make_worker, tmp_path):
    """Own session, own empty directory, no inherited descriptor, no core dump, limits as configured."""
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        worker = make_worker(rlimits={"nofile": 128})
        facts = await worker.request("facts", {})
    descriptors = sorted(target.partition(":")[0] for target in facts["descriptors"].values() if target)
    assert descriptors == ["/dev/null", "pipe", "pipe", "pipe", "socket"]
    assert facts["session"] == facts["group"] == worker.pid
    assert facts["core"] == [0, 0]
    assert facts["nofile"] == [128, 128]
    scratch = Path(facts["directory"])
    assert scratch.stat().st_mode & 0o777 == 0o700
    await worker.stop()
    assert not scratch.exists()


async def test_a_worker_listens_nowhere_S46(worker):
    """Its connection is a socket pair: no port and no path that anyone else could open."""
    await worker.start()
    assert psutil.Process(worker.pid).net_connections("inet") == []
    assert [one.laddr for one in psutil.Process(worker.pid).net_connections("unix")] == [""]


async def test_output_goes_to_the_log_line_by_line_WK07(worker, caplog):
    """With the worker's name and process id."""
    with caplog.at_level(logging.DEBUG, "core.llm.worker"):
        await worker.request("print", {"lines": 3})
        pid = worker.pid
        await worker.stop(grace=5)
    assert caplog.messages == [f"fake[{pid}] line {number}" for number in range(3)]


async def gone(process):
    """Wait until a process is there no more, or only until somebody asks what became of it."""
    async with asyncio.timeout(30):
        with suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.005)


async def _read(stream):
    return [item async for item in stream]
