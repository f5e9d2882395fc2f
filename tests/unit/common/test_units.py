"""Durations and sizes as people write them."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from core.llm.common.units import Duration, Size, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400), (" 5 m ", 300), (7, 7), ("7", 7), (0.5, 0.5)],
)  # fmt: skip
def test_durations_have_units_or_are_seconds(value: Any, seconds: float) -> None:
    """Units may be combined."""
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "5 parsecs", "m5", "5m5", "-5s", True, None, [], "1e400s"])
def test_what_is_no_duration_is_refused_with_an_example(value: Any) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="30s"):
        parse_duration(value)


@pytest.mark.parametrize("value", [0, -1, "nan", "inf", "8d", float("nan")])
def test_F115_a_setting_is_a_sensible_finite_time(value: Any) -> None:
    """Zero, negative, infinite and more than a week are slips."""
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(value)


@pytest.mark.parametrize(
    ("value", "size"), [("20GiB", 20 * 2**30), ("500MB", 500 * 10**6), ("64 KiB", 65536), ("1.5kb", 1500), (10, 10), ("10", 10), ("10B", 10)]
)  # fmt: skip
def test_sizes_have_units_or_are_bytes(value: Any, size: int) -> None:
    """Decimal and binary units are told apart."""
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "5 apples", "-5MB", True, None, 1.5])
def test_what_is_no_size_is_refused_with_an_example(value: Any) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="20GiB"):
        parse_size(value)


def test_a_size_of_nothing_is_refused() -> None:
    """A budget of zero bytes is a slip."""
    with pytest.raises(ValidationError):
        TypeAdapter(Size).validate_python("0MB")


@pytest.mark.parametrize("text", ["250ms", "500ms", "1s", "30s", "1.5s", "10m", "1h30m", "7d", "1d1s"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    """A message names a limit in the words in which it is configured."""
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize("text", ["0B", "7B", "1KiB", "64MiB", "20GiB", "1024TiB", "500000000B"])
def test_a_size_is_written_as_it_is_read(text: str) -> None:
    """In the largest unit that leaves nothing over."""
    assert format_size(parse_size(text)) == text
