"""What routing learns from calls: how many are there, how long they take, how many fail."""

import asyncio
from typing import Any

import pytest

from core.llm.common.trace import AttemptTrace
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.observe import observe
from core.llm.routing.traffic import Traffic
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_answer, an_error, answered


def taking(clock: FakeClock, seconds: float, queued: float = 0.0) -> Handler:
    """A handler that answers after *seconds*, some of which it spends in a queue."""

    async def handle(call: Call) -> Reply:
        await clock.advance(seconds)
        call.attempt = AttemptTrace(1, ALPHA, 0.0, queued=queued)
        return Reply(call, response=an_answer())

    return handle


def read(traffic: Traffic, clock: FakeClock) -> tuple[Any, ...]:
    """Calls there, whole answer, first output, failures."""
    now = clock.monotonic()
    return traffic.in_flight, traffic.latency.read(now), traffic.first_token.read(now), traffic.errors.read(now)


async def test_a_whole_answer_is_timed_and_a_call_is_there_until_it_ends() -> None:
    """In flight is what has not ended."""
    clock, traffic = FakeClock(), Traffic()
    reply = await observe(traffic)(taking(clock, 2.0))(a_call(clock=clock))
    assert read(traffic, clock) == (1, None, None, None)
    await reply.end("answered")
    assert read(traffic, clock) == (0, 2.0, None, 0.0)


async def test_a_stream_is_timed_twice() -> None:
    """Its first output when it begins, the whole when it ends."""
    clock, traffic = FakeClock(), Traffic()
    reply = await observe(traffic)(taking(clock, 0.5))(a_call("stream", clock=clock))
    assert read(traffic, clock) == (1, None, 0.5, None)
    await clock.advance(3.0)
    await reply.end("answered")
    assert (traffic.in_flight, traffic.latency.read(clock.monotonic())) == (0, 3.5)


async def test_time_in_a_queue_is_no_time_of_the_model() -> None:
    """A limit of ours does not make a model slow."""
    clock, traffic = FakeClock(), Traffic()
    await answered(observe(traffic)(taking(clock, 5.0, queued=3.0)), a_call(clock=clock))
    assert read(traffic, clock) == (0, 2.0, None, 0.0)


@pytest.mark.parametrize(
    ("error", "rate"),
    [
        (an_error("server_error"), 1.0),
        (an_error("timeout"), 1.0),
        (an_error("rate_limit"), 1.0),
        (an_error("invalid_request"), None),
        (an_error("overloaded", code="circuit_open"), None),
        (asyncio.CancelledError(), None),
        (ValueError("a defect of ours"), None),
    ],
)
async def test_only_failures_of_the_model_count(error: BaseException, rate: float | None) -> None:
    """Not a refused request, not what was never sent, not a cancellation; none of them says how long it takes."""
    clock, traffic = FakeClock(), Traffic()
    with pytest.raises(type(error)):
        await observe(traffic)(Scripted(error))(a_call(clock=clock))
    assert read(traffic, clock) == (0, None, None, rate)


@pytest.mark.parametrize(
    ("outcome", "error", "rate"), [("failed", an_error("protocol"), 1.0), ("cancelled", None, None)]
)
async def test_a_stream_that_breaks_or_is_left_is_not_timed(outcome: Any, error: Any, rate: float | None) -> None:
    """How far it got says nothing about how long it takes."""
    clock, traffic = FakeClock(), Traffic()
    reply = await observe(traffic)(taking(clock, 0.5))(a_call("stream", clock=clock))
    await clock.advance(100.0)
    await reply.end(outcome, error)
    assert (traffic.in_flight, traffic.latency.read(0.0), traffic.errors.read(clock.monotonic())) == (0, None, rate)


async def test_where_nobody_asks_there_is_no_layer() -> None:
    """It costs nothing."""
    handler = Scripted()
    assert observe(None)(handler) is handler
