"""What one limit counts, and the interface that all kinds of limits share."""

from abc import ABC, abstractmethod
from typing import Any, Final, Literal

Measure = Literal[0, 1, 2, 3]
"""Index into the amounts of a call."""
REQUESTS: Final = 0
INPUT: Final = 1
OUTPUT: Final = 2
TOKENS: Final = 3

Amounts = tuple[float, float, float, float]
"""What a call needs of each measure: requests, prompt tokens, answer tokens, all tokens."""

ONE_REQUEST: Final[Amounts] = (1.0, 0.0, 0.0, 0.0)
NOTHING: Final[Amounts] = (0.0, 0.0, 0.0, 0.0)


class Dimension(ABC):
    """One thing of which only so much can be had."""

    __slots__ = ("limit", "measure", "name", "queued")

    def __init__(self, name: str, measure: Measure, limit: float) -> None:
        self.name = name
        """As it is called in the configuration."""
        self.measure: Measure = measure
        self.limit = float(limit)
        self.queued = 0.0
        """The sum of what the waiting calls want of it."""

    def fits(self, amount: float) -> bool:
        """Whether *amount* can ever be taken."""
        return amount <= self.limit

    @abstractmethod
    def ready(self, amount: float, now: float) -> bool:
        """Whether *amount* can be taken now."""

    def would_give(self, amount: float, now: float) -> bool:
        """What `ready` would say; asking changes nothing."""
        return self.ready(amount, now)

    @abstractmethod
    def wait(self, amount: float, now: float) -> float:
        """Seconds until *amount* can be taken; infinite where only the end of another call can tell."""

    @abstractmethod
    def wait_behind(self, amount: float, now: float) -> float:
        """Seconds until *amount* can be taken behind all who wait now, as far as can be said."""

    @abstractmethod
    def take(self, amount: float, now: float) -> Any:
        """Take *amount*, which `ready` has allowed; the result is what `settle` wants back."""

    @abstractmethod
    def settle(self, mark: Any, taken: float, actual: float, since: float, now: float) -> None:
        """The call that took *taken* at *since* has ended and needed *actual*; *mark* is what `take` returned."""

    @abstractmethod
    def headroom(self, now: float) -> float:
        """Between 0, nothing can be had now, and 1, all of it."""
