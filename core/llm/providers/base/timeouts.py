"""How long the phases of an attempt may take at services whose models think before they answer."""

from pydantic import Field

from core.llm.common.units import Duration
from core.llm.providers.config.models.provider import TimeoutOptions


class ThinkingTimeouts(TimeoutOptions):
    """Models that think before they answer may be silent for minutes."""

    first_token: Duration = Field(
        default=300.0, description="From sending the request to the first output of a stream."
    )
    idle: Duration = Field(default=120.0, description="Between two network reads once the answer has begun.")
    progress: Duration = Field(default=300.0, description="Between two pieces of output; pings do not count.")
