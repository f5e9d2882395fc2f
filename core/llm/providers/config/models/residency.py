"""Options of local models: which are in memory, and for how long."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from core.llm.common.units import Duration, Size
from core.llm.providers.config.models.frozen import Frozen


class ResidencyOptions(Frozen):
    """Which local models are in memory."""

    max_loaded: int | None = Field(None, gt=0)
    memory_budget: Mapping[str, Size] = Field(default_factory=dict, description="By device: `cpu`, `cuda:0`.")
    idle_ttl: Duration | Literal["never", "immediate"] = Field("never", union_mode="left_to_right")
    preload: tuple[str, ...] = ()
    preload_mode: Literal["background", "blocking", "required"] = "background"
    pinned: tuple[str, ...] = ()
