"""What a provider says about the memory that its models take, for the part that decides which of them are loaded.

A provider that has models in memory (`ModelHost`) may say where each lies, how large it is and what makes it another
model. One that says nothing is taken to be a server that others use too.
"""

from collections.abc import Awaitable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from core.llm.providers.base.provider import ModelStatus


@dataclass(frozen=True, slots=True)
class Placement:
    """How one configured model lies in memory."""

    identity: Hashable
    """Everything that decides how it is loaded. Two models of equal identity are one thing in memory."""
    owned: bool
    """True where only this application uses the memory (a worker process); False on a server that others use too."""
    device: str = ""
    """Where it lies: `cpu`, `cuda:0`; empty where nobody knows."""
    slot: Hashable = None
    """What it shares with the other ways of loading the same model, where its server can hold only one of them."""
    size_bytes: int | None = None
    """What it will take, as far as can be said without loading it."""


@runtime_checkable
class Placed(Protocol):
    """A provider that can say where its models lie."""

    def placement(self, model: str) -> Placement:
        """How *model* lies in memory when it is loaded. Asks nobody."""


@runtime_checkable
class Watchable(Protocol):
    """A provider that knows at once, without asking anybody, whether a model is in memory."""

    def in_memory(self, model: str) -> bool:
        """Whether *model* can answer now."""


@runtime_checkable
class LoadedLister(Protocol):
    """A provider that can list what is in memory by one cheap question, whoever loaded it."""

    def loaded_models(self, known: Sequence[str]) -> Awaitable[Sequence[ModelStatus]]:
        """Every model that is in memory now; one of *known* under the name that it has there."""


@runtime_checkable
class LoadGuard(Protocol):
    """A provider whose server would load a model anew for a call that asks for other load options."""

    def reload_reason(self, model: str, extra: Mapping[str, Any]) -> str | None:
        """Which option of *extra*, the raw fields of a call, differs from how *model* is loaded; `None`: none."""


@runtime_checkable
class Keepable(Protocol):
    """A provider that tells its server with each call how long the model is to stay in memory."""

    def keep_in_memory(self, model: str, wish: float | Literal["never"] | None) -> None:
        """Ask for so many seconds after each call of *model* from now on; `None`: as the server does by itself."""


@runtime_checkable
class Cuttable(Protocol):
    """A provider that can take a model out of memory while calls use it."""

    def cut_model(self, model: str) -> Awaitable[None]:
        """Take *model* out of memory at once, and return when it has gone; its calls fail."""


@runtime_checkable
class Lasting(Protocol):
    """A provider whose server may keep what it is told to load for ever, and let go of what a call has loaded."""

    def stays_loaded(self, model: str) -> bool:
        """Whether *model*, loaded by `load_model`, stays until somebody unloads it."""


@runtime_checkable
class Warmable(Protocol):
    """A provider that can make a loaded model ready for its first call better than by a call of one token."""

    def warm_model(self, model: str) -> Awaitable[None]:
        """Return once *model* answers; raises where it does not."""
