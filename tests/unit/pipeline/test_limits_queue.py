"""What becomes of a call that cannot be sent now: it waits, goes elsewhere, or is told so at once."""

import asyncio

import pytest

from core.llm.common.decisions import CallQueued, CallSpilled
from core.llm.common.exceptions import ProviderError, RateLimited
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.providers.base.response import LLMResponse
from core.llm.testing.sweep import cancel_sweep
from tests.unit.pipeline.limits_rig import LimitsRig
from tests.unit.pipeline.support import an_error


async def test_calls_wait_for_their_turn_in_the_order_of_arrival() -> None:
    """One at a time: the others are queued, say so, and are sent as they came."""
    rig = LimitsRig(max_concurrency=1)
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    second, third = await rig.waiting(), await rig.waiting()
    assert [event.limit for event in rig.seen.of(CallQueued)] == ["max_concurrency"] * 2
    rig.hold()
    rig.release()
    await asyncio.gather(first, second, third)
    assert rig.inner.calls == 3
    assert rig.status.queued == rig.status.in_flight == 0


async def test_the_time_in_the_queue_is_in_the_trace() -> None:
    """Ten go out at once, the eleventh a second later."""
    rig = LimitsRig(requests_per_minute=60)
    for _ in range(10):
        await rig.answer()
    call = rig.call()
    task = await rig.waiting(call)
    await rig.clock.advance(1.1)
    await task
    assert call.attempt is not None
    assert call.attempt.queued == pytest.approx(1.0, abs=0.01)
    assert rig.seen.last(CallQueued).expected == pytest.approx(1.0)
    assert rig.clock.next_at() is None


async def test_F99_a_large_call_among_small_ones_gets_its_turn() -> None:
    """Small calls keep coming; the large one is sent as soon as it would be sent without them."""
    rig = LimitsRig(tokens_per_minute=6000)
    sent: list[tuple[str, float]] = []

    async def one(name: str, max_tokens: int) -> None:
        call = rig.call(max_tokens=max_tokens)
        async with await rig.handler(call):
            sent.append((name, rig.clock.elapsed()))

    tasks = [asyncio.create_task(one("small", 90)) for _ in range(40)]
    await rig.clock.settle()
    tasks.append(asyncio.create_task(one("large", 2500)))
    for _ in range(20):
        await rig.clock.settle()
        tasks.append(asyncio.create_task(one("late", 90)))
    await rig.clock.advance(120)
    await asyncio.gather(*tasks)
    names = [name for name, _ in sent]
    assert names.index("large") == 40
    assert dict(reversed(sent))["large"] <= 2 * 40


async def test_F88_a_full_queue_refuses_at_once() -> None:
    """Nothing is sent, nothing is retried, and the caller learns when to come back."""
    rig = LimitsRig(requests_per_minute=60, burst="1s", queue=2)
    await rig.answer()
    waiting = [await rig.waiting(), await rig.waiting()]
    with pytest.raises(RateLimited, match="2 calls wait already") as caught:
        await rig.answer()
    assert caught.value.retry_after == pytest.approx(3.0)
    assert rig.inner.calls == 1
    await rig.clock.advance(3)
    await asyncio.gather(*waiting)


async def test_a_queue_of_none_never_lets_anybody_wait() -> None:
    """`queue: 0`."""
    rig = LimitsRig(requests_per_minute=60, burst="1s", queue=0)
    await rig.answer()
    with pytest.raises(RateLimited):
        await rig.answer()


async def test_a_full_queue_before_one_model_does_not_refuse_calls_to_another() -> None:
    """They want nothing of what is waited for."""
    rig = LimitsRig({"m": {"rate_limits": {"max_concurrency": 1}}}, queue=1)
    rig.hold()
    first = rig.send(key="k1")
    await rig.clock.settle()
    second = await rig.waiting(key="k1")
    await rig.answer(key="k2")
    rig.release()
    await asyncio.gather(first, second)


async def test_F100_a_call_larger_than_the_limit_is_an_error_at_once() -> None:
    """It would wait for ever."""
    rig = LimitsRig(tokens_per_minute=1000)
    with pytest.raises(RateLimited, match="more than there ever is") as caught:
        await rig.answer(max_tokens=5000)
    assert caught.value.retry_after is None
    assert "Lower max_tokens" in str(caught.value)
    assert rig.inner.calls == 0
    assert rig.left("tokens_per_minute") == 1000


async def test_F101_a_wait_longer_than_the_deadline_is_refused_at_once() -> None:
    """Waiting would only waste the time that the caller has."""
    rig = LimitsRig(requests_per_minute=6, burst="10s")
    await rig.answer()
    with pytest.raises(RateLimited, match="after the deadline") as caught:
        await rig.answer(seconds=5)
    assert caught.value.retry_after == pytest.approx(10.0)
    assert (rig.inner.calls, rig.status.queued) == (1, 0)
    assert rig.clock.elapsed() == 0


async def test_a_long_wait_is_avoided_where_another_candidate_is_left() -> None:
    """Ten seconds here, or an answer elsewhere; a short wait is better than a detour."""
    rig = LimitsRig(requests_per_minute=6, burst="10s", max_wait="2s")
    await rig.answer()
    with pytest.raises(RateLimited, match="another candidate is left"):
        await rig.answer(alternatives=True)
    spilled = rig.seen.last(CallSpilled)
    assert spilled.limit == "requests_per_minute"
    assert spilled.expected == pytest.approx(10.0)
    await rig.clock.advance(9)
    task = await rig.waiting(alternatives=True)
    await rig.clock.advance(1.1)
    await task
    assert rig.clock.pending == 0


async def test_a_wait_that_turns_out_long_is_given_up_where_another_candidate_is_left() -> None:
    """Nobody knew how long the running call would take; after `max_wait` the call goes elsewhere."""
    rig = LimitsRig(max_concurrency=1, max_wait="2s")
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    task = await rig.waiting(alternatives=True)
    patient = await rig.waiting()
    await rig.clock.advance(2.1)
    with pytest.raises(RateLimited, match="it has waited 2"):
        await task
    assert rig.status.queued == 1
    rig.release()
    await asyncio.gather(first, patient)
    assert rig.clock.pending == 0


async def test_F126_a_deadline_that_passes_in_the_queue_sends_nothing() -> None:
    """The error says what it was, the attempt has cost nothing, and the next in the queue is served."""
    rig = LimitsRig(max_concurrency=1)
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    call = rig.call(seconds=5)
    task, behind = await rig.waiting(call), await rig.waiting()
    await rig.clock.advance(5.1)
    with pytest.raises(ProviderError) as caught:
        await task
    assert (caught.value.code, caught.value.billing) == ("deadline_exceeded", "none")
    assert rig.inner.calls == 1
    assert rig.status.queued == 1
    rig.release()
    await asyncio.gather(first, behind)
    assert rig.status.in_flight == 0


@pytest.mark.parametrize("twice", [False, True])
async def test_a_cancelled_wait_leaves_nothing_behind(twice: bool) -> None:
    """No place in the queue, no reservation, no timer; the attempt says that it was never sent."""
    rig = LimitsRig(requests_per_minute=60, burst="1s")
    await rig.answer()
    call = rig.call()
    task = await rig.waiting(call)
    task.cancel()
    if twice:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (rig.status.queued, rig.status.in_flight, rig.clock.pending) == (0, 0, 0)
    assert rig.left("requests_per_minute") == 59
    assert call.attempt is not None
    assert (call.attempt.decision, call.attempt.billing) == ("cancelled", "none")


async def test_a_cancellation_in_the_instant_of_the_turn_gives_the_reservation_back() -> None:
    """The call was let in, but its task is cancelled before it learns so."""
    rig = LimitsRig(max_concurrency=1)
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    second, third = await rig.waiting(), await rig.waiting()
    rig.release()
    while rig.status.queued == 2:
        await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await asyncio.gather(first, third)
    assert (rig.status.queued, rig.status.in_flight) == (0, 0)


async def test_cancelled_anywhere_once_or_twice_the_queue_is_as_before() -> None:
    """On its way into the queue, in it, out of it, and at the provider: the slot is free again and no timer is left."""
    rigs: list[LimitsRig] = []
    blockers: list[asyncio.Task[LLMResponse]] = []

    async def prepare() -> None:
        rig = LimitsRig(max_concurrency=1, tokens_per_minute=100_000)
        rigs.append(rig)
        rig.hold()
        blockers.append(rig.send())
        await rig.clock.settle()
        asyncio.get_running_loop().call_later(0.002, rig.release)

    async def scenario() -> None:
        await rigs[-1].answer(max_tokens=10)

    points = 0
    async for point in cancel_sweep(scenario, prepare=prepare):
        rig, points = rigs[-1], points + 1
        await blockers.pop()
        assert (rig.status.queued, rig.left("max_concurrency"), rig.clock.pending) == (0, 1, 0), point
        await rig.answer()
    assert points >= 2


async def test_a_call_goes_on_waiting_where_the_others_have_failed_meanwhile() -> None:
    """Whether somebody else is left is asked when its patience is over, not when it began to wait."""
    rig = LimitsRig(max_concurrency=1, max_wait="2s")
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    call, left = rig.call(), [True]
    call.alternatives = lambda _: left[0]
    task = await rig.waiting(call)
    left[0] = False
    await rig.clock.advance(5.0)
    assert (task.done(), rig.status.queued) == (False, 1)
    rig.release()
    await first
    assert (await task).content == "hello"


async def test_waiting_calls_are_not_released_into_a_dead_provider() -> None:
    """When the breaker opens, all who wait go elsewhere at once; nobody is sent to find out."""
    rig = LimitsRig(max_concurrency=1)
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    waiting = [await rig.waiting() for _ in range(5)]
    while not rig.upstream.breaker.rests(rig.clock.monotonic()):
        rig.upstream.breaker.failed(rig.clock.monotonic(), rig.call().rng, "call")
    with pytest.raises(ProviderError, match="began to fail"):
        await rig.answer()
    rig.release()
    await first
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    refusals = [error for error in errors if isinstance(error, ProviderError)]
    assert {error.code for error in refusals} == {"circuit_open"}
    assert all(error.retry_after is not None and 4.0 <= error.retry_after <= 6.0 for error in refusals)
    assert rig.inner.calls == 1


async def test_waiting_calls_leave_a_key_that_was_told_to_rest() -> None:
    """They ask for another key, and nothing is sent with this one."""
    rig = LimitsRig(max_concurrency=1)
    rig.hold()
    first = rig.send()
    await rig.clock.settle()
    waiting = await rig.waiting()
    rig.upstream.keys.of(None).at("m").rest(rig.clock.monotonic() + 30, "told to", "rate_limit")
    rig.release()
    await first
    with pytest.raises(ProviderError) as caught:
        await waiting
    assert (caught.value.code, caught.value.retryable, caught.value.scope) == (NEXT_KEY, True, "request")
    assert rig.inner.calls == 1


async def test_a_failed_call_lets_the_next_one_in_only_after_its_key_may_have_been_told_to_rest() -> None:
    """The layers outside learn of the failure first: a 429 is not followed by the next in the queue."""
    rig = LimitsRig(max_concurrency=1)
    rig.inner.outcomes.append(an_error("rate_limit", status_code=429, retry_after=9.0))

    async def limited() -> None:
        try:
            await rig.answer()
        except ProviderError:
            rig.upstream.keys.of(None).rest(rig.clock.monotonic() + 9, "told to", "rate_limit")

    blocker = rig.call()
    reply = await LimitsRig(upstream=rig.upstream, max_concurrency=1).handler(blocker)
    task = asyncio.create_task(limited())
    await rig.clock.settle()
    waiting = await rig.waiting()
    await reply.end("answered")
    await task
    with pytest.raises(ProviderError):
        await waiting
    assert rig.inner.calls == 1


async def test_a_raised_limit_lets_waiting_calls_in() -> None:
    """An edit helps those who wait already."""
    rig = LimitsRig(requests_per_minute=1)
    await rig.answer()
    task = await rig.waiting()
    config = rig.target.config.model_copy(
        update={"rate_limits": rig.target.config.rate_limits.model_copy(update={"requests_per_minute": 600})}
    )
    rig.upstream.limits.configure(config, {""}, rig.clock.monotonic())
    rig.upstream.limits.advance(rig.clock)
    await rig.clock.settle()
    assert task.done()


async def test_one_overload_beside_a_long_stream_keeps_nobody_out_until_it_ends() -> None:
    """Whoever waits for the adaptive limit is let in after a few seconds, although no call has ended."""
    rig = LimitsRig()
    stream = await rig.handler(rig.call())
    rig.inner.outcomes.append(an_error("overloaded", status_code=503))
    with pytest.raises(ProviderError):
        await rig.answer()
    task = await rig.waiting()
    await rig.clock.advance(4.9)
    assert not task.done()
    await rig.clock.advance(0.2)
    assert (await task).content == "hello"
    await stream.end("answered")
    assert rig.clock.pending == 0
