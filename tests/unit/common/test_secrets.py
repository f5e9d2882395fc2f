"""Keeping secrets out of texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.secrets import fingerprint, one_line, redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Incorrect API key provided: sk-proj-abcDEF123456.", "Incorrect API key provided: ***."),
        ("key sk-ant-api03-abcdefgh_1234-xyz here", "key *** here"),
        ("gsk_abcdefgh12345678", "***"),
        ("xai-abcdefgh12345678", "***"),
        ("hf_abcdefghijklmnop", "***"),
        ("AIzaSyA1234567890abcdefghijk", "***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("token eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc-def", "token ***"),
        ("GET /v1?key=abc123&x=1", "GET /v1?key=***&x=1"),
        ("Authorization: Bearer abc.def/ghi=", "Authorization: Bearer ***"),
        ("authorization: bearer abcdefgh", "authorization: bearer ***"),
        ("gpt-6-luna at openai/whisper-1: nothing secret", "gpt-6-luna at openai/whisper-1: nothing secret"),
        ("risk-averse task-oriented", "risk-averse task-oriented"),
        (r"two\nsk-abcdefgh12345 lines", r"two\n*** lines"),
        ("?token%3Dsk-abcdefgh12345", "?token%3D***"),
        ("", ""),
    ],
)
def test_S6_what_looks_like_a_key_is_masked_and_nothing_else(text: str, safe: str) -> None:
    """Model names and ordinary words stay."""
    assert redact(text) == safe


def test_known_secrets_are_masked_whatever_they_look_like() -> None:
    """Short ones are left alone: they would mask half of every text."""
    assert redact("the password is hunter2!", "hunter2") == "the password is ***!"
    assert redact("abc", "abc") == "abc"


@pytest.mark.parametrize("order", [("pass", "password-long"), ("password-long", "pass")])
def test_a_secret_that_begins_like_another_leaves_no_tail(order: tuple[str, str]) -> None:
    """The longer one is masked first, in whatever order they are known."""
    assert redact("x password-long y pass z", *order) == "x *** y *** z"


@given(st.text(max_size=400), st.integers(2, 50))
def test_S12_one_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    """Whatever the text holds."""
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in line)


def test_S13_a_fingerprint_tells_keys_apart_and_says_nothing() -> None:
    """Eight hexadecimal digits, the same for the same key."""
    assert fingerprint("sk-one") == fingerprint("sk-one") != fingerprint("sk-two")
    assert len(fingerprint("sk-one")) == 8
    assert fingerprint("") != fingerprint("ü")
