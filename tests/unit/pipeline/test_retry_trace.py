"""What the retry layer writes down of each attempt: the trace on answers and errors, and the state of the upstream."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.retry import retry
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.response import TextDelta
from core.llm.providers.config.models.service import RetryOptions
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_answer, an_error


class Slow:
    """The layer around attempts that take three seconds each."""

    def __init__(self, *outcomes: BaseException | Callable[[Call], Reply]) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream(self.clock.monotonic())
        inner = Scripted(*map(self._after_three_seconds, outcomes))
        self.handler: Handler = retry(RetryOptions(), 0, ALPHA, self.upstream)(inner)

    def _after_three_seconds(
        self, outcome: BaseException | Callable[[Call], Reply]
    ) -> Callable[[Call], Awaitable[Reply]]:
        async def attempt(call: Call) -> Reply:
            await self.clock.advance(3.0)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome(call)

        return attempt


def whole(call: Call) -> Reply:
    return Reply(call, response=an_answer())


@pytest.mark.parametrize(
    "error", [an_error(), ModelLoadError("no such file", model="m"), asyncio.CancelledError()], ids=type
)
async def test_an_attempt_that_fails_says_how_long_it_took(error: BaseException) -> None:
    """Whoever reads the trace of a slow call sees which attempt used the time up."""
    rig = Slow(error)
    call = a_call(clock=rig.clock)
    with pytest.raises(type(error)):
        await rig.handler(call)
    assert [attempt.duration for attempt in call.trace.attempts] == [pytest.approx(3.0)]


async def test_an_attempt_that_is_answered_took_until_its_end() -> None:
    """For a stream that is its last event."""
    rig = Slow(whole)
    call = a_call(clock=rig.clock)
    async with await rig.handler(call):
        await rig.clock.advance(2.0)
    assert [attempt.duration for attempt in call.trace.attempts] == [pytest.approx(5.0)]


async def test_the_first_output_of_a_stream_is_timed_without_the_time_in_the_queue() -> None:
    """What a limit held back is no slowness of the model; and nothing is waited for in a whole answer."""

    def begun(call: Call) -> Reply:
        assert call.attempt is not None
        call.attempt.queued = 1.0
        return Reply(call, head=[TextDelta("begun")])

    rig = Slow(begun, whole)
    stream, answer = a_call("stream", clock=rig.clock), a_call(clock=rig.clock)
    await (await rig.handler(stream)).end("answered")
    await (await rig.handler(answer)).end("answered")
    assert stream.trace.attempts[0].time_to_first_token == pytest.approx(2.0)
    assert answer.trace.attempts[0].time_to_first_token is None


async def test_a_failed_attempt_carries_all_that_the_provider_said() -> None:
    """With the request id its support can be asked, and the code says what to do."""
    rig = Slow(an_error("rate_limit", code="slow_down", status_code=429, retry_after=7.0, request_id="req_1"))
    call = a_call(clock=rig.clock)
    with pytest.raises(ProviderError):
        await rig.handler(call)
    (attempt,) = call.trace.attempts
    assert (attempt.error_type, attempt.error, attempt.code) == ("rate_limit", "it failed", "slow_down")
    assert (attempt.status_code, attempt.retry_after, attempt.request_id) == (429, 7.0, "req_1")


@pytest.mark.parametrize(("outcome", "decision"), [("cancelled", "cancelled"), ("abandoned", "answered")])
async def test_a_stream_that_is_cancelled_is_no_failure_and_no_answer_of_the_provider(
    outcome: str, decision: str
) -> None:
    """The consumer's end of a call says nothing about how the provider is."""
    rig = Slow(whole)
    call = a_call(clock=rig.clock)
    reply = await rig.handler(call)
    await reply.end(outcome)  # type: ignore[arg-type]  # one of the outcomes
    assert call.trace.attempts[0].decision == decision
    assert (rig.upstream.last_success, rig.upstream.consecutive_failures) == (None, 0)


async def test_a_stream_that_breaks_is_a_failure_of_its_provider() -> None:
    """Its status shows the last error, also where every stream begins well."""
    rig = Slow(whole, whole)
    for _ in range(2):
        await (await rig.handler(a_call(clock=rig.clock))).end("failed", an_error("protocol", code="truncated"))
    assert rig.upstream.consecutive_failures == 2
    assert "it failed" in (rig.upstream.last_error or "")
