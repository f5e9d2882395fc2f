"""Limits that are looked at together: each rings at its moment, and those that are over never do."""

import pytest

from core.llm.common.clock import TimerHandle
from core.llm.common.timers import LOOK, Timers
from core.llm.testing import FakeClock


class Limit:
    """Notes when it rings."""

    def __init__(self, clock: FakeClock, due_at: float) -> None:
        self.clock = clock
        self.due_at = clock.monotonic() + due_at
        self.timer: TimerHandle | None = None
        self.rung: list[float] = []

    def ring(self) -> None:
        """Its moment has come."""
        self.rung.append(self.clock.elapsed())


class Rig:
    """Timers on a clock that stands still."""

    def __init__(self, *, looks: bool) -> None:
        self.clock = FakeClock()
        self.timers: Timers[Limit] = Timers(self.clock, looks=looks)

    def add(self, due_at: float) -> Limit:
        """A limit *due_at* seconds from now."""
        limit = Limit(self.clock, due_at)
        self.timers.add(limit)
        return limit


@pytest.fixture(params=[True, False], ids=["looking", "at once"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(looks=request.param)


@pytest.mark.parametrize("seconds", [0.01, LOOK, 1.5 * LOOK, 2 * LOOK, 600.25])
async def test_everything_rings_at_its_moment(rig: Rig, seconds: float) -> None:
    """Neither early nor with the next look, however far away it was, and whatever was added before."""
    rig.add(10_000.0)
    await rig.clock.advance(0.7 * LOOK)
    limit = rig.add(seconds)
    await rig.clock.advance(seconds - 0.001)
    assert limit.rung == []
    await rig.clock.advance(0.001)
    assert limit.rung == [pytest.approx(0.7 * LOOK + seconds)]


async def test_what_is_over_never_rings(rig: Rig) -> None:
    """Near or far; and once nothing is left no timer is, after one last look."""
    limits = [rig.add(seconds) for seconds in (0.5, 5.0, 600.0)]
    for limit in limits:
        rig.timers.remove(limit)
    await rig.clock.advance(601.0)
    assert [limit.rung for limit in limits] == [[], [], []]
    assert rig.clock.pending == 0


async def test_a_moment_that_moves_is_the_one_that_counts(rig: Rig) -> None:
    """Nearer as well as further away."""
    nearer, further = rig.add(600.0), rig.add(1.0)
    nearer.due_at, further.due_at = rig.clock.monotonic() + 0.5, rig.clock.monotonic() + 30.0
    rig.timers.changed(nearer)
    rig.timers.changed(further)
    await rig.clock.advance(29.9)
    assert (nearer.rung, further.rung) == ([0.5], [])
    await rig.clock.advance(0.1)
    assert further.rung == [pytest.approx(30.0)]


async def test_what_is_never_due_is_known_but_needs_no_timer(rig: Rig) -> None:
    """So that whoever closes everything finds it."""
    limit = rig.add(float("inf"))
    assert rig.timers.members == {limit}
    await rig.clock.advance(100.0)
    assert limit.rung == []


async def test_limits_that_are_far_away_cost_no_timer_of_their_own() -> None:
    """A thousand calls of ten minutes share the one timer of the next look."""
    rig = Rig(looks=True)
    for _ in range(1000):
        rig.add(600.0)
    assert rig.clock.pending == 1
    await rig.clock.advance(10.0)
    assert rig.clock.pending == 1


async def test_the_looking_begins_anew_with_the_next_limit() -> None:
    """After a time with nothing to look at."""
    rig = Rig(looks=True)
    rig.timers.remove(rig.add(600.0))
    await rig.clock.advance(5 * LOOK)
    assert rig.clock.pending == 0
    limit = rig.add(3.0)
    await rig.clock.advance(3.0)
    assert limit.rung == [pytest.approx(5 * LOOK + 3.0)]
