"""Options that bound what is sent: quotas of a provider, and limits of one request."""

from typing import Literal

from pydantic import Field

from core.llm.common.units import Duration, Size
from core.llm.providers.config.models.frozen import Frozen, Price, Tokens


class QuotaOptions(Frozen):
    """How much may be sent: of one model, or of all models of a provider together. Each key has quotas of its own."""

    requests_per_minute: int | None = Field(default=None, gt=0, le=10**9, description="Requests in any minute.")
    tokens_per_minute: int | None = Field(default=None, gt=0, le=10**12, description="Prompt and answer together.")
    input_tokens_per_minute: int | None = Field(
        default=None, gt=0, le=10**12, description="Tokens of requests in any minute."
    )
    output_tokens_per_minute: int | None = Field(
        default=None, gt=0, le=10**12, description="Tokens of answers in any minute."
    )
    requests_per_day: int | None = Field(default=None, gt=0, le=10**9, description="Requests in a day.")
    tokens_per_day: int | None = Field(
        default=None, gt=0, le=10**14, description="Tokens of requests and answers in a day."
    )
    max_concurrency: int | None = Field(default=None, gt=0, le=10**6, description="Calls in flight at the same time.")
    burst: Duration = Field(
        default=10.0,
        description="Share of a minute's quota that may be used at once, as the time in which it comes back.",
    )


class RateLimitOptions(QuotaOptions):
    """Limits of one provider, and what becomes of the calls that they hold back."""

    queue: int = Field(
        default=10_000,
        ge=0,
        le=10**6,
        description="Calls that may wait for their turn; further ones are passed on or refused.",
    )
    max_wait: Duration = Field(
        default=1.0,
        description="A longer wait is avoided where another candidate is left; else the deadline bounds it.",
    )
    headers: Literal["ignore", "lower", "auto"] = Field(
        default="lower",
        description="What the provider says is left: ignored; believed where it is less than our own count; or its "
        "limits replace the ones written here (auto).",
    )
    adaptive_concurrency: bool = Field(
        default=True, description="Send fewer calls at once while the provider is overloaded, and find the way back up."
    )


class SlowCallOptions(Frozen):
    """When a model that answers too slowly is left alone, like one that fails. Off unless a time is set."""

    first_token: Duration | None = Field(default=None, description="A stream whose first output takes longer is late.")
    answer: Duration | None = Field(default=None, description="A whole answer that takes longer is late.")
    share: float = Field(default=0.5, gt=0, le=1, description="Share of late answers that is too much.")
    calls: int = Field(default=10, gt=0, le=1000, description="Answers within five minutes that are needed to judge.")


class RequestLimitOptions(Frozen):
    """What a single request may ask for; more is refused before anything is sent."""

    max_input_tokens: Tokens | None = Field(default=None, description="Tokens of the whole request, by estimate.")
    max_input_bytes: Size = Field(default=64 * 2**20, description="Text and attachments of one request together.")
    max_output_tokens: Tokens | None = Field(
        default=None, description="`max_tokens` is lowered to this, and set to it where a request leaves it open."
    )
    max_cost: Price | None = Field(default=None, description="In `costs.currency`; what may cost more is refused.")
    max_concurrency: int | None = Field(
        default=None, gt=0, le=10**6, description="Calls of one `user` in flight at the same time."
    )
