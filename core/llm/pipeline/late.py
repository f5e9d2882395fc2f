"""How many of the latest answers of one model came too late. Pure."""

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from core.llm.providers.config.models.limits import SlowCallOptions


WINDOW: Final = 300.0
"""Seconds that an answer counts; what comes late does not come often."""
_KEPT: Final = 1000


class LateAnswers:
    """The answers of the last five minutes, each in time or late."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: deque[tuple[float, bool]] = deque(maxlen=_KEPT)

    def note(self, now: float, options: "SlowCallOptions", limit: float, *, late: bool) -> str:
        """One more answer; where that makes too many late ones, what is wrong."""
        answers = self._answers
        answers.append((now, late))
        while answers[0][0] < now - WINDOW:
            answers.popleft()
        if not late or len(answers) < options.calls:
            return ""
        count = sum(one for _, one in answers)
        if count < options.share * len(answers):
            return ""
        return f"{count} of {len(answers)} answers took longer than {limit:g} s"

    def forget(self) -> None:
        """Begin anew."""
        self._answers.clear()


def limit_of(options: "SlowCallOptions", mode: str) -> float | None:
    """Seconds after which an answer is late: for a stream its first output counts."""
    return options.first_token if mode == "stream" else options.answer
