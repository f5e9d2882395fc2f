"""Days and months of a time zone follow each other without a gap or an overlap, whatever clocks and calendars do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.accounting.windows import Window, window_at
from core.llm.common.zones import zone

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut",
    "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "America/St_Johns",
)  # fmt: skip
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from(("day", "month")))
def test_F162_every_moment_lies_in_one_window_and_windows_touch(now, name, period):
    """One reset between any two windows: where one ends, the next one begins, and nowhere else."""
    where = zone(name)
    window = window_at(now, period, where)
    assert window.start <= now < window.stop
    assert window_at(window.start, period, where) == window
    assert window_at(window.stop - timedelta(microseconds=1), period, where) == window
    assert window_at(window.stop, period, where).start == window.stop
    assert window_at(window.start - timedelta(microseconds=1), period, where).stop == window.start


@pytest.mark.parametrize(
    ("now", "name", "period", "expected"),
    [
        ("2026-11-20T12:00", "UTC", "day", ("2026-11-20T00:00", "2026-11-21T00:00")),
        ("2028-02-29T23:59:59.999999", "UTC", "day", ("2028-02-29T00:00", "2028-03-01T00:00")),
        ("2028-02-29T12:00", "UTC", "month", ("2028-02-01T00:00", "2028-03-01T00:00")),
        ("2027-02-28T12:00", "UTC", "month", ("2027-02-01T00:00", "2027-03-01T00:00")),
        ("2026-12-31T23:30", "Europe/Berlin", "day", ("2026-12-31T23:00", "2027-01-01T23:00")),
        ("2026-12-31T23:30", "Europe/Berlin", "month", ("2026-12-31T23:00", "2027-01-31T23:00")),
        ("2026-03-29T12:00", "Europe/Berlin", "day", ("2026-03-28T23:00", "2026-03-29T22:00")),
        ("2026-10-25T12:00", "Europe/Berlin", "day", ("2026-10-24T22:00", "2026-10-25T23:00")),
    ],
    ids=["plain", "leap day", "leap month", "short month", "own midnight", "own new year", "23 hours", "25 hours"],
)
def test_F162_a_window_ends_at_the_midnight_of_its_zone(now, name, period, expected):
    found = window_at(utc(now), period, zone(name))
    assert found == Window(*map(utc, expected))


def test_F162_where_clocks_skip_midnight_the_day_begins_when_they_do():
    """Cairo goes from 23:59:59 to 1:00."""
    window = window_at(utc("2024-04-26T12:00"), "day", ZoneInfo("Africa/Cairo"))
    assert window.start == utc("2024-04-25T22:00")
    assert window.start.astimezone(ZoneInfo("Africa/Cairo")).hour == 1


def test_F162_a_midnight_that_comes_twice_ends_the_day_once():
    """Havana goes from 0:59:59 back to 0:00."""
    where = ZoneInfo("America/Havana")
    starts = {window_at(utc("2024-11-02T12:00") + timedelta(minutes=10 * n), "day", where).start for n in range(288)}
    assert len({start for start in starts if start.astimezone(where).date() == date(2024, 11, 3)}) == 1


def test_what_is_no_time_zone_is_said_with_advice():
    for name in ("Europe/Berlinn", "../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(ValueError, match="is no time zone of this machine: write one such as Europe/Berlin"):
            zone(name)
