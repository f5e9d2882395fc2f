"""One row for each request that was sent, closed exactly once, with what it used."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import RateLimited, UnsupportedFeature
from core.llm.common.messages import ToolCall
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import FinishReason, PartialOutput, Usage
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.ledger import ledger
from core.llm.providers.base.response import (
    EmbeddingResponse,
    RefusalDelta,
    StreamFinish,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from core.llm.providers.config.models.provider import ModelOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.state.holds import Hold, Scope
from core.llm.state.rows import AttemptRow
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, a_target, an_answer, an_error

PRICED = {"m": ModelOptions(price={"input": "2", "output": "10"})}


class Desk:
    """The layer around a handler that does as it is told."""

    def __init__(self, inner: Handler) -> None:
        self.book = UsageLedger()
        target = a_target(models=PRICED)
        counts = TokenCalibration()
        self.handler = ledger(self.book, target, "USD", counts)(inner)

    async def only_row(self) -> AttemptRow:
        (row,) = await self.book.rows()
        return row


def attempted(**params: object) -> Call:
    """A call in its first attempt."""
    call = a_call(**params)
    call.attempt = AttemptTrace(1, ALPHA, 0.0, key_id="k1")
    call.trace.attempts.append(call.attempt)
    return call


def streaming(*events: object, error: BaseException | None = None) -> Handler:
    """A handler whose stream hands out *events*, and then breaks where there is an error."""

    async def tail():
        for event in events:
            yield event
        if error is not None:
            raise error

    async def handle(call: Call) -> Reply:
        return Reply(call, tail=tail())

    return handle


async def test_an_answer_is_a_settled_row_with_its_exact_cost():
    desk = Desk(Scripted(lambda call: Reply(call, response=an_answer(usage=Usage(30, output=7)))))
    async with await desk.handler(attempted(user="ann")):
        (row,) = await desk.book.rows()
        assert row.state == "open", "written before the answer has ended"
    row = await desk.only_row()
    assert (row.attempt_id, row.provider, row.model, row.user, row.key_id) == ("c1-1", "alpha", "m", "ann", "k1")
    assert (row.state, row.usage, row.amount) == ("settled", Usage(30, output=7), Decimal("0.00013"))
    (total,) = await desk.book.totals()
    assert (total.attempts, total.amount) == (1, row.amount)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (an_error(billing="none"), "none"),
        (an_error(billing="ambiguous"), "ambiguous"),
        (RateLimited("our own limit"), "none"),
        (UnsupportedFeature("no"), "none"),
        (asyncio.CancelledError(), "ambiguous"),
        (ValueError("a defect"), "ambiguous"),
    ],
)
async def test_a_failed_attempt_costs_what_is_known_of_it(error, state):
    """Proven nothing, or the estimate of its prompt."""
    desk = Desk(Scripted(error))
    with pytest.raises(type(error)):
        await desk.handler(attempted())
    row = await desk.only_row()
    assert row.state == state
    assert (row.usage.total > 0) == (state != "none")
    assert (row.amount > 0) == (state != "none")
    assert "defect" not in str(row), "the text of an error is no business of the ledger"


async def test_a_stream_that_is_left_is_booked_as_far_as_it_came():
    """F80: the provider's word for the prompt, our count for the rest."""
    desk = Desk(
        streaming(
            StreamStart(), TextDelta("one two three four "), UsageReport(Usage(50)), TextDelta("five six seven eight")
        )
    )
    call = attempted(mode="stream")
    reply = await desk.handler(call)
    for _ in range(4):
        await reply.next()
    await reply.end("abandoned")
    row = await desk.only_row()
    assert (row.state, row.usage.input, row.usage.estimated) == ("estimated", 50, True)
    assert row.usage.output >= 8
    await reply.end("abandoned")
    (total,) = await desk.book.totals()
    assert total.attempts == 1


async def test_a_stream_that_is_left_after_a_tool_call_is_booked_with_it():
    """F80: a model may say nothing but what to call; its arguments are generated and paid for like text."""
    call_of_a_tool = ToolCall("t1", "write_file", {"content": "word " * 200})
    desk = Desk(
        streaming(StreamStart(), UsageReport(Usage(50, output=1)), ToolCallReady(0, call_of_a_tool), TextDelta("so"))
    )
    reply = await desk.handler(attempted(mode="stream"))
    for _ in range(3):
        await reply.next()
    await reply.end("abandoned")
    row = await desk.only_row()
    assert row.usage.input == 50
    assert 200 <= row.usage.output < 300


@pytest.mark.parametrize("event", [ToolCallDelta(0, "t1", "write_file", "word " * 200), RefusalDelta("word " * 200)])
async def test_a_stream_that_breaks_in_a_tool_call_or_a_refusal_is_booked_with_it(event):
    """F80: what was generated is paid for, whole or not; the error has it too."""
    desk = Desk(streaming(StreamStart(), UsageReport(Usage(50, output=1)), event, error=an_error("network_error")))
    reply = await desk.handler(attempted(mode="stream"))
    with pytest.raises(type(an_error())) as caught:
        async with reply:
            while await reply.next() is not None:
                pass
    partial = caught.value.partial
    assert "word " * 200 in partial.refusal + partial.unfinished_calls
    assert partial.tool_calls == ()
    row = await desk.only_row()
    assert row.usage.input == 50
    assert 200 <= row.usage.output < 300


async def test_a_broken_stream_is_an_estimate_of_what_came():
    desk = Desk(streaming(StreamStart(), TextDelta("one two three"), error=an_error("network_error")))
    reply = await desk.handler(attempted(mode="stream"))
    with pytest.raises(type(an_error())) as caught:
        async with reply:
            while await reply.next() is not None:
                pass
    assert caught.value.partial == PartialOutput("one two three")
    row = await desk.only_row()
    assert (row.state, row.error) == ("estimated", "network_error")
    assert row.usage.input > 0
    assert row.usage.output >= 3


async def test_a_whole_stream_is_settled_with_the_last_report():
    """F73: cumulative reports are not added up."""
    desk = Desk(
        streaming(
            StreamStart(),
            TextDelta("hi"),
            UsageReport(Usage(9, output=1)),
            UsageReport(Usage(9, output=4)),
            StreamFinish(FinishReason("stop")),
        )
    )
    reply = await desk.handler(attempted(mode="stream"))
    async with reply:
        while await reply.next() is not None:
            pass
        reply.response = reply.collector.response()
    row = await desk.only_row()
    assert (row.state, row.usage) == ("settled", Usage(9, output=4))


async def test_what_could_not_be_written_was_not_sent():
    """Cancelled while the row was on its way to the disk: no request, no cost."""

    class Slow:
        def begin(self, row):
            return asyncio.get_running_loop().create_future()

        def settle(self, row):
            self.row = row

    inner = Scripted("never")
    desk = Desk(inner)
    desk.book._store, desk.book.durable = Slow(), True
    task = asyncio.create_task(desk.handler(attempted()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inner.calls == 0
    assert (desk.book._store.row.state, desk.book._store.row.nanos) == ("none", 0)


async def test_a_durable_row_holds_the_estimate_of_its_prompt_from_the_start():
    """Whatever happens to the process, the row stands for what the request may have cost."""
    desk = Desk(Scripted("hello"))
    desk.book.durable = True
    reply = await desk.handler(attempted(messages="a prompt of some words"))
    row = await desk.only_row()
    assert (row.state, row.usage.estimated) == ("open", True)
    assert row.usage.input > 4
    assert row.nanos == row.usage.input * 2 * 1000
    await reply.end("answered")


async def test_a_row_says_how_long_its_attempt_took():
    """From the beginning of the attempt, not of the call, to the end of its answer."""
    clock = FakeClock()
    desk = Desk(Scripted(lambda call: Reply(call, response=an_answer())))
    call = attempted(clock=clock)
    await clock.advance(10.0)
    call.attempt.started = 9.0
    async with await desk.handler(call):
        await clock.advance(2.0)
    assert (await desk.only_row()).duration == pytest.approx(3.0)


@pytest.mark.parametrize(("requested", "alias"), [("fast", "fast"), ("", None)])
async def test_a_row_names_what_was_asked_for(requested, alias):
    """A bill by alias is made of it; nothing asked for is nothing named."""
    desk = Desk(Scripted())
    call = attempted()
    call.trace.requested = requested
    async with await desk.handler(call):
        pass
    assert (await desk.only_row()).alias == alias


@pytest.mark.parametrize("alias", ["smart", ""])
async def test_F155_a_row_is_booked_at_the_moment_and_for_the_alias_of_what_was_held_for_it(alias):
    """Midnight may lie between the two: what one window held another one must not be charged."""
    desk = Desk(Scripted())
    config = LLMServiceConfig.model_validate({"providers": {"alpha": {}}, "costs": {"daily_limit": 10}})
    call = attempted()
    desk.book.limit(config, call.clock, call.events)
    purse = desk.book.purse
    held = Hold("c1-1", Scope(*ALPHA, alias), call.clock.now() - timedelta(hours=1), 10**9)
    purse.take(purse.touching(ALPHA), held)
    async with await desk.handler(call):
        pass
    row = await desk.only_row()
    assert (row.started, row.alias) == (held.started, alias or None)
    assert purse.hold_of("c1-1") is None


async def test_a_row_tells_a_hedge_or_a_retry_from_a_first_attempt():
    """By its number and its role: two rows of one call are two requests."""
    desk = Desk(Scripted())
    call = attempted()
    call.attempt.number, call.attempt.role = 3, "hedge"
    async with await desk.handler(call):
        pass
    row = await desk.only_row()
    assert (row.attempt_id, row.number, row.role) == ("c1-3", 3, "hedge")


async def test_vectors_are_booked_with_what_the_provider_counted():
    """Not with our own count of the texts."""
    vectors = EmbeddingResponse(((0.5,),), "m", "alpha", Usage(1000))
    desk = Desk(Scripted(lambda call: Reply(call, embedding=vectors)))
    async with await desk.handler(attempted(mode="embed", inputs=("one",))):
        pass
    row = await desk.only_row()
    assert (row.state, row.usage) == ("settled", Usage(1000))


async def test_an_answer_whose_tokens_nobody_reported_is_booked_as_an_estimate():
    """A bill can tell what was counted from what was guessed."""
    answer = an_answer(usage=Usage(30, output=7, estimated=True))
    desk = Desk(Scripted(lambda call: Reply(call, response=answer)))
    async with await desk.handler(attempted()):
        pass
    assert (await desk.only_row()).state == "estimated"
