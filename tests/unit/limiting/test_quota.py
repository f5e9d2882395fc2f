"""What a quota gives, and when: a burst, a pace, and never more than the limit within a period."""

import pytest

from core.llm.limiting.dimension import REQUESTS, TOKENS
from core.llm.limiting.quota import CELLS, DAY, MARGIN, MINUTE, Quota

START = 1000.0
SPAN = MINUTE * (1 + MARGIN)


def requests(limit: float = 60, burst: float = 1 / 6) -> Quota:
    """So many requests per minute."""
    return Quota("requests_per_minute", REQUESTS, limit, MINUTE, burst, START)


def taken(quota: Quota, amount: float, now: float) -> tuple[object, float]:
    """What `take` returns, once `ready` has allowed it."""
    assert quota.ready(amount, now)
    return quota.take(amount, now)


def test_a_fresh_minute_is_not_emptied_in_one_burst() -> None:
    """Ten of sixty go out at once, then one each second."""
    quota = requests()
    for _ in range(10):
        taken(quota, 1, START)
    assert not quota.ready(1, START)
    assert quota.wait(1, START) == pytest.approx(1.0)
    assert quota.ready(1, START + 1.001)


def test_no_stretch_of_a_minute_holds_more_than_the_limit() -> None:
    """Whoever takes as soon as it can gets sixty in any sixty seconds, the burst of the first ones included."""
    quota, times, now = requests(), [], START
    while now < START + 300:
        now += quota.wait(1, now) + 1e-6
        taken(quota, 1, now)
        times.append(now)
    assert max(sum(begin <= other < begin + MINUTE for other in times) for begin in times) == 60
    assert len(times) >= 290


def test_all_of_the_limit_is_given_at_once_where_that_is_configured() -> None:
    """With a burst of the whole minute nothing is held back until the limit is reached."""
    quota = requests(5, burst=1.0)
    for _ in range(5):
        taken(quota, 1, START)
    assert not quota.ready(1, START)
    assert quota.wait(1, START) == pytest.approx(SPAN)


def test_a_request_larger_than_a_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    """A third of the minute's tokens in one request is possible; what follows waits until it is paid for."""
    quota = Quota("tokens_per_minute", TOKENS, 6000, MINUTE, 1 / 6, START)
    taken(quota, 100, START)
    assert quota.wait(2000, START) == pytest.approx(1.0)
    taken(quota, 2000, START + 1)
    assert quota.wait(1, START + 1) == pytest.approx(10.0, abs=0.1)


def test_what_was_not_needed_comes_back_at_once() -> None:
    """An answer that was shorter than reserved makes room for the next call."""
    quota = Quota("tokens_per_minute", TOKENS, 1000, MINUTE, 1.0, START)
    mark = quota.take(900, START)
    assert not quota.ready(300, START + 1)
    quota.settle(mark, 900, 100, START, START + 1)
    assert quota.ready(900, START + 1)
    assert quota.left(START + 1) == 900


def test_what_was_needed_on_top_is_charged() -> None:
    """An answer longer than its estimate counts with all its tokens."""
    quota = Quota("tokens_per_minute", TOKENS, 1000, MINUTE, 1.0, START)
    mark = quota.take(100, START)
    quota.settle(mark, 100, 600, START, START + 1)
    assert quota.left(START + 1) == 400
    assert not quota.ready(500, START + 1)


def test_a_settlement_after_the_period_changes_the_pace_only() -> None:
    """A call of five minutes has left the window when it ends; nothing is given back twice."""
    quota = Quota("tokens_per_minute", TOKENS, 1000, MINUTE, 1.0, START)
    mark = quota.take(900, START)
    assert quota.left(START + 300) == 1000
    quota.settle(mark, 900, 100, START, START + 300)
    assert quota.left(START + 300) == 1000


def test_another_limit_applies_to_what_was_counted() -> None:
    """A reload that lowers the limit finds the requests of the last minute still taken."""
    quota = requests(60, burst=1.0)
    for _ in range(30):
        quota.take(1, START)
    quota.change(40, 1.0, START + 1)
    assert quota.left(START + 1) == 10
    quota.change(20, 1.0, START + 1)
    assert quota.left(START + 1) == 0
    assert not quota.ready(1, START + 1)
    assert quota.ready(1, START + SPAN)


def test_another_limit_does_not_bring_a_fresh_burst() -> None:
    """Saving the file again and again is no way around the pace."""
    quota = requests()
    for _ in range(10):
        quota.take(1, START)
    quota.change(60, 1 / 6, START)
    assert not quota.ready(1, START)
    quota.change(600, 1 / 6, START)
    assert quota.left(START) == 590
    assert quota.headroom(START) == pytest.approx(0.9)


def test_what_the_provider_says_lowers_our_count_and_never_raises_it() -> None:
    """Somebody else used the key: two are left, not ten. That fifty are left is no news."""
    quota = requests(60, burst=1 / 6)
    mark = quota.take(1, START)
    quota.lower(50, mark[1], START, START + 0.1)
    assert quota.ready(9, START + 0.1)
    assert not quota.ready(9.5, START + 0.1)
    quota.lower(2, mark[1], START, START + 0.1)
    assert quota.ready(2, START + 0.1)
    assert not quota.ready(3, START + 0.1)


def test_what_was_taken_since_the_provider_counted_is_not_there_any_more() -> None:
    """Five were left when it got the call; three more have gone out since, and one has come back."""
    quota = requests(60, burst=1 / 6)
    _, total = quota.take(1, START)
    quota.take(3, START + 0.5)
    quota.lower(5, total, START, START + 1)
    assert quota.ready(3, START + 1)
    assert not quota.ready(3.5, START + 1)


def test_the_wait_behind_others_counts_what_they_want() -> None:
    """Who comes behind twenty waiting requests waits for all of them."""
    quota = requests()
    for _ in range(10):
        quota.take(1, START)
    quota.queued = 20
    assert quota.wait_behind(1, START) == pytest.approx(21.0)
    assert quota.wait(1, START) == pytest.approx(1.0)


def test_the_wait_behind_more_than_a_minute_full_is_more_than_a_minute() -> None:
    """With two minutes' quota before it a call is told so."""
    quota = requests(60, burst=1.0)
    quota.take(60, START)
    quota.queued = 119
    assert quota.wait_behind(1, START) >= 2 * MINUTE


def test_a_day_has_no_pace() -> None:
    """A day's requests may all be made in the morning; then it is tomorrow that counts."""
    quota = Quota("requests_per_day", REQUESTS, 3, DAY, 1.0, START)
    for _ in range(3):
        taken(quota, 1, START)
    assert DAY <= quota.wait(1, START) <= DAY * 1.01


def test_a_busy_quota_remembers_a_bounded_number_of_pieces() -> None:
    """Ten thousand requests a minute are no ten thousand entries."""
    quota = requests(10_000)
    now = START
    for _ in range(20_000):
        now += 0.01
        if quota.ready(1, now):
            quota.take(1, now)
    assert len(quota._cells) <= CELLS + 2


@pytest.mark.parametrize(("used", "headroom"), [(0, 1.0), (5, 0.5), (10, 0.0)])
def test_headroom_is_what_could_go_out_now(used: int, headroom: float) -> None:
    """Of a burst of ten."""
    quota = requests()
    if used:
        quota.take(used, START)
    assert quota.headroom(START) == pytest.approx(headroom)
