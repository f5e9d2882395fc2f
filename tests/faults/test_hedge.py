"""A hedged call on real connections: what becomes of the one that was slower."""

import asyncio

import pytest

from core.llm.testing import wire_dialects as wire
from core.llm.testing.wire_steps import Stall, script, stream
from tests.faults.rig import SOON, TEXT

HEDGED = {
    "models": {"fast": {"use": "faulty/m", "fallback": ["spare/m"], "hedge": {"after": "50ms", "max_extra": 1}}},
}


async def hedged_rig(make_rig, dialect):
    """An upstream at fault that may take its time, and a spare that is asked after 50 ms."""
    return await make_rig(dialect, provider={"max_connections": 1}, **HEDGED)


@pytest.mark.parametrize("form", ["generate", "stream"])
async def test_f98_g22_the_connection_of_the_slower_one_is_closed(make_rig, dialect, form):
    """At once; its place in the pool is free, and its provider is blamed for nothing."""
    rig = await hedged_rig(make_rig, dialect)
    # It accepts the request and says nothing.
    rig.server.will(script(Stall()))
    outcome = await getattr(rig, form)("fast")
    assert outcome.text == "spare"
    closed = rig.server.requests[0].connection
    await asyncio.wait_for(closed.ended.wait(), SOON)
    assert closed.peer_closed_at is not None
    assert [(one.role, one.decision, one.billing) for one in outcome.attempts] == [
        ("first", "cancelled", "ambiguous"),
        ("hedge", "answered", "settled"),
    ]
    assert rig.llm.get_provider_status()["faulty"].state == "ready"
    rig.server.will(dialect.answer() if form == "generate" else dialect.stream())
    assert (await getattr(rig, form)("faulty/m")).text == TEXT, "the place in the pool is free again"


async def test_f98_a_stream_of_the_slower_one_is_closed_though_it_has_begun_to_answer(make_rig, dialect):
    """A head without output is no output: the other one may still be faster."""
    rig = await hedged_rig(make_rig, dialect)
    rig.server.will(dialect.stream(dialect.opening, end=False).then(Stall()))
    outcome = await rig.stream("fast")
    assert outcome.text == "spare"
    closed = rig.server.requests[0].connection
    await asyncio.wait_for(closed.ended.wait(), SOON)
    assert closed.peer_closed_at is not None


async def test_f98_both_answer_at_once_and_one_result_is_delivered(make_rig, dialect):
    """Whoever loses is cut in the middle of its answer; nothing of it is mixed in."""
    rig = await hedged_rig(make_rig, dialect)
    rig.spare.forget()
    for _ in range(5):
        rig.server.will(script(Stall(0.05), *dialect.stream(gap=0.001).steps))
        rig.spare.will(stream(wire.openai_stream("spare"), gap=0.001))
        outcome = await rig.stream("fast")
        assert outcome.text in {TEXT, "spare"}
        assert len([one for one in outcome.attempts if one.decision == "answered"]) == 1
