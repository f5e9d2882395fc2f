"""Options of local models: which are in memory, and for how long."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from core.llm.common.units import Duration, Size
from core.llm.providers.config.models.frozen import Frozen


def _ttl(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) and value.strip().isalpha() else value


class ResidencyOptions(Frozen):
    """Which local models are in memory. Models in processes of our own always follow it.

    Models on a server (Ollama, LM Studio, LocalAI) follow it as soon as anything is set here; before that the server
    decides alone.
    """

    max_loaded: int | None = Field(
        default=None, gt=0, le=100_000, description="Models in memory at the same time, on all devices."
    )
    memory_budget: Mapping[str, Size] = Field(
        default_factory=dict, description="Memory for models by device: `cpu`, `cuda:0`. A device without is unlimited."
    )
    devices: Mapping[str, str] = Field(
        default_factory=dict,
        description="Device of a provider or of `provider/model` where it cannot say so itself: `ollama: cuda:0`.",
    )
    sizes: Mapping[str, Size] = Field(
        default_factory=dict, description="Memory of `provider/model`, over what is measured or guessed."
    )
    idle_ttl: Annotated[Duration | Literal["never", "immediate"], BeforeValidator(_ttl)] = Field(
        default="never",
        union_mode="left_to_right",
        description="How long a model stays in memory after its last call; `immediate`: it goes with it.",
    )
    preload: tuple[str, ...] = Field(
        default=(), description="Loaded when the service starts: aliases or `provider/model`."
    )
    preload_mode: Literal["background", "blocking", "required"] = Field(
        default="background",
        description="background: the start does not wait. blocking: it does. required: a failed load fails the start.",
    )
    preload_timeout: Duration = Field(default=600.0, description="How long a start may wait for its models.")
    pinned: tuple[str, ...] = Field(
        default=(), description="Always in memory: never let go, and loaded again after a crash."
    )
    max_parallel_loads: int = Field(default=1, gt=0, le=64, description="Loads at the same time on one device.")
    acquire_timeout: Duration = Field(
        default=60.0,
        description="How long a call waits for room that others hold; loads, its own and those before it, count only "
        "in the call's own time.",
    )
    patience: Duration = Field(
        default=5.0,
        description="A call that has waited this long for room gets it: a model in use takes no new calls then.",
    )
    max_waiting: int = Field(default=256, gt=0, le=100_000, description="Calls that may wait for one model.")
    stall_timeout: Duration = Field(
        default=300.0, description="A load that makes no progress for this long has failed."
    )
    load_timeout: Duration | None = Field(
        default=None, description="How long a load may take; unset: as its provider says."
    )
    drain_timeout: Duration = Field(
        default=30.0, description="How long calls may go on when their model is unloaded by hand; then they are cut."
    )
    prefer_loaded: bool = Field(
        default=False, description="A call goes to its next candidate while the model loads in the background."
    )
    on_other_load_options: Literal["drop", "refuse", "reroute"] = Field(
        default="drop",
        description="A call whose `extra` asks for other load options than the model's, for which the server would "
        "load it anew: send it without them and say so, refuse it, or try its next candidate.",
    )
    evict_foreign: bool = Field(
        default=False, description="May models be unloaded that others have loaded on a server that is shared?"
    )
    reconcile_interval: Duration = Field(
        default=10.0, description="How often servers are asked what they hold, while a model of ours is there."
    )

    @property
    def ttl(self) -> float | None:
        """Seconds that an idle model stays; `None`: for ever."""
        if self.idle_ttl == "never":
            return None
        return 0.0 if self.idle_ttl == "immediate" else float(self.idle_ttl)
