"""Who is asked before a local model is loaded, such as for a licence."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A model that is about to be loaded."""

    model: str
    """`provider/model`, as configured."""
    path: str
    """Where its file or directory really lies; empty where it has none."""


class LoadGate(Protocol):
    """May refuse a load. Two gates that are equal refuse the same: it is part of what makes two models one."""

    def __call__(self, request: LoadRequest) -> Awaitable[None]:
        """Return to let *request* pass.

        Raises:
            ModelLoadError: it is refused; nothing has been started.
        """

    def __hash__(self) -> int: ...
