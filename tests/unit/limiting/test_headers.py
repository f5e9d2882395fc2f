"""What the headers of an answer tell of limits, for the vendors that send some."""

import pytest

from core.llm.limiting.headers import HeaderReader, count, seconds_of

OPENAI = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-tokens": "29000",
    "x-ratelimit-reset-tokens": "2s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-11-20T12:00:01Z",
    "anthropic-ratelimit-input-tokens-limit": "40000",
    "anthropic-ratelimit-input-tokens-remaining": "39000",
    "anthropic-ratelimit-output-tokens-limit": "8000",
    "anthropic-ratelimit-output-tokens-remaining": "8000",
}
GROQ = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-tokens": "17997",
    "x-ratelimit-reset-tokens": "7.66ms",
}
BY_NAME = {
    "x-ratelimit-limit-requests-day": "1000",
    "x-ratelimit-remaining-requests-day": "999",
    "x-ratelimit-limit-tokens-minute": "60000",
    "x-ratelimit-remaining-tokens-minute": "59000",
}
FIREWORKS = {
    "x-ratelimit-limit-tokens-prompt": "1000",
    "x-ratelimit-remaining-tokens-prompt": "900",
    "x-ratelimit-limit-tokens-generated": "100",
    "x-ratelimit-remaining-tokens-generated": "90",
}


def readings(headers: dict[str, str], reader: HeaderReader | None = None) -> dict[str, tuple[int, int]]:
    """Limit and remainder by the name in the configuration."""
    found, reading = {}, reader or HeaderReader()
    for names in reading.names({"content-type": "application/json", **headers}):
        remaining = count(headers.get(names.remaining))
        limit = None if remaining is None else reading.limit(names, remaining, headers)
        if remaining is not None and limit is not None:
            found[reading.name(names, headers)] = (limit, remaining)
    return found


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (OPENAI, {"requests_per_minute": (500, 499), "tokens_per_minute": (30000, 29000)}),
        (
            ANTHROPIC,
            {
                "requests_per_minute": (50, 49),
                "input_tokens_per_minute": (40000, 39000),
                "output_tokens_per_minute": (8000, 8000),
            },
        ),
        (GROQ, {"requests_per_day": (14400, 14370), "tokens_per_minute": (18000, 17997)}),
        (BY_NAME, {"requests_per_day": (1000, 999), "tokens_per_minute": (60000, 59000)}),
        (FIREWORKS, {"input_tokens_per_minute": (1000, 900), "output_tokens_per_minute": (100, 90)}),
        ({}, {}),
        ({"x-ratelimit-remaining": "5", "x-ratelimit-limit": "10"}, {}),
        ({"x-ratelimit-remaining-images": "5", "x-ratelimit-limit-images": "10"}, {}),
        ({"x-ratelimit-remaining-requests-month": "5", "x-ratelimit-limit-requests-month": "10"}, {}),
    ],
)
def test_every_style_is_read(headers: dict[str, str], expected: dict[str, tuple[int, int]]) -> None:
    """OpenAI and Azure, Anthropic, Groq, Cerebras and Mistral, Fireworks; what is not understood is left out."""
    assert readings(headers) == expected


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("-1", "-1"), ("0", "0"), ("100", "-1"), ("100", "101"), ("many", "1"), ("1e3", "1"), ("", ""), ("100", "٣")],
)
def test_F30_nonsense_is_no_news(limit: str, remaining: str) -> None:
    """Azure sends -1 where it means nothing; negative, zero, impossible and unreadable numbers are ignored."""
    headers = {"x-ratelimit-limit-tokens": limit, "x-ratelimit-remaining-tokens": remaining}
    assert readings(headers) == {}


def test_a_limit_that_was_once_seen_to_be_daily_stays_daily() -> None:
    """Right after midnight the time to the reset is short again, and says nothing."""
    reader = HeaderReader()
    assert "requests_per_day" in readings(GROQ, reader)
    assert "requests_per_day" in readings({**GROQ, "x-ratelimit-reset-requests": "6s"}, reader)


def test_a_provider_that_tells_nothing_is_hardly_looked_at() -> None:
    """After some answers without such headers, only one of many is searched for them, so they are found later too."""
    reader = HeaderReader()
    for _ in range(20):
        assert reader.names({"server": "x"}) == ()
    assert reader.names(OPENAI) == ()
    assert any(reader.names(OPENAI) for _ in range(64))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("120ms", 0.12), ("7.66s", 7.66), ("1h2m3s", 3723), ("30", 30), ("", 0), ("soon", 0), ("-5", 0)],
)
def test_reset_times_are_read_as_far_as_they_are_durations(text: str, seconds: float) -> None:
    """Everything else is zero: it only serves to tell a day from a minute."""
    assert seconds_of(text) == pytest.approx(seconds)
