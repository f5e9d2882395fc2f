"""How long a model usually needs until its first output: an attempt that cannot begin in time is not started. Pure."""

from collections import deque
from typing import Final

_KEPT: Final = 16
_NEEDED: Final = 4
_FORGOTTEN_AFTER: Final = 60.0
"""Seconds without a new answer after which nothing is known: a model that was slow gets another chance."""


class FirstOutputs:
    """Seconds until the first output of recent streams, by model of one provider."""

    __slots__ = ("_models",)

    MODELS = 64
    """More than that are not remembered; the one that was learnt first goes first."""

    def __init__(self) -> None:
        self._models: dict[str, _Recent] = {}

    def learn(self, model: str, seconds: float, now: float) -> None:
        """A stream of *model* has begun after *seconds*."""
        recent = self._models.get(model)
        if recent is None:
            if len(self._models) >= self.MODELS:
                del self._models[next(iter(self._models))]
            recent = self._models[model] = _Recent()
        recent.seconds.append(seconds)
        recent.median = sorted(recent.seconds)[len(recent.seconds) // 2]
        recent.last = now

    def typical(self, model: str, now: float) -> float | None:
        """The median of the last ones, in seconds; `None` where too little is known, or too long ago."""
        recent = self._models.get(model)
        if recent is None or len(recent.seconds) < _NEEDED or now - recent.last > _FORGOTTEN_AFTER:
            return None
        return recent.median


class _Recent:
    __slots__ = ("last", "median", "seconds")

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=_KEPT)
        self.median = 0.0
        self.last = 0.0
