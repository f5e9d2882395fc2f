"""How long to wait is read from whatever a provider sent, and nonsense is no hint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.dialects.retry_hints import retry_after, should_retry

DATE = "Fri, 20 Nov 2026 12:00:00 GMT"


def test_f23_seconds() -> None:
    """F23: plain seconds, also with a fraction."""
    assert retry_after({"retry-after": "2"}) == 2.0
    assert retry_after({"retry-after": "7.25"}) == 7.25


def test_f24_milliseconds_win() -> None:
    """F24: the finer header is the one that is meant; zero is no hint (Azure sends both)."""
    assert retry_after({"retry-after-ms": "50", "retry-after": "9"}) == 0.05
    assert retry_after({"retry-after-ms": "0", "retry-after": "1"}) == 1.0


def test_f25_a_date_counts_from_the_answers_own_date() -> None:
    """F25: so a local clock that is wrong does no harm; without that date there is no hint."""
    later = "Fri, 20 Nov 2026 12:00:30 GMT"
    assert retry_after({"retry-after": later, "date": DATE}) == 30.0
    assert retry_after({"retry-after": later}) is None
    assert retry_after({"retry-after": DATE, "date": later}) is None


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-5",
        "nan",
        "inf",
        "1e400",
        "1e3",
        "abc",
        "",
        " ",
        "2, 2",
        "\uff12",
        "\u0662",
        "12345678",
        "+3",
        "0x10",
        ".",
    ],
)
def test_f26_nonsense_is_no_hint(value: str) -> None:
    """F26: zero, signs, words, exponents, two values, digits of other scripts."""
    assert retry_after({"retry-after": value, "date": DATE}) is None
    assert retry_after({"retry-after-ms": value}) is None or value == "12345678"


def test_f27_a_long_wait_is_told_as_it_is() -> None:
    """F27: whether to wait is decided elsewhere."""
    assert retry_after({"retry-after": "3600"}) == 3600.0


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"error": {"details": [{"@type": "x"}, {"retryDelay": "45.837906927s"}]}}, 45.837906927),
        ([{"error": {"details": [{"retryDelay": "2s"}]}}], 2.0),
        ({"error": {"message": "Rate limit reached. Please try again in 7.66s. Visit"}}, 7.66),
        ({"error": {"message": "Please try again in 6m0s."}}, 360.0),
        (
            {"error": {"message": "Rate limit of 50 per 86400s exceeded. Please wait 3600 seconds before retrying."}},
            3600.0,
        ),
        ({"error": {"message": "please retry after 20 seconds"}}, 20.0),
        ({"error": {"message": "try again in 3 apples"}}, None),
        ({"error": {"metadata": {"retry_after": 4}}}, 4.0),
        ({"error": "text"}, None),
        ("text", None),
        (None, None),
    ],
)
def test_f28_hints_in_the_body(body: object, wanted: float | None) -> None:
    """F28: Google's `retryDelay`, and the sentence that others write."""
    assert retry_after({}, body) == wanted


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        (
            {
                "x-ratelimit-remaining-requests": "199", "x-ratelimit-reset-requests": "300ms",
                "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12s",
            },
            12.0,
        ),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1s"}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "3s"}, 3.0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-20T12:00:09Z",
                "date": DATE,
            },
            9.0,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795176005000", "date": DATE}, 5.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "59"}, 59.0),
    ],
)  # fmt: skip
def test_f29_the_exhausted_dimension_decides(headers: dict[str, str], wanted: float | None) -> None:
    """F29: durations, RFC 3339 times, epochs; dimensions with something left do not count."""
    assert retry_after(headers) == pytest.approx(wanted) if wanted else retry_after(headers) is None


def test_f30_limits_of_minus_one_are_ignored() -> None:
    """F30: Azure says so where there is no limit."""
    headers = {
        "x-ratelimit-limit-tokens": "-1",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "0",
    }
    assert retry_after(headers) is None
    assert retry_after({**headers, "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "5"}) is None


def test_precedence_from_header_to_body_to_limits() -> None:
    """The first usable one of the list wins."""
    limits = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "40s"}
    body = {"error": {"details": [{"retryDelay": "3s"}]}}
    assert retry_after(limits, body) == 3.0
    assert retry_after({**limits, "retry-after": "2"}, body) == 2.0
    assert retry_after({**limits, "retry-after": "abc"}, None) == 40.0


def test_f31_should_retry() -> None:
    """F31: only `true` and `false` mean anything."""
    assert should_retry({"x-should-retry": "true"}) is True
    assert should_retry({"x-should-retry": "False"}) is False
    assert should_retry({"x-should-retry": "maybe"}) is None
    assert should_retry({}) is None


@given(
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"]
        ),
        st.text(max_size=30),
    ),
    st.recursive(
        st.none() | st.text() | st.floats() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["error", "message", "details", "metadata", "retry_after", "retryDelay"]), inner
            )
        ),
    ),
)
def test_it_is_total(headers: dict[str, str], body: object) -> None:
    """Any headers and any body: a positive finite number of seconds, or nothing."""
    seconds = retry_after(headers, body)
    assert seconds is None or 0 < seconds < 10_000_001
