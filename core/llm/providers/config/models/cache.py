"""Options of the cache of answers."""

from typing import Literal

from pydantic import Field

from core.llm.common.units import Duration, Size
from core.llm.providers.config.models.frozen import Frozen


class CacheOptions(Frozen):
    """Answers kept for identical requests, in memory."""

    enabled: bool | Literal["on_request"] = Field(
        default=False,
        description="true: for every request that does not say otherwise. on_request: for those that say `cache=True`. "
        "false: for none, whatever it says.",
    )
    ttl: Duration = Field(default=3600.0, description="How long an answer may be given again.")
    max_entries: int = Field(
        default=10_000, gt=0, le=10**7, description="Answers that are kept; those unused for longest go first."
    )
    max_bytes: Size = Field(
        default=64 * 2**20, description="Of all answers together; the ones not used for longest go first."
    )
    single_flight: bool = Field(
        default=True, description="Identical requests at the same time are sent once; all of them get the answer."
    )
    tenant: str | None = Field(
        default=None,
        min_length=1,
        description="Key of the request's metadata that separates customers, besides `user`. A request without it is "
        "not cached.",
    )
