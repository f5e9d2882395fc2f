"""The days and months in which a budget is spent: from one midnight of a time zone to another."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from core.llm.providers.config.models.costs import Period


class Window(NamedTuple):
    """A day or a month, in UTC: from *start* on, up to and without *stop*."""

    start: datetime
    stop: datetime


def window_at(now: datetime, period: Period, zone: tzinfo) -> Window:
    """The day or month of *zone* that *now* lies in. Windows follow each other without a gap, whatever clocks do."""
    today = now.astimezone(zone).date()
    first = today if period == "day" else today.replace(day=1)
    # A clock that is set back at midnight shows the old date once more: it belongs to the day that has begun.
    while (stop := _midnight(after := _next(first, period), zone)) <= now:
        first = after
    while (start := _midnight(first, zone)) > now:
        first, stop = _before(first, period), start
    return Window(start, stop)


def _next(first: date, period: Period) -> date:
    if period == "day":
        return first + timedelta(days=1)
    return (first.replace(day=1) + timedelta(days=32)).replace(day=1)


def _before(first: date, period: Period) -> date:
    day = first - timedelta(days=1)
    return day if period == "day" else day.replace(day=1)


def _midnight(day: date, zone: tzinfo) -> datetime:
    """The moment at which *day* begins; where clocks skip midnight, the moment at which they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
