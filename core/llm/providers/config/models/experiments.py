"""Options of traffic that is for learning: copies to another model, and shares of it."""

from pydantic import Field

from core.llm.providers.config.models.frozen import Frozen


class ShadowOptions(Frozen):
    """Send a copy of some calls to another model; the caller never waits for it."""

    model: str = Field(description="Who gets the copies: alias or provider/model.")
    fraction: float = Field(default=0.01, gt=0, le=1, description="The share of calls that are copied.")
    max_in_flight: int = Field(default=8, gt=0, le=1000, description="Further copies are left out.")


class BanditOptions(Frozen):
    """How the strategy `bandit` weighs what answers are worth against what they take."""

    latency_weight: float = Field(
        default=0.1, ge=0, le=10, description="What the slowest model loses against one that answers at once."
    )
    cost_weight: float = Field(
        default=0.1, ge=0, le=10, description="What the most expensive model loses against one that costs nothing."
    )
    frozen: bool = Field(
        default=False, description="Explore no more: every call goes to the model that is best by what is known."
    )
