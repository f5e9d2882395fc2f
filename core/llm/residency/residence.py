"""What is told of one local model."""

from dataclasses import dataclass

from core.llm.providers.base.provider import ModelState, Progress


@dataclass(frozen=True, slots=True)
class Residence:
    """What `ModelManager.list` tells of one model."""

    model: str
    """`provider/model`."""
    state: ModelState
    memory_bytes: int | None
    """Measured where it is in memory, else what it will take as far as that is known."""
    leases: int
    """Calls that use it now."""
    waiting: int
    """Calls that wait for it."""
    idle_seconds: float | None
    """Since its last call; `None` while it is in use or not in memory."""
    device: str
    pinned: bool
    owned: bool
    """True where the memory is this application's own, False on a server that others use too."""
    loaded_by_us: bool
    progress: Progress | None
    """Of the load that runs."""
    loads: int
    """How often it has been loaded since the service started."""
    load_seconds: float | None
    detail: str = ""
    """Why the last load failed, or why it is on its way out."""
