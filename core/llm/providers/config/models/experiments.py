"""Options of traffic that is for learning: copies to another model, and shares of it."""

from pydantic import Field

from core.llm.providers.config.models.frozen import Frozen


class ShadowOptions(Frozen):
    """Send a copy of some calls to another model; the caller never waits for it."""

    model: str
    fraction: float = Field(0.01, gt=0, le=1)
    max_in_flight: int = Field(8, gt=0, le=1000, description="Further copies are left out.")
