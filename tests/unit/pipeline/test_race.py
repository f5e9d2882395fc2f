"""Two attempts at the same time: whatever ends the race, nothing stays behind."""

import asyncio
from decimal import Decimal

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
