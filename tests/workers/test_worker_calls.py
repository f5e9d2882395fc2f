"""Calls in a worker process: results, items, errors, limits, cancelling, queueing."""

import asyncio
import gc
import math
import time

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.testing import FakeClock
from core.llm.transport.worker_main import WINDOW

pytestmark = pytest.mark.leakcheck


def limits(**fields):
    """Only these limits."""
    return PhaseLimits(**{"connect": None, "first_token": None, "idle": None, "progress": None, **fields})


async def until(condition, complaint, within=30.0):
    """Wait for what comes by itself."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, complaint
        await asyncio.sleep(0.005)


async def idle(worker):
    """Wait until the worker has let go of every call."""
    await until(lambda: not worker.calls, "the worker still runs a call")


async def test_a_request_returns_what_the_engine_returned(worker):
    """Text of every kind survives the way there and back."""
    sent = {"text": "größe ✓ \x00 \u2028", "numbers": [1, 0.1, 1e300, None, True], "empty": {}}
    assert await worker.request("echo", sent) == sent


async def test_many_calls_share_one_worker(worker):
    """Answers find the call they belong to."""
    answers = await asyncio.gather(*[worker.request("echo", {"n": number}) for number in range(50)])
    assert [answer["n"] for answer in answers] == list(range(50))


async def test_a_stream_yields_the_items_in_order_and_then_the_result(worker):
    """More items than the window holds, so the credit has to be renewed."""
    stream = await worker.stream("count", {"to": 10 * WINDOW})
    assert [item async for item in stream] == list(range(10 * WINDOW))
    assert await stream.result() == 10 * WINDOW


async def test_the_result_of_a_stream_can_be_had_without_its_items(worker):
    """Items that nobody reads are taken all the same, or the engine would wait for ever."""
    stream = await worker.stream("count", {"to": 10 * WINDOW})
    assert await stream.result() == 10 * WINDOW


async def test_a_slow_reader_holds_the_engine_back_and_nobody_else(worker):
    """At most one window of items waits in the host, while other calls run on."""
    stream = await worker.stream("count", {"to": 100_000})
    assert await anext(stream) == 0
    await asyncio.sleep(0.1)
    assert len(stream._call._items) < WINDOW
    assert await worker.request("echo", {"a": 1}) == {"a": 1}
    stream.close()
    await idle(worker)


async def test_an_engines_error_arrives_with_its_type_and_code(worker):
    """The pipeline decides by them."""
    with pytest.raises(ProviderError, match="too long for this model") as caught:
        await worker.request("refuse", {})
    assert (caught.value.type, caught.value.code) == ("context_length", "exceed_context_size_error")


async def test_an_engines_bug_is_an_error_without_the_users_words_S15(worker):
    """A library's message may quote the prompt; only the class is told."""
    with pytest.raises(ProviderError, match="raised ValueError in raise_secret") as caught:
        await worker.request("raise_secret", {"prompt": "my diary"})
    assert caught.value.type == "server_error"
    assert "my diary" not in str(caught.value)
    assert await worker.request("echo", {}) == {}


@pytest.mark.parametrize(("method", "kind"), [("surrogate", "protocol"), ("__init__", "invalid_request")])
async def test_what_cannot_be_sent_or_called_fails_only_that_call(worker, method, kind):
    """A lone surrogate in a result, a method that is none."""
    with pytest.raises(ProviderError) as caught:
        await worker.request(method, {})
    assert caught.value.type == kind
    assert await worker.request("echo", {}) == {}


async def test_parameters_that_are_not_json_are_refused_before_they_are_sent(worker):
    """The worker never sees them, and the slot is free again."""
    for _ in range(20):
        with pytest.raises(ProviderError) as caught:
            await worker.request("echo", {"text": "\ud800"})
        assert caught.value.type == "invalid_request"
    assert await worker.request("echo", {}) == {}


async def test_closing_a_stream_cancels_the_generation_WK06(worker):
    """The engine stops within a step."""
    stream = await worker.stream("count", {"to": 100_000, "pause": 0.001})
    for _ in range(3):
        await anext(stream)
    stream.close()
    stream.close()
    await idle(worker)
    assert (await worker.request("facts", {}))["running"] == 0


async def test_a_stream_that_is_dropped_cancels_the_generation_WK06(worker):
    """Nobody has to remember to close it."""
    stream = await worker.stream("count", {"to": 100_000, "pause": 0.001})
    await anext(stream)
    del stream
    gc.collect()
    await idle(worker)


async def test_cancelling_the_reader_ends_the_call(worker):
    """Cancellation passes, and a later close still tells the worker."""
    stream = await worker.stream("count", {"to": 3, "pause": 60})
    await anext(stream)
    reader = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    stream.close()
    await idle(worker)


async def test_cancelling_a_request_cancels_it_in_the_worker(worker):
    """Its slot is free as soon as the engine has noticed."""
    call = asyncio.create_task(worker.request("wait", {"seconds": 30}))
    while not worker.calls:
        await asyncio.sleep(0.005)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await idle(worker)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"first_token": 0.1}, "first_token_timeout"), ({"idle": 0.1}, None), ({"progress": 0.1}, None)],
)
async def test_the_limit_of_the_first_output_counts_until_output_is_seen_WK04(worker, fields, code):
    """A model that produces nothing is given up; a limit for later phases does not apply yet."""
    stream = await worker.stream("wait", {"seconds": 0.4 if code is None else 60}, limits(**fields))
    if code is None:
        assert [item async for item in stream] == []
        return
    with pytest.raises(ProviderError) as caught:
        await anext(stream)
    assert (caught.value.type, caught.value.code, caught.value.billing) == ("timeout", code, "none")
    stream.close()
    await idle(worker)


async def test_a_pause_in_the_output_is_limited_WK04(worker):
    """The error comes after what had arrived."""
    stream = await worker.stream("count", {"to": 3, "pause": 60}, limits(idle=0.1))
    assert await anext(stream) == 0
    stream.output_seen()
    with pytest.raises(ProviderError) as caught:
        await anext(stream)
    assert (caught.value.type, caught.value.code, caught.value.billing) == ("timeout", "idle_timeout", "estimated")
    stream.close()
    await idle(worker)


async def test_what_came_while_the_loop_stood_still_was_no_pause_of_the_worker(worker):
    """A debugger in the host: the worker had gone on all the while."""
    stream = await worker.stream("count", {"to": 14, "pause": 0.2}, limits(idle=2.0))
    seen = []
    async for item in stream:
        stream.output_seen()
        seen.append(item)
        if item == 0:
            # Runs next, before the loop looks at anything: the limit has begun to count, and its moment passes.
            asyncio.get_running_loop().call_soon(time.sleep, 2.2)
    assert seen == list(range(14))


async def test_the_readers_own_pause_is_not_held_against_the_worker(make_worker):
    """Only time spent waiting for the worker counts."""
    clock = FakeClock()
    worker = make_worker(clock=clock, heartbeat=3600)
    stream = await worker.stream("count", {"to": 500}, limits(idle=5))
    seen = [await anext(stream)]
    stream.output_seen()
    await clock.advance(60)
    seen += [item async for item in stream]
    assert seen == list(range(500))


async def test_the_deadline_ends_a_call_whatever_it_does(make_worker):
    """Items or not."""
    clock = FakeClock()
    worker = make_worker(clock=clock, heartbeat=3600)
    await worker.start()
    limit = limits(deadline_at=clock.monotonic() + 60)
    stream = await worker.stream("count", {"to": 100_000, "pause": 0.001}, limit)
    stream.output_seen()
    await clock.advance(59.9)
    for number in range(2 * WINDOW):
        assert await anext(stream) == number
    await clock.advance(0.2)
    with pytest.raises(ProviderError) as caught:
        async for number in stream:
            assert number < 4 * WINDOW
    assert caught.value.code == "deadline_exceeded"
    stream.close()
    await idle(worker)


async def test_a_worker_runs_as_many_calls_as_it_has_slots(make_worker, tmp_path):
    """The rest wait in order; beyond `max_waiting` they are refused at once."""
    worker = make_worker(slots=2, max_waiting=2)
    await worker.start()
    go = tmp_path / "go"
    running = [asyncio.create_task(worker.request("wait", {"until": str(go)})) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert (worker.calls, worker.waiting) == (2, 2)
    with pytest.raises(ProviderError) as caught:
        await worker.request("echo", {})
    assert caught.value.code == "queue_full"
    assert await worker.request("facts", {}, slot=False)
    go.touch()
    await asyncio.gather(*running)
    assert worker.calls == 0


async def test_waiting_for_a_slot_ends_at_the_deadline(make_worker):
    """The caller is told; the queue forgets it."""
    worker = make_worker(slots=1)
    await worker.start()
    stream = await worker.stream("count", {"to": 100_000, "pause": 0.001})
    with pytest.raises(ProviderError) as caught:
        await worker.request("echo", {}, limits(deadline_at=time.monotonic() + 0.1))
    assert caught.value.code == "deadline_exceeded"
    assert worker.waiting == 0
    stream.close()
    assert await worker.request("echo", {}) == {}


async def test_a_cancelled_call_keeps_its_slot_until_the_engine_has_let_go(make_worker, tmp_path):
    """Otherwise two generations would share one slot."""
    worker = make_worker(slots=1)
    await worker.start()
    go = tmp_path / "go"
    with pytest.raises(ProviderError):
        await worker.request("deaf", {"until": str(go)}, limits(deadline_at=time.monotonic() + 0.05))
    following = asyncio.create_task(worker.request("echo", {}, limits(deadline_at=math.inf)))
    await asyncio.sleep(0.1)
    assert (worker.calls, worker.waiting) == (1, 1)
    assert not following.done()
    go.touch()
    assert await following == {}
