"""When a crashed worker may start again. Pure: the caller brings the time."""

import random
from collections import deque
from dataclasses import dataclass

from core.llm.common.waits import doubled


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient to be with a worker that keeps crashing."""

    first_delay: float = 0.5
    """Seconds before the first restart; doubles with every further crash, minus up to half of it as jitter."""
    max_delay: float = 30.0
    max_crashes: int = 5
    """More crashes than this within `window` and it is not started again."""
    window: float = 60.0
    """Also the time in good health after which earlier crashes are forgotten."""


class RestartLog:
    """The crashes of one worker so far, and what follows from them."""

    __slots__ = ("_crashes", "_not_before", "_policy", "_ready_at", "_rng", "_streak")

    def __init__(self, policy: RestartPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self._crashes: deque[float] = deque(maxlen=policy.max_crashes + 1)
        self._streak = 0
        self._not_before = 0.0
        self._ready_at: float | None = None

    def ready(self, now: float) -> None:
        """The worker has started well."""
        self._ready_at = now

    def crashed(self, now: float) -> None:
        """The process has ended by itself."""
        if self._ready_at is not None and now - self._ready_at >= self._policy.window:
            self.forget()
        self._crashes.append(now)
        self.refused(now)

    def refused(self, now: float) -> None:
        """It could not be made ready: it has to wait, but does not count as a crash."""
        self._ready_at = None
        delay = doubled(self._policy.first_delay, self._streak, self._policy.max_delay)
        self._streak += 1
        self._not_before = now + delay * (1 - self._rng.random() / 2)

    def forget(self) -> None:
        """Start from a clean slate."""
        self._crashes.clear()
        self._streak = 0
        self._not_before = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next start is allowed."""
        return max(0.0, self._not_before - now)

    @property
    def gave_up(self) -> bool:
        """True where it crashed too often to be started again without being asked to."""
        crashes = self._crashes
        return len(crashes) > self._policy.max_crashes and crashes[-1] - crashes[0] <= self._policy.window
