"""Whether a failed attempt is repeated, and after how long."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.exceptions import ErrorType
from core.llm.pipeline.backoff import NEXT_KEY, RetryBudget, Verdict, jittered, judge
from core.llm.providers.config.models.service import RetryOptions
from tests.unit.pipeline.support import an_error

OPTIONS = RetryOptions(initial_delay=0.5, max_delay=20.0, backoff_factor=2.0, max_retry_after=60.0)


def verdict(
    kind: ErrorType = "server_error",
    *,
    retries: int = 0,
    free: bool = True,
    max_retries: int = 2,
    remaining: float = 600.0,
    alternatives: bool = False,
    seed: int = 0,
    **error: object,
) -> Verdict:
    """What is decided about an error of that kind."""
    return judge(
        an_error(kind, **error),
        OPTIONS,
        retries=retries,
        free=free,
        max_retries=max_retries,
        remaining=remaining,
        alternatives=alternatives,
        rng=random.Random(seed),
    )


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        pytest.param("rate_limit", True, id="F26-rate_limit"),
        pytest.param("server_error", True, id="F32-server_error"),
        pytest.param("overloaded", True, id="F32-overloaded"),
        pytest.param("network_error", True, id="F3-network_error"),
        pytest.param("timeout", True, id="F77-timeout"),
        pytest.param("protocol", True, id="F44-protocol"),
        pytest.param("invalid_request", False, id="F15-invalid_request"),
        pytest.param("context_length", False, id="F16-context_length"),
        pytest.param("authentication", False, id="F17-authentication"),
        pytest.param("permission", False, id="F18-permission"),
        pytest.param("model_not_found", False, id="F19-model_not_found"),
        pytest.param("quota_exceeded", False, id="F20-quota_exceeded"),
        pytest.param("content_filter", False, id="F52-content_filter"),
        ("cancelled", False),
        ("unknown", False),
    ],
)
def test_each_class_of_error_is_repeated_or_not(kind: ErrorType, again: bool) -> None:
    """Only what may go better the next time is sent again."""
    assert (verdict(kind).delay is not None) is again


@pytest.mark.parametrize("kind", ["server_error", "rate_limit", "timeout"])
def test_F33_repetition_ends_with_the_retries_of_the_target(kind: ErrorType) -> None:
    """Two retries mean three attempts, whatever keeps going wrong."""
    assert verdict(kind, retries=1).delay is not None
    assert verdict(kind, retries=2) == Verdict(None, reason="retries used up")


@pytest.mark.parametrize(
    "code", [pytest.param("dns", id="F1"), "redirect", "empty", "content_type", "http", "json", "encoding", "schema"]
)
def test_F1_what_is_likely_to_fail_the_same_way_is_tried_once_more(code: str) -> None:
    """An unknown host or an error page is worth one more try, not several."""
    assert verdict("network_error", code=code).delay is not None
    assert verdict("network_error", code=code, retries=1).delay is None


@pytest.mark.parametrize("code", ["first_token_timeout", "idle_timeout", "progress_timeout", "connect_timeout"])
def test_a_route_that_never_answers_is_left_where_there_is_another(code: str) -> None:
    """Waiting for silence a second time is done only where nobody else could answer."""
    assert verdict("timeout", code=code, alternatives=True).delay is None
    assert verdict("timeout", code=code).delay is not None
    assert verdict("timeout", code=code, retries=1).delay is None


def test_F10_a_stale_connection_is_repeated_at_once_and_free_once() -> None:
    """A connection the server had closed says nothing about the server."""
    assert verdict("network_error", code="stale_connection") == Verdict(
        0.0, free=True, reason="the connection had gone stale"
    )
    second = verdict("network_error", code="stale_connection", free=False)
    assert not second.free
    assert verdict("network_error", code="stale_connection", max_retries=0).free


def test_another_key_is_tried_at_once_even_where_nothing_else_is_repeated() -> None:
    """With `max_retries: 0` a refused key still leads to the next ones; there are only so many of them."""
    for retries in (0, 1, 5):
        found = verdict("authentication", code=NEXT_KEY, retryable=True, max_retries=0, retries=retries)
        assert (found.delay, found.next_key, found.free) == (0.0, True, False)


def test_F127_a_call_that_was_cut_is_not_sent_again() -> None:
    """A call cut by a drain may be repeated by its caller on the new configuration, never inside the old one."""
    assert verdict("cancelled", code="drained", retryable=True).delay is None


@given(hint=st.floats(0.001, 60.0), seed=st.integers(0, 10_000))
def test_F23_F24_a_hint_is_waited_out_never_shortened(hint: float, seed: int) -> None:
    """The wait is at least what the provider said, and at most a tenth or a second longer."""
    delay = verdict("rate_limit", retry_after=hint, seed=seed).delay
    assert delay is not None
    assert hint <= delay <= hint + min(1.0, 0.1 * hint) + 1e-9


@pytest.mark.parametrize(
    ("hint", "remaining", "alternatives", "waits"),
    [
        (60.0, 600.0, False, True),
        pytest.param(60.1, 600.0, False, False, id="F27-above-max_retry_after"),
        pytest.param(3600.0, 600.0, False, False, id="F27-an-hour"),
        pytest.param(5.0, 5.0, False, False, id="F27-longer-than-the-deadline"),
        (5.0, 5.1, False, True),
        (1.0, 600.0, True, True),
        (1.1, 600.0, True, False),
    ],
)
def test_F27_a_hint_that_is_too_long_is_not_waited_out(
    hint: float, remaining: float, alternatives: bool, waits: bool
) -> None:
    """A wait beyond the limit or the deadline, or while somebody else could answer, is none of ours."""
    found = verdict("rate_limit", retry_after=hint, remaining=remaining, alternatives=alternatives)
    assert (found.delay is not None) is waits
    assert found.reason


def test_F126_no_wait_begins_that_the_deadline_would_cut() -> None:
    """With nothing left of the deadline there is no back-off."""
    assert verdict("server_error", remaining=0.0).delay is None


@given(retries=st.integers(0, 10), seed=st.integers(0, 1000))
def test_F26_back_off_stays_between_zero_and_its_bound(retries: int, seed: int) -> None:
    """Never negative, never above `max_delay`, never above the exponential bound."""
    delay = jittered(retries, OPTIONS, random.Random(seed))
    assert 0.0 <= delay <= min(20.0, 0.5 * 2.0**retries)


DELAYS = [0.4222, 0.7580, 0.8411, 1.0357, 4.0902, 6.4789, 15.6760, 6.0663]


@pytest.mark.parametrize("kind", ["server_error", "rate_limit", "timeout"])
def test_F32_the_delays_of_a_seeded_generator_are_a_table(kind: ErrorType) -> None:
    """Full jitter below 0.5, 1, 2, 4, 8, 16 and then 20 seconds: the same numbers on every machine."""
    rng, delays = random.Random(0), []
    for retries in range(8):
        found = judge(
            an_error(kind),
            OPTIONS,
            retries=retries,
            free=True,
            max_retries=10,
            remaining=600.0,
            alternatives=False,
            rng=rng,
        )
        assert found.delay is not None
        delays.append(round(found.delay, 4))
    assert delays == DELAYS


def test_jitter_is_spread_evenly() -> None:
    """Ten equal slices of the interval each get a tenth of ten thousand draws, within five standard deviations."""
    rng = random.Random(7)
    slices = [0] * 10
    for _ in range(10_000):
        slices[int(jittered(2, OPTIONS, rng) / 2.0 * 10)] += 1
    assert all(850 <= count <= 1150 for count in slices)


def test_F33_an_upstream_that_always_fails_sees_little_more_than_the_offered_load() -> None:
    """A hundred failing calls in a second get at most thirty-one retries together."""
    budget = RetryBudget(0.0)
    allowed = 0
    for number in range(100):
        now = number / 100
        budget.deposit(now)
        allowed += sum(budget.withdraw(now) for _ in range(2))
    assert allowed <= 31
