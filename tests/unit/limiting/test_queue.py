"""Who is let in next: in the order of arrival, all limits at once, and nobody is kept from what others do not want."""

from core.llm.limiting.dimension import INPUT, REQUESTS, TOKENS, Amounts, Dimension
from core.llm.limiting.queue import FairQueue, Lane, Waiter
from core.llm.limiting.quota import MINUTE, Quota
from core.llm.limiting.slots import Slots

START = 1000.0


def tokens(limit: float = 1000, name: str = "tokens_per_minute") -> Quota:
    """So many tokens per minute, all at once."""
    return Quota(name, TOKENS, limit, MINUTE, 1.0, START)


def of(amount: float) -> Amounts:
    """One request with so many tokens."""
    return (1.0, amount, 0.0, amount)


class Row:
    """A queue, and the names of those it has let in or sent away, in order."""

    def __init__(self) -> None:
        self.queue = FairQueue()
        self.woken: list[str] = []

    def wait(self, name: str, lane: Lane, amount: float) -> Waiter:
        """Let *name* wait for *amount* tokens."""
        return self.queue.add(lane, of(amount), lambda: self.woken.append(name))


def test_F99_small_requests_do_not_overtake_a_large_one() -> None:
    """The large one came first, so the small ones behind it wait although there would be room for them."""
    row, lane = Row(), Lane((tokens(),))
    lane.reserve(of(600), START)
    row.wait("large", lane, 500)
    for number in range(5):
        row.wait(f"small {number}", lane, 10)
    again = row.queue.admit(START)
    assert row.woken == []
    assert again is not None
    row.queue.admit(again + 1e-6)
    assert row.woken == ["large", "small 0", "small 1", "small 2", "small 3", "small 4"]
    assert row.queue.length == 0


def test_all_limits_are_taken_or_none() -> None:
    """Where the second limit cannot give, nothing is taken from the first."""
    slots, quota = Slots("max_concurrency", 1), tokens()
    lane = Lane((quota, slots))
    assert lane.reserve(of(10), START) is not None
    assert lane.reserve(of(10), START) is None
    assert quota.left(START) == 990
    assert slots.used == 1


def test_a_lane_that_waits_for_its_own_limit_holds_nobody_else_up() -> None:
    """Calls to another model go on: they want nothing of what the first one waits for."""
    row, shared = Row(), tokens(10_000)
    small, other = Lane((shared, tokens(100, "of the model"))), Lane((shared,))
    small.reserve(of(100), START)
    row.wait("first", small, 50)
    row.wait("second", other, 50)
    row.queue.admit(START)
    assert row.woken == ["second"]


def test_nobody_overtakes_on_a_shared_limit() -> None:
    """The large call of one model waits for the quota of all: small calls to another model stay behind it."""
    row, shared = Row(), tokens(1000)
    one, other = Lane((shared,)), Lane((shared, tokens(500, "of the model")))
    one.reserve(of(600), START)
    row.wait("large", one, 500)
    row.wait("small", other, 10)
    assert not other.is_undisturbed()
    row.queue.admit(START)
    assert row.woken == []


def test_the_end_of_a_call_lets_the_next_one_in() -> None:
    """No time can be said for a slot; when it is given back, whoever came first gets it."""
    row, lane = Row(), Lane((Slots("max_concurrency", 1),))
    running = lane.reserve(of(1), START)
    row.wait("first", lane, 1)
    row.wait("second", lane, 1)
    assert row.queue.admit(START) is None
    assert running is not None
    running.settle(None, START + 5)
    row.queue.admit(START + 5)
    assert row.woken == ["first"]


def test_who_leaves_the_queue_leaves_nothing_behind() -> None:
    """No place, no claim on a limit; leaving twice is leaving once."""
    row, quota = Row(), tokens(100)
    lane = Lane((quota,))
    lane.reserve(of(100), START)
    first, second = row.wait("first", lane, 60), row.wait("second", lane, 40)
    assert quota.queued == 100
    row.queue.remove(first)
    row.queue.remove(first)
    assert (row.queue.length, quota.queued) == (1, 40)
    row.queue.remove(second)
    assert (row.queue.length, quota.queued) == (0, 0)
    assert row.queue.admit(START + 1000) is None
    assert row.woken == []


def test_those_who_wait_in_vain_are_woken_with_nothing() -> None:
    """Their key rests, or the provider is being left alone; the others stay."""
    row, quota = Row(), tokens(100)
    resting = [False]
    lane, other = Lane((quota,), lambda _: resting[0]), Lane((quota,))
    lane.reserve(of(100), START)
    waiter = row.wait("vain", lane, 50)
    row.wait("patient", other, 50)
    row.queue.dismiss(START)
    assert row.woken == []
    resting[0] = True
    row.queue.dismiss(START)
    assert row.woken == ["vain"]
    assert waiter.reservation is None
    assert row.queue.length == 1


def test_a_limit_that_was_lowered_below_what_the_first_one_wants_does_not_hold_up_the_rest() -> None:
    """It could wait for ever; it is woken with nothing instead."""
    row, quota = Row(), tokens(1000)
    lane = Lane((quota,))
    lane.reserve(of(600), START)
    row.wait("large", lane, 500)
    row.wait("small", lane, 10)
    quota.change(400, 1.0, START)
    row.queue.dismiss(START)
    assert row.woken == ["large"]
    row.queue.admit(START + 100)
    assert row.woken == ["large", "small"]


def test_the_expected_wait_names_the_limit_that_takes_longest() -> None:
    """A call that waits for two says which one it is."""
    requests: Dimension = Quota("requests_per_minute", REQUESTS, 60, MINUTE, 1 / 60, START)
    prompt: Dimension = Quota("input_tokens_per_minute", INPUT, 600, MINUTE, 1 / 60, START)
    lane = Lane((requests, prompt))
    lane.reserve((1.0, 10.0, 0.0, 10.0), START)
    wait, limit = lane.longest((1.0, 50.0, 0.0, 50.0), START)
    assert limit.name == "requests_per_minute"
    lane.dimensions[1].queued = 300
    wait, limit = lane.longest((1.0, 50.0, 0.0, 50.0), START)
    assert limit.name == "input_tokens_per_minute"
    assert 29 < wait < 32
