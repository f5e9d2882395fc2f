"""Two attempts at the same time: whatever ends the race, nothing stays behind."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest

from core.llm.common.trace import AttemptTrace, CandidateTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.race import Race
from tests.unit.pipeline.support import a_call, an_answer

FIRST, SECOND = CandidateTrace(ModelRef("alpha", "m")), CandidateTrace(ModelRef("beta", "m"))


async def settled() -> None:
    """Let tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_answer_that_nobody_has_taken_is_ended() -> None:
    """The call was cancelled in the moment in which it was answered."""

    async def attempt(branch: Call, entry: CandidateTrace) -> Reply | None:
        return Reply(branch, response=an_answer())

    race = Race(a_call(), attempt, set())
    await race.run(FIRST)
    assert race.over
    reply = race.reply
    assert reply is not None
    await race.stop(asyncio.CancelledError())
    assert reply.outcome == "cancelled"


async def test_an_answer_that_comes_after_the_first_is_ended() -> None:
    """Both had it in the same turn of the event loop: one of them is too late."""
    replies: list[Reply] = []

    async def attempt(branch: Call, entry: CandidateTrace) -> Reply | None:
        await asyncio.sleep(0)
        replies.append(Reply(branch, response=an_answer(entry.target.provider)))
        return replies[-1]

    call = a_call()
    race = Race(call, attempt, set())
    running = asyncio.create_task(race.run(FIRST))
    await asyncio.sleep(0)
    race.begin(SECOND)
    await settled()
    await running
    assert [reply.outcome for reply in replies] == ["open", "cancelled"]
    assert race.winner is race.runners[0]


async def test_the_second_runs_on_a_branch_and_the_call_takes_over_what_it_came_to() -> None:
    """Attempts are counted together; the trace is one."""

    async def attempt(branch: Call, entry: CandidateTrace) -> Reply | None:
        branch.attempts_left -= 1
        branch.attempt = AttemptTrace(1, entry.target, 0.0)
        branch.target = entry.target
        if entry is FIRST:
            await asyncio.Event().wait()
        return Reply(branch, response=an_answer())

    call = a_call()
    call.attempts_left = 5
    tasks: set[asyncio.Task[None]] = set()
    race = Race(call, attempt, tasks)
    running = asyncio.create_task(race.run(FIRST))
    await settled()
    second = race.begin(SECOND)
    cut = call.attempt
    await settled()
    assert second.call.role == "hedge"
    assert second.call.trace is call.trace
    assert second.call.guard is not call.guard
    await running
    race.settle()
    assert call.attempts_left == 3
    assert call.target == SECOND.target
    assert cut is not None
    assert (cut.decision, cut.billing) == ("cancelled", "ambiguous"), "booked before anybody reads it"
    assert running.cancelling() == 0, "the cancellation was for the attempt, not for the call"
    assert tasks == set()


async def test_S67_the_second_counts_against_the_limit_of_the_call_also_where_it_is_cut() -> None:
    """It was sent; whoever takes over a broken stream of the first has that much less left."""

    async def attempt(branch: Call, entry: CandidateTrace) -> Reply | None:
        if entry is SECOND:
            try:
                await asyncio.Event().wait()
            finally:
                branch.spent += Decimal("0.5")
        await asyncio.sleep(0)
        return Reply(branch, response=an_answer())

    call, tasks = a_call(), set[asyncio.Task[None]]()
    race = Race(call, attempt, tasks)
    running = asyncio.create_task(race.run(FIRST))
    await asyncio.sleep(0)
    race.begin(SECOND)
    await running
    await settled()
    race.settle()
    race.cut("the first was faster")
    await settled()
    assert not tasks
    assert call.spent == Decimal("0.5")


async def for_ever(_: Call, __: CandidateTrace) -> Reply | None:
    """An attempt that nobody answers."""
    await asyncio.get_running_loop().create_future()
    return None


@pytest.mark.parametrize("beside", [False, True])
async def test_a_caller_who_cancels_the_call_ends_it(beside: bool) -> None:
    """The cancellation is his, and goes on to whoever waits for the call; nothing is left under way."""
    tasks: set[asyncio.Task[None]] = set()
    race = Race(a_call(), for_ever, tasks)
    running = asyncio.create_task(race.run(FIRST))
    await settled()
    if beside:
        race.begin(SECOND)
        await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    await race.stop(caught.value)
    await settled()
    assert not tasks


async def test_a_caller_who_cancels_in_the_moment_in_which_the_second_wins_is_obeyed_all_the_same() -> None:
    """The first is cut by a cancellation too; that must not swallow his."""
    replies: list[Reply] = []

    async def attempt(branch: Call, entry: CandidateTrace) -> Reply | None:
        if entry is FIRST:
            return await for_ever(branch, entry)
        running.cancel()
        replies.append(Reply(branch, response=an_answer()))
        return replies[0]

    race = Race(a_call(), attempt, set())
    running = asyncio.create_task(race.run(FIRST))
    await settled()
    race.begin(SECOND)
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    await race.stop(caught.value)
    assert replies[0].outcome == "cancelled"


async def test_an_answer_that_comes_although_its_attempt_was_cut_is_ended() -> None:
    """Its connection and its slot are given back; nobody is there any more who would do it."""
    replies: list[Reply] = []

    async def attempt(branch: Call, entry: CandidateTrace) -> Reply | None:
        with suppress(asyncio.CancelledError):
            await for_ever(branch, entry)
        replies.append(Reply(branch, response=an_answer()))
        return replies[0]

    race = Race(a_call(), attempt, set())
    race.begin(SECOND)
    await settled()
    race.cut("the call ended first")
    await settled()
    assert [reply.outcome for reply in replies] == ["cancelled"]
    assert race.winner is None


async def test_who_is_cut_twice_is_cancelled_once() -> None:
    """A second cancellation would hit what the attempt does to clean up."""
    race = Race(a_call(), for_ever, set())
    second = race.begin(SECOND)
    await settled()
    race.cut("the first was faster")
    race.cut("the call ended first")
    assert second.task is not None
    assert second.task.cancelling() == 1
    await settled()
