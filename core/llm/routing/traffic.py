"""What calls to one model have shown: how many are there now, how long they take, how many fail. Pure but for `now`.

Averages forget. Without that, one slow answer would keep a model from ever being tried again.
"""

from typing import Final

SPEED_HALF_LIFE: Final = 120.0
"""Seconds without an answer after which a duration counts half: who is ten times slower is tried again in 400 s."""
ERROR_HALF_LIFE: Final = 30.0


class Average:
    """An exponentially weighted moving average that shrinks towards zero while nothing is added."""

    __slots__ = ("_at", "_half_life", "_mean")

    WEIGHT: Final = 0.2
    """Of a new sample that follows at once; the older the last one, the more the new one counts."""

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._mean = 0.0
        self._at: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there was a sample."""
        return self._at is not None

    def add(self, sample: float, now: float) -> None:
        """Learn from *sample*, taken at *now*."""
        if self._at is None:
            self._mean = sample
        else:
            forgotten = 1.0 - 0.5 ** (max(0.0, now - self._at) / self._half_life)
            self._mean += max(self.WEIGHT, forgotten) * (sample - self._mean)
        self._at = now

    def read(self, now: float) -> float | None:
        """The average at *now*; `None` before the first sample."""
        if self._at is None:
            return None
        idle = now - self._at
        return self._mean * 0.5 ** (idle / self._half_life) if idle > 0.0 else self._mean


class Traffic:
    """What is remembered about one model from call to call, across configurations."""

    __slots__ = ("errors", "first_token", "in_flight", "latency")

    def __init__(self) -> None:
        self.in_flight = 0
        self.latency = Average(SPEED_HALF_LIFE)
        self.first_token = Average(SPEED_HALF_LIFE)
        self.errors = Average(ERROR_HALF_LIFE)

    @property
    def is_known(self) -> bool:
        """Whether calls were measured at all."""
        return self.in_flight > 0 or self.errors.is_known

    def answered(self, seconds: float, now: float) -> None:
        """A whole answer took *seconds*."""
        self.latency.add(seconds, now)
        self.errors.add(0.0, now)

    def began(self, seconds: float, now: float) -> None:
        """The first output of a stream came after *seconds*."""
        self.first_token.add(seconds, now)

    def failed(self, now: float) -> None:
        """An attempt failed in a way that says something about the model or its provider. Its duration says nothing."""
        self.errors.add(1.0, now)
