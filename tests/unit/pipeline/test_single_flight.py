"""Identical requests at the same time: sent once, answered all."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.decisions import CallJoined
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import Cost
from core.llm.providers.base.response import LLMResponse
from core.llm.testing import EventRecorder, Gate, cancel_sweep
from tests.unit.pipeline.caching import USAGE, Caching, read
from tests.unit.pipeline.support import an_error

MODES = ("generate", "stream")


async def crowd(world: Caching, mode: str, count: int, **options: Any) -> list[asyncio.Task[Any]]:
    """*count* identical calls that have all come as far as they get."""
    tasks = [asyncio.create_task(read(world.shared, world.call(mode, **options))) for _ in range(count)]
    await world.clock.settle()
    return tasks


@pytest.mark.parametrize("mode", MODES)
async def test_f102_g23_a_hundred_identical_calls_are_sent_once(mode: str) -> None:
    """Each gets the whole answer, streams from the first event; one of them pays."""
    world = Caching()
    gate = Gate()
    world.provider.will_stream("hel", gate, "lo", usage=USAGE)
    tasks = await crowd(world, mode, 99)
    gate.open()
    late = await crowd(world, mode, 1)
    answers: list[LLMResponse] = [response for response, _ in await asyncio.gather(*tasks, *late)]
    assert world.sent == 1
    assert {response.content for response in answers} == {"hello"}
    assert len({id(response) for response in answers}) == 100
    paid = [response for response in answers if not response.cached]
    assert [response.cost for response in paid] == [Cost(Decimal("0.0002"))]
    assert all(response.cost == Cost(Decimal(0), "USD", "cache") for response in answers if response.cached)
    assert sum(response.usage.total for response in answers) == USAGE.total
    assert len(world.flights) == 0
    assert len(world.store) == 1
    await read(world.shared, world.call(mode))
    assert world.sent == 1, "the next one finds it in the cache"


async def test_followers_of_a_stream_get_the_same_events() -> None:
    """From the start, in order, and whatever their own pace."""
    world = Caching()
    gate = Gate()
    world.provider.will_stream("a", gate, "b", "c", usage=USAGE)
    leader = asyncio.create_task(read(world.shared, world.call("stream")))
    await gate.reached()
    slow = await world.shared(world.call("stream"))
    assert await slow.next() is not None
    gate.open()
    _, events = await leader
    rest = []
    while (event := await slow.next()) is not None:
        rest.append(event)
    await slow.end("answered")
    assert [one.text for one in events[1:]] == [one.text for one in rest]


async def test_nobody_can_change_the_answer_of_another() -> None:
    """Arguments of tool calls are dictionaries: each caller has his own."""
    for mode in MODES:
        world = Caching()
        tool = ToolCall("1", "find", {"q": []})
        world.provider.will_answer(tool_calls=[tool], usage=USAGE, delay=1.0)
        tasks = await crowd(world, mode, 3)
        await world.clock.advance(1)
        for task in tasks:
            arguments: Any = (await task)[0].tool_calls[0].arguments
            assert arguments == {"q": []}
            arguments["q"].append("spoilt")


@pytest.mark.parametrize("mode", MODES)
async def test_f102_a_leader_who_is_cancelled_leaves_the_call_to_the_others(mode: str) -> None:
    """Nothing is sent a second time, and a follower pays."""
    world = Caching()
    gate = Gate()
    world.provider.will_stream("hel", gate, "lo", usage=USAGE)
    leader, follower = await crowd(world, mode, 2)
    await gate.reached()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    gate.open()
    response, _ = await follower
    assert (response.content, response.cached, world.sent) == ("hello", False, 1)
    assert response.cost == Cost(Decimal("0.0002"))


@pytest.mark.parametrize("mode", MODES)
async def test_f102_the_last_one_to_leave_ends_the_call(mode: str) -> None:
    """The connection is not kept for nobody, the attempt is booked, and the next caller begins anew."""
    world = Caching()
    gate = world.provider.will_hold("late")
    calls = [world.call(mode) for _ in range(3)]
    tasks = [asyncio.create_task(read(world.shared, call)) for call in calls]
    await gate.reached()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.clock.settle()
    assert world.provider.script.active == 0
    assert world.provider.script.outcomes["cut"] == 1
    assert [len(call.trace.attempts) for call in calls] == [0, 0, 1]
    assert (calls[2].trace.attempts[0].decision, calls[2].trace.attempts[0].billing) == ("cancelled", "ambiguous")
    world.provider.will_answer("new", usage=USAGE)
    assert (await read(world.shared, world.call(mode)))[0].content == "new"
    await world.clock.settle()
    assert len(world.flights) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_f102_the_leaders_error_reaches_all_and_is_not_kept(mode: str) -> None:
    """Each gets an error of his own, and the next call is a new one."""
    world = Caching()
    world.provider.will_raise(an_error("server_error", message="down"), delay=1.0)
    tasks = await crowd(world, mode, 5)
    await world.clock.advance(1)
    errors = list(await asyncio.gather(*tasks, return_exceptions=True))
    assert [type(error) for error in errors] == [ProviderError] * 5
    assert len({id(error) for error in errors}) == 5
    assert {str(error) for error in errors} == {"alpha/m: down"}
    assert world.sent == 1
    world.provider.will_answer("up", usage=USAGE)
    assert (await read(world.shared, world.call(mode)))[0].content == "up"


async def test_a_stream_that_breaks_breaks_for_all_with_what_each_was_given() -> None:
    """The error of each says what this reader had received."""
    world = Caching()
    gate = Gate()
    world.provider.will_stream("ab", gate, "cd", an_error())
    fast, slow = await world.shared(world.call("stream")), await world.shared(world.call("stream"))
    gate.open()
    for reply, pieces in ((fast, 3), (slow, 3)):
        for _ in range(pieces):
            assert await reply.next() is not None
        with pytest.raises(ProviderError) as caught:
            await reply.next()
        await reply.end("failed", caught.value)
        assert caught.value.partial is not None
        assert caught.value.partial.text == "abcd"
    assert world.sent == 1
    assert len(world.store) == 0


async def test_f102_each_follower_has_his_own_deadline() -> None:
    """One whose time is over leaves; the others are answered."""
    world = Caching()
    gate = world.provider.will_hold("x")
    patient = await crowd(world, "generate", 1, seconds=60.0)
    hasty = await crowd(world, "generate", 1, seconds=2.0)
    await world.clock.advance(3)
    with pytest.raises(ProviderError) as caught:
        await hasty[0]
    assert caught.value.code == "deadline_exceeded"
    gate.open()
    assert (await patient[0])[0].content == "x"
    assert world.sent == 1


async def test_f102_a_leader_who_runs_out_of_time_does_not_end_the_others() -> None:
    """The call keeps to the time of whoever began it: one with more time begins anew."""
    world = Caching()
    late = an_error("timeout", code="deadline_exceeded", retryable=False)
    world.provider.will_raise(late, delay=2.0)
    world.provider.will_answer("in time", usage=USAGE)
    hasty = await crowd(world, "generate", 1, seconds=2.0)
    patient = await crowd(world, "generate", 2, seconds=60.0)
    await world.clock.advance(2.0)
    with pytest.raises(ProviderError):
        await hasty[0]
    assert [response.content for response, _ in await asyncio.gather(*patient)] == ["in time"] * 2
    assert world.sent == 2


async def test_different_requests_and_forms_do_not_meet() -> None:
    """Nor do those that want a fresh answer, or none from the cache."""
    world = Caching()
    kinds: list[tuple[Any, dict[str, Any]]] = [
        ("generate", {}), ("stream", {}), ("generate", {"user": "ada"}), ("generate", {"cache": False}),
        ("generate", {"cache": "refresh"}),
    ]  # fmt: skip
    for _ in kinds:
        world.provider.will_answer("x", delay=1.0, usage=USAGE)
    tasks = [task for mode, options in kinds for task in await crowd(world, mode, 1, **options)]
    await world.clock.advance(1)
    await asyncio.gather(*tasks)
    assert world.sent == len(kinds)


async def test_who_shares_an_answer_says_so() -> None:
    """In the trace and by an event; the attempt is in the trace of the one who pays."""
    world, events = Caching(), EventBus()
    gate = world.provider.will_hold("x")
    first, second = world.call(events=events), world.call(events=events)
    second.id = "c2"
    with EventRecorder(events) as recorder:
        tasks = [asyncio.create_task(read(world.shared, call)) for call in (first, second)]
        await gate.reached()
        gate.open()
        await asyncio.gather(*tasks)
    assert recorder.of(CallJoined) == [CallJoined("c2", "c1")]
    assert second.trace.notes == ["shares the answer of call c1, which asked for the same"]
    assert (len(first.trace.attempts), len(second.trace.attempts)) == (1, 0)


@pytest.mark.leakcheck
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_f102_cancelled_at_every_point_the_other_is_answered(mode: str, role: str) -> None:
    """Also twice: nothing is left under way, and whoever stays gets the answer."""
    world = Caching(enabled=True)
    other: list[asyncio.Task[Any]] = []
    number = 0

    async def prepare() -> None:
        nonlocal number
        number += 1
        other.clear()
        world.provider.script._replies.clear()
        world.provider.will_stream("a", "b", usage=USAGE, delay=0.0)

    async def scenario() -> None:
        options = {"user": f"u{number}"}
        if role == "follower":
            other.append(asyncio.create_task(read(world.shared, world.call(mode, **options))))
            await asyncio.sleep(0)
        task = read(world.shared, world.call(mode, **options))
        if role == "leader":
            other.append(asyncio.create_task(read(world.shared, world.call(mode, **options))))
        await task

    async for point in cancel_sweep(scenario, prepare=prepare):
        for task in other:
            assert (await task)[0].content == "ab", point
        assert len(world.flights) == 0, point
        assert world.provider.script.active == 0, point
