"""What routing is told of a limit before a call is sent to it, and what is told of an overload and its end."""

import pytest

from core.llm.common.events import ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from tests.unit.pipeline.limits_rig import LimitsRig
from tests.unit.pipeline.support import an_error


def crowded(rig: LimitsRig, *, patient: bool = True, later: float = 0.0, **options: int) -> str | None:
    """Why a call would not wait for its turn."""
    assert rig.target.crowded is not None
    return rig.target.crowded(rig.call(**options), patient, later)


async def test_where_there_is_room_nothing_is_in_the_way() -> None:
    """And nothing is taken by looking."""
    rig = LimitsRig(requests_per_minute=60, tokens_per_minute=6000)
    assert crowded(rig) is None
    assert rig.left("requests_per_minute") == 60


async def test_a_call_that_can_never_fit_is_seen_before_it_is_sent() -> None:
    """With the limit and what to do."""
    rig = LimitsRig(tokens_per_minute=100)
    assert "more than there ever is" in (crowded(rig, max_tokens=1000) or "")
    assert crowded(rig, max_tokens=10) is None


async def test_a_full_queue_is_seen_and_not_by_whoever_comes_once_there_is_room() -> None:
    """A route that is looked at for later counts the time until then."""
    rig = LimitsRig(requests_per_minute=60, queue=0)
    while crowded(rig) is None:
        await rig.answer()
    assert "calls wait already" in (crowded(rig) or "")
    assert crowded(rig, later=60.0) is None


async def test_the_end_of_an_overload_is_told_once() -> None:
    """The answers after it are no news."""
    rig = LimitsRig()
    await rig.answer()
    rig.inner.outcomes.append(an_error("overloaded"))
    with pytest.raises(ProviderError):
        await rig.answer()
    await rig.clock.advance(61)
    for _ in range(3):
        await rig.answer()
    assert [event.state for event in rig.seen.of(ProviderStateChanged)] == ["throttled", "unthrottled"]
