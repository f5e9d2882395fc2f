"""What is remembered about one provider from call to call, across configurations."""

from datetime import datetime

from core.llm.common.exceptions import ProviderError
from core.llm.limiting.upstream import UpstreamLimits
from core.llm.pipeline.backoff import RetryBudget
from core.llm.pipeline.key_states import KeyStates
from core.llm.pipeline.provider_breaker import ProviderBreaker
from core.llm.providers.base.provider import HealthReport
from core.llm.routing.fit_time import FirstOutputs
from core.llm.routing.token_calibration import TokenCalibration

NOT_SENT = frozenset({"circuit_open", "gated", "key_refused"})
"""Codes of our own refusals to send: they repeat what was learnt from an earlier attempt."""


class Upstream:
    """Retry budget, breakers, keys, limits, token calibration and passive health of one configured provider."""

    __slots__ = (
        "breaker",
        "budget",
        "check",
        "consecutive_failures",
        "failing_since",
        "first_outputs",
        "keys",
        "last_error",
        "last_failure",
        "last_success",
        "limits",
        "tokens",
        "unhealthy_since",
    )

    def __init__(self, now: float) -> None:
        self.budget = RetryBudget(now)
        self.breaker = ProviderBreaker()
        self.keys = KeyStates()
        self.limits = UpstreamLimits()
        self.tokens = TokenCalibration()
        self.first_outputs = FirstOutputs()
        self.check: HealthReport | None = None
        """The last health check; `None` before the first one, and where nobody checks."""
        self.unhealthy_since: float | None = None
        """When the first of the checks failed that have failed in a row, on the monotonic clock."""
        self.consecutive_failures = 0
        self.failing_since: float | None = None
        """When the first of the attempts failed that have failed in a row, on the monotonic clock."""
        self.last_error: str | None = None
        self.last_failure: datetime | None = None
        self.last_success: datetime | None = None

    def succeeded(self, when: datetime) -> None:
        """A call was answered."""
        self.consecutive_failures = 0
        self.last_success = when

    def failed(self, error: ProviderError, when: datetime, now: float) -> None:
        """An attempt failed in a way that says something about the provider, not about the request."""
        if error.scope == "request" or error.code in NOT_SENT:
            return
        if not self.consecutive_failures:
            self.failing_since = now
        self.consecutive_failures += 1
        self.last_error = str(error)
        self.last_failure = when
