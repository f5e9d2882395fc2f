"""What is remembered about loads that failed and processes that crashed: when to try again, and when to stop trying."""

import math
import random
from collections import deque
from typing import Final

from core.llm.common.exceptions import LLMError

FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0
FIRST_RESTART: Final = 0.5
LONGEST_RESTART: Final = 30.0
JITTER: Final = 0.2
MAX_CRASHES: Final = 5
CRASH_WINDOW: Final = 60.0
"""More than `MAX_CRASHES` within as many seconds: the model is not started again by itself."""


class FailureLog:
    """The failures of one model since its last success."""

    __slots__ = ("_crashes", "_in_a_row", "_rng", "error", "gave_up", "not_before")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._in_a_row = 0
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES + 1)
        self.error: LLMError | None = None
        """Why the last load failed; `None` where it did not fail, or crashed only later."""
        self.not_before = -math.inf
        """When it may be loaded again."""
        self.gave_up = False
        """True after too many crashes: only an explicit load starts it again."""

    def load_failed(self, error: LLMError, now: float) -> None:
        """A load has failed with *error*."""
        self.error = error
        self.not_before = now + self._jittered(min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._in_a_row))
        self._in_a_row = min(self._in_a_row + 1, 16)

    def crashed(self, error: LLMError, now: float) -> None:
        """The process that held the model has gone. The first restart is immediate, later ones wait."""
        while self._crashes and self._crashes[0] < now - CRASH_WINDOW:
            self._crashes.popleft()
        earlier = len(self._crashes)
        self._crashes.append(now)
        if earlier >= MAX_CRASHES:
            self.gave_up, self.error, self.not_before = True, error, math.inf
        elif earlier:
            self.not_before = now + self._jittered(min(LONGEST_RESTART, FIRST_RESTART * 2.0 ** (earlier - 1)))

    def loaded(self) -> None:
        """A load has succeeded; crashes are still counted."""
        self._in_a_row = 0
        self.error = None
        self.not_before = -math.inf
        self.gave_up = False

    def forget(self) -> None:
        """Somebody asks for another try now."""
        self._crashes.clear()
        self.loaded()

    def _jittered(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1 - JITTER, 1 + JITTER)
