"""Trying the same target again, before the first output only, and writing every attempt down."""

import asyncio
from typing import Any

import pytest

from core.llm.common.events import AttemptFailed, EventBus
from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.handler import Call, Handler
from core.llm.pipeline.retry import retry
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.service import RetryOptions
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_error, answered

OPTIONS = RetryOptions(initial_delay=0.5, max_delay=20.0)


class Rig:
    """The retry layer around a scripted handler, on a clock that jumps over every wait."""

    def __init__(self, *outcomes: Any, max_retries: int = 2, auto_advance: bool = True) -> None:
        self.clock = FakeClock(auto_advance=auto_advance)
        self.events = EventBus()
        self.seen = EventRecorder(self.events)
        self.inner = Scripted(*outcomes)
        self.upstream = Upstream(self.clock.monotonic())
        self.handler: Handler = retry(OPTIONS, max_retries, ALPHA, self.upstream)(self.inner)

    def call(self, **fields: Any) -> Call:
        return a_call(clock=self.clock, events=self.events, **fields)

    def decisions(self) -> list[str]:
        return [event.attempt.decision for event in self.seen.of(AttemptFailed)]


async def test_F32_a_failure_that_passes_is_not_seen_by_the_caller() -> None:
    """One failed attempt, one answer: two requests, one event, one result."""
    rig = Rig(an_error("server_error", status_code=503), "fine")
    call = rig.call()
    assert (await answered(rig.handler, call)).content == "fine"
    assert rig.inner.calls == 2
    assert rig.decisions() == ["retry"]
    assert [attempt.decision for attempt in call.trace.attempts] == ["retry", "answered"]
    failed, last = call.trace.attempts
    assert (failed.error_type, failed.status_code, failed.waited) == ("server_error", 503, 0.0)
    assert last.waited == pytest.approx(rig.clock.sleeps[0])


async def test_F33_at_most_three_attempts_are_made_at_one_target() -> None:
    """The last error is raised, and each attempt was reported once."""
    errors = [an_error(message=f"failure {number}") for number in (1, 2, 3)]
    rig = Rig(*errors)
    with pytest.raises(ProviderError, match="failure 3"):
        await rig.handler(rig.call())
    assert rig.inner.calls == 3
    assert rig.decisions() == ["retry", "retry", "raise"]


async def test_F10_a_stale_connection_costs_no_retry_and_no_attempt() -> None:
    """With `max_retries: 0` and one attempt allowed the caller still sees only the answer."""
    rig = Rig(an_error("network_error", code="stale_connection"), "fine", max_retries=0)
    balance = rig.upstream.budget._balance
    call = rig.call()
    call.attempts_left = 1
    assert (await answered(rig.handler, call)).content == "fine"
    assert rig.clock.sleeps == []
    assert rig.upstream.budget._balance >= balance


async def test_F10_F11_I5_a_second_stale_connection_of_a_call_is_an_attempt_like_any_other() -> None:
    """Also at the next provider: where the attempts of the call are used up, nothing is sent again."""
    stale = [an_error("network_error", code="stale_connection") for _ in range(3)]
    rig = Rig(*stale[:2])
    call = rig.call()
    call.attempts_left = 1
    with pytest.raises(ProviderError):
        await rig.handler(call)
    assert (rig.inner.calls, call.attempts_left) == (2, 0)
    there = Rig(*stale[2:])
    call.attempts_left = 1
    with pytest.raises(ProviderError):
        await there.handler(call)
    assert (there.inner.calls, call.attempts_left) == (1, 0)


async def test_F23_no_attempt_starts_before_the_hint_is_over() -> None:
    """The second request leaves at least two seconds after the first failed."""
    rig = Rig(an_error("rate_limit", retry_after=2.0), "fine")
    await answered(rig.handler, rig.call())
    assert 2.0 <= rig.inner.times[1] - rig.inner.times[0] <= 3.0


async def test_an_empty_budget_ends_retries_but_not_first_attempts() -> None:
    """When an upstream has used its retries up, each call makes one attempt."""
    rig = Rig(*[an_error() for _ in range(10)])
    while rig.upstream.budget.withdraw(rig.clock.monotonic()):
        pass
    with pytest.raises(ProviderError):
        await rig.handler(rig.call())
    assert rig.inner.calls == 1
    assert rig.decisions() == ["raise"]


async def test_F95_calls_that_are_cancelled_while_they_wait_for_their_retry_use_up_nobody_elses() -> None:
    """What was taken for a retry that is never made goes back: a hundred impatient callers leave the others theirs."""
    rig = Rig(*[an_error() for _ in range(100)], auto_advance=False)
    balance = rig.upstream.budget._balance
    for _ in range(100):
        task = asyncio.ensure_future(rig.handler(rig.call()))
        await rig.clock.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert rig.inner.calls == 100
    assert rig.upstream.budget._balance >= balance


@pytest.mark.parametrize("keys", [1, 4])
async def test_F96_another_key_costs_no_retry_but_an_attempt(keys: int) -> None:
    """With nothing left in the budget and no retries allowed, a call goes through its keys, within its attempts."""
    rig = Rig(*[an_error("authentication", code=NEXT_KEY, retryable=True) for _ in range(keys)], max_retries=0)
    while rig.upstream.budget.withdraw(rig.clock.monotonic()):
        pass
    call = rig.call()
    call.attempts_left = 3
    if keys < 3:
        assert (await answered(rig.handler, call)).content == "hello"
        assert [attempt.role for attempt in call.trace.attempts] == ["first", "retry"]
    else:
        with pytest.raises(ProviderError):
            await rig.handler(call)
        assert rig.inner.calls == 3


@pytest.mark.parametrize("times", [6, 30])
async def test_F96_a_call_that_is_sent_away_from_a_queue_has_used_no_attempt(times: int) -> None:
    """Its key was told to rest while it waited its turn: nothing was sent, however often; but not without end."""
    rig = Rig(*[an_error("rate_limit", code=NEXT_KEY, scope="request") for _ in range(times)], max_retries=0)
    call = rig.call()
    call.attempts_left = 3
    if times == 6:
        assert (await answered(rig.handler, call)).content == "hello"
        assert call.attempts_left == 2
    else:
        with pytest.raises(ProviderError):
            await rig.handler(call)
        assert rig.inner.calls == 20 + 3


async def test_F93_a_call_that_waits_for_its_key_uses_up_nothing_but_not_without_end() -> None:
    """Nothing was sent: neither attempts nor the budget of retries pay for it, and after twenty times both do."""
    rig = Rig(*[an_error("rate_limit", code="gated", retry_after=1.0) for _ in range(30)], max_retries=0)
    while rig.upstream.budget.withdraw(rig.clock.monotonic()):
        pass
    call = rig.call()
    call.attempts_left = 1
    with pytest.raises(ProviderError):
        await rig.handler(call)
    assert (rig.inner.calls, call.attempts_left) == (20 + 1, 0)


@pytest.mark.parametrize(("typical", "attempts"), [(2.0, 2), (9.0, 1)])
async def test_a_retry_that_its_model_cannot_answer_in_time_is_not_sent(typical: float, attempts: int) -> None:
    """What is known about its first outputs decides, not what is assumed about models in general."""
    rig = Rig(an_error(), "fine")
    for _ in range(4):
        rig.upstream.first_outputs.learn("m", typical, rig.clock.monotonic())
    call = rig.call(seconds=6.0)
    call.target = ALPHA
    if attempts == 1:
        with pytest.raises(ProviderError):
            await rig.handler(call)
    else:
        await answered(rig.handler, call)
    assert rig.inner.calls == attempts


async def test_F104_no_retry_is_made_once_the_attempts_of_the_call_are_used_up() -> None:
    """`retry.max_attempts` bounds the whole call."""
    rig = Rig(*[an_error() for _ in range(10)])
    call = rig.call()
    call.attempts_left = 2
    with pytest.raises(ProviderError):
        await rig.handler(call)
    assert rig.inner.calls == 2


async def test_F126_the_deadline_ends_the_back_off_without_another_request() -> None:
    """A call whose deadline falls into a wait ends at the deadline."""
    rig = Rig(an_error("rate_limit", retry_after=2.0), auto_advance=False)
    call = rig.call(seconds=2.9)
    call.rng.seed(3)
    task = asyncio.ensure_future(rig.handler(call))
    await rig.clock.advance(1.0)
    call.guard.cut(an_error("timeout", code="deadline_exceeded", retryable=False))
    with pytest.raises(ProviderError) as caught:
        await task
    assert caught.value.code == "deadline_exceeded"
    assert rig.inner.calls == 1


async def test_F127_a_cut_call_makes_no_further_attempt() -> None:
    """A drain that cuts the call ends it, whatever retries are left."""
    rig = Rig(an_error("cancelled", code="drained", retryable=True))
    with pytest.raises(ProviderError):
        await rig.handler(rig.call())
    assert (rig.inner.calls, rig.decisions()) == (1, ["raise"])


async def test_a_cancelled_attempt_is_written_down_as_ambiguous() -> None:
    """It may have been billed, and nobody waits for its answer."""
    rig = Rig(asyncio.CancelledError())
    call = rig.call()
    with pytest.raises(asyncio.CancelledError):
        await rig.handler(call)
    assert [(one.decision, one.billing) for one in call.trace.attempts] == [("cancelled", "ambiguous")]


async def test_a_failure_that_is_no_provider_error_is_reported_too() -> None:
    """A model that cannot be loaded is a failed attempt like any other, and is not repeated."""
    rig = Rig(ModelLoadError("no such file", model="m"))
    call = rig.call()
    call.alternatives = lambda _: True
    with pytest.raises(ModelLoadError):
        await rig.handler(call)
    assert rig.decisions() == ["next_candidate"]
    assert call.trace.attempts[0].error == "no such file"


async def test_F61_a_stream_that_breaks_later_is_a_failed_attempt_and_is_not_repeated() -> None:
    """The event says that the error goes to the caller."""
    rig = Rig("beginning")
    call = rig.call()
    reply = await rig.handler(call)
    await reply.end("failed", an_error("protocol", code="truncated", billing="estimated"))
    assert rig.inner.calls == 1
    assert rig.decisions() == ["raise"]
    assert call.trace.attempts[0].billing == "estimated"


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (an_error("server_error"), 1),
        (an_error("authentication"), 1),
        (an_error("invalid_request"), 0),
        (an_error("content_filter"), 0),
        (an_error("context_length"), 0),
    ],
)
async def test_the_health_of_a_provider_counts_what_is_not_about_the_request(
    error: ProviderError, failures: int
) -> None:
    """A refused prompt makes no provider look ill; an answer makes it well again."""
    rig = Rig(error, max_retries=0)
    with pytest.raises(ProviderError):
        await rig.handler(rig.call())
    assert rig.upstream.consecutive_failures == failures
    await answered(rig.handler, rig.call())
    assert rig.upstream.consecutive_failures == 0
    assert rig.upstream.last_success == rig.clock.now()


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (an_error("server_error", retryable=False), "next_candidate"),
        (an_error("invalid_request"), "raise"),
        (an_error("content_filter"), "raise"),
        (an_error("timeout", code="deadline_exceeded", retryable=False), "raise"),
    ],
)
async def test_the_trace_says_what_really_happens_after_a_failure(error: ProviderError, decision: str) -> None:
    """A refused request is not said to move on to another candidate that is never asked."""
    rig = Rig(error)
    call = rig.call()
    call.alternatives = lambda _: True
    with pytest.raises(ProviderError):
        await rig.handler(call)
    assert rig.decisions() == [decision]


async def test_every_call_pays_a_fifth_of_a_retry_in_and_every_retry_costs_one() -> None:
    """The budget grows with the load that is offered; of a retry that was answered a quarter comes back."""
    rig = Rig("one", "two", an_error(), "three")
    before = rig.upstream.budget._balance
    for _ in range(3):
        await answered(rig.handler, rig.call())
    waited = rig.clock.elapsed() * rig.upstream.budget.PER_SECOND
    rig.upstream.budget._refill(rig.clock.monotonic())
    assert rig.upstream.budget._balance == pytest.approx(before + 3 * 0.2 - 1.0 + 0.25 + waited)
