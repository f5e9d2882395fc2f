"""Options of streams: what happens when one breaks, and when a second request is sent beside a slow one."""

from typing import Literal

from pydantic import Field

from core.llm.common.units import Duration
from core.llm.providers.config.models.frozen import Frozen


class MidStreamOptions(Frozen):
    """What happens when a stream breaks after its first output."""

    policy: Literal["error", "restart", "continue", "buffer"] = Field(
        default="error",
        description="error: end with what was delivered. restart: say so with a reset event and begin again elsewhere. "
        "continue: let a model that can be prefilled go on from there. buffer: hold back the first tokens, so that an "
        "early break is not seen.",
    )
    buffer_tokens: int = Field(default=32, gt=0, le=100_000, description="Tokens held back under `buffer`.")
    max_recoveries: int = Field(default=1, ge=1, le=5, description="Times one call may be restarted or continued.")
    otherwise: Literal["error", "restart"] = Field(
        default="error", description="What `continue` does where no model can go on from what was delivered."
    )


class HedgeOptions(Frozen):
    """Send the request to the next candidate as well when the first one is slow; the first output wins."""

    after: Duration | Literal["p95"] = Field(
        default="p95",
        union_mode="left_to_right",
        description="How long to wait for the first output: a duration, or what 95 % of the model's calls stay below, "
        "once 20 of them are known.",
    )
    max_extra: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Second requests per call of the alias, at most; each also costs a retry of the budget.",
    )
    tools: bool = Field(
        default=False, description="Also for requests with tools: two models may then ask for something to be done."
    )
