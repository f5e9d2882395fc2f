"""What routing decided about one call."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from core.llm.common.types import ModelRef

_NO_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType({})


# A tuple is made ten times faster than a frozen dataclass, and one is made for every call.
class Plan(NamedTuple):
    """Candidates in the order in which they are tried.

    A candidate whose model is empty stands for whatever the provider's default model is at that moment.
    """

    candidates: tuple[ModelRef, ...]
    how: str
    """How the request was understood, for people."""
    defaults: Mapping[str, Any] = _NO_DEFAULTS
    """Request fields that the alias sets unless the caller does."""
    alias: str | None = None
    """The alias that chose; `None` where the request named a model or a provider itself."""
    strategy: str | None = None
    """The strategy of that alias."""
    notes: tuple[str, ...] = ()
    """Why the order is this one: what the strategy saw, and who was left out or put last."""
    warning: str = ""
    """What is wrong with a function of the host's own, and was worked around."""
    wanted: ModelRef | None = None
    """A local model that would have been chosen, were it in memory."""
