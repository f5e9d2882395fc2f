"""G13: recovery of broken streams together with what else may be around a call."""

from typing import Any

import pytest

from core.llm.testing.fault_dialects import OPENAI
from core.llm.testing.wire_steps import Stall, script
from tests.faults.broken_streams import BEGUN, OTHER, REST, TEXT, broken, broken_streams, whole

pytestmark = pytest.mark.usefixtures("no_leaks")


def late(given: Any) -> Any:
    """The same answer, a while later."""
    return type(given)((Stall(0.3), *given.steps), given.read_body)


async def test_G13_a_hedge_that_won_and_broke_is_restarted_at_the_one_it_beat() -> None:
    """The slower candidate had been cut, not failed: it is asked again."""
    hedge = {"after": "50ms", "max_extra": 1}
    route = {"use": "faulty/m", "fallback": ["spare/m"], "mid_stream": "restart", "hedge": hedge}
    async with broken_streams("restart", models={"route": route}) as it:
        it.faulty.will(script(Stall()), whole(OPENAI, OTHER))
        it.spare.will(broken(OPENAI, "cut"))
        seen = await it.read()
        assert seen.error is None
        assert [reset.target for reset in seen.resets] == [("faulty", "m")]
        assert seen.shown == seen.response.content == OTHER


async def test_G13_a_buffer_holds_for_a_hedge_as_well() -> None:
    """Whoever wins has its first tokens held back."""
    route = {
        "use": "faulty/m", "fallback": ["spare/m"], "hedge": {"after": "50ms", "max_extra": 1},
        "mid_stream": {"policy": "buffer", "buffer_tokens": 200},
    }  # fmt: skip
    async with broken_streams("error", models={"route": route}) as it:
        it.faulty.will(late(broken(OPENAI, "cut")), whole(OPENAI, OTHER))
        it.spare.will(broken(OPENAI, "cut"), whole(OPENAI, OTHER))
        it.faulty.otherwise(whole(OPENAI, OTHER))
        it.spare.otherwise(whole(OPENAI, OTHER))
        seen = await it.read()
        assert seen.error is None
        assert not seen.resets
        assert seen.all_text == OTHER


@pytest.mark.parametrize("policy", ["restart", "continue"])
async def test_G13_what_was_recovered_is_not_kept_in_the_cache(policy: str) -> None:
    """Its tokens are an estimate: who asks next is answered by the provider, and that answer is kept."""
    async with broken_streams(policy, prefill=True, cache={"enabled": True}) as it:
        it.faulty.will(broken(OPENAI, "cut"), whole(OPENAI, TEXT))
        it.spare.will(whole(OPENAI, OTHER if policy == "restart" else " " + REST))
        first, second, third = [await it.read(temperature=0) for _ in range(3)]
        assert first.shown == first.response.content == (OTHER if policy == "restart" else TEXT)
        assert [one.response.cached for one in (first, second, third)] == [False, False, True]
        assert second.all_text == third.all_text == TEXT


async def test_G13_each_attempt_is_a_row_of_the_ledger() -> None:
    """What broke is booked as an estimate, what took over as the provider has said."""
    async with broken_streams("restart") as it:
        it.faulty.will(broken(OPENAI, "cut"))
        it.spare.will(whole(OPENAI, OTHER))
        seen = await it.read()
        rows = await it.ledger.rows()
        assert sorted((row.provider, row.state) for row in rows) == [("faulty", "estimated"), ("spare", "settled")]
        assert sum(row.usage.total for row in rows) == seen.response.usage.total
        assert sum(row.amount for row in rows) == seen.response.cost.amount


async def test_G13_what_the_trace_says_of_a_broken_attempt() -> None:
    """Where it went on; and that it did not, where nobody took over."""
    async with broken_streams("restart") as it:
        it.faulty.will(broken(OPENAI, "cut"))
        it.spare.will(whole(OPENAI, OTHER))
        assert [one.decision for one in (await it.read()).trace.attempts] == ["next_candidate", "answered"]
    async with broken_streams("restart", fallback=()) as it:
        it.faulty.will(broken(OPENAI, "cut"), whole(OPENAI, OTHER))
        assert [one.decision for one in (await it.read()).trace.attempts] == ["retry", "answered"]
    async with broken_streams({"policy": "continue"}) as it:
        it.faulty.will(broken(OPENAI, "cut"))
        seen = await it.read()
        assert [one.decision for one in seen.trace.attempts] == ["raise"]
        assert seen.partial == BEGUN
