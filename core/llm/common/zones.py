"""Time zones by name."""

from datetime import UTC, tzinfo


def zone(name: str) -> tzinfo:
    """The time zone called *name*, such as `Europe/Berlin`.

    Raises:
        ValueError: there is none of that name on this machine.
    """
    if name == "UTC":
        # Known everywhere, also where the machine has no list of time zones.
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - most configurations name no time zone

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            "is no time zone of this machine: write one such as Europe/Berlin, or install tzdata"
        ) from None
