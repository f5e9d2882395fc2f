"""Whether a failed attempt is repeated, and after how long: arithmetic only."""

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.llm.common.exceptions import ProviderError

if TYPE_CHECKING:
    from core.llm.providers.config.models.service import RetryOptions

# A connection that the server had already closed says nothing about the server: try at once, free of charge.
FREE = frozenset({"stale_connection"})
# A route that never answered is left alone while another one is there.
SILENT = frozenset({"first_token_timeout", "idle_timeout", "progress_timeout", "connect_timeout", "too_slow"})
NEXT_KEY = "next_key"
"""Error code of an attempt that failed for its key, while another key is ready now."""
# Worth one more try, not several: the same answer is likely.
ONCE = frozenset({"dns", "redirect", "empty", "content_type", "http", "json", "encoding", "schema"})
GATES = 20
"""So often a call waits for a key that others have been told to rest; then each wait counts as a retry."""
# Waiting out a long hint makes no sense while another candidate can answer now.
PATIENCE_WITH_ALTERNATIVES = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after a failed attempt. `delay` is `None` where it is not repeated here."""

    delay: float | None
    free: bool = False
    """It counts neither as a retry nor as an attempt."""
    next_key: bool = False
    """It goes out with another key, of which there are only so many: no retry that has to be paid for."""
    unsent: bool = False
    """Nothing was sent, so that it adds no load to come back: it counts neither as a retry nor as an attempt."""
    reason: str = ""


def judge(
    error: ProviderError,
    options: "RetryOptions",
    *,
    retries: int,
    free: bool,
    gates: int = 0,
    max_retries: int,
    remaining: float,
    alternatives: bool,
    rng: random.Random,
    useful: float = 0.0,
) -> Verdict:
    """Decide about one failed attempt.

    Args:
        error: how it failed.
        options: the retry policy.
        retries: how often this target has been tried again already, free retries not counted.
        free: whether the call may still repeat an attempt free of charge.
        gates: how often it has waited here already without having been sent.
        max_retries: the limit for this target.
        remaining: seconds until the call's deadline.
        alternatives: whether another candidate is left.
        rng: source of the jitter.
        useful: seconds without which another attempt is of no use.
    """
    remaining -= useful
    code = error.code or ""
    if code in FREE and free:
        return Verdict(0.0, free=True, reason="the connection had gone stale")
    # A call that was cut may be repeated by its caller, on another configuration; not on the one that goes down.
    if not error.retryable or error.type == "cancelled":
        return Verdict(None, reason="not retryable")
    if remaining <= 0:
        return Verdict(None, reason="too little time is left for another attempt")
    if code == "gated" and error.retry_after is not None and gates < GATES:
        verdict = _hinted(error.retry_after, options, remaining, rng, alternatives=alternatives)
        return replace(verdict, unsent=verdict.delay is not None)
    limit = max_retries
    if code == NEXT_KEY:
        # Who was sent away from a queue has not been sent to anybody: the key began to rest while the call waited.
        unsent = error.scope == "request" and gates < GATES
        return Verdict(0.0, next_key=True, unsent=unsent, reason="another key is ready")
    if code in SILENT:
        if alternatives:
            return Verdict(None, reason="no answer, and another candidate is left")
        limit = min(limit, 1)
    elif code in ONCE:
        limit = min(limit, 1)
    if retries >= limit:
        return Verdict(None, reason="retries used up")
    if error.retry_after is not None:
        return _hinted(error.retry_after, options, remaining, rng, alternatives=alternatives)
    delay = jittered(retries, options, rng)
    if delay >= remaining:
        return Verdict(None, reason="the deadline would pass while waiting")
    return Verdict(delay, reason="back-off")


def _hinted(
    hint: float, options: "RetryOptions", remaining: float, rng: random.Random, *, alternatives: bool
) -> Verdict:
    if hint > options.max_retry_after:
        return Verdict(None, reason=f"the provider asks to wait {hint:g} s, more than retry.max_retry_after")
    if hint >= remaining:
        return Verdict(None, reason=f"the provider asks to wait {hint:g} s, longer than the deadline allows")
    if alternatives and hint > PATIENCE_WITH_ALTERNATIVES:
        return Verdict(None, reason=f"the provider asks to wait {hint:g} s, and another candidate is left")
    # Never earlier than told; a little later, so that not everybody comes back in the same instant.
    return Verdict(hint + rng.uniform(0, min(1.0, 0.1 * hint)), reason="as the provider asked")


def jittered(retries: int, options: "RetryOptions", rng: random.Random) -> float:
    """Full jitter: anything between zero and the exponential bound, in seconds."""
    bound = min(options.max_delay, options.initial_delay * options.backoff_factor**retries)
    return rng.uniform(0.0, bound)


class RetryBudget:
    """Bounds how much load retries may add to one upstream, whatever goes wrong.

    Each first attempt deposits a fifth of a retry, each second one; each retry costs one, of which a quarter comes back
    where it is answered: retries that help may be a few more. When it is empty there are no retries; going to another
    provider is still allowed.
    """

    __slots__ = ("_balance", "_last")

    CAPACITY = 100.0
    START = 10.0
    PER_CALL = 0.2
    PER_SECOND = 1.0
    REFUND = 0.25

    def __init__(self, now: float) -> None:
        self._balance = self.START
        self._last = now

    def _refill(self, now: float) -> None:
        self._balance = min(self.CAPACITY, self._balance + (now - self._last) * self.PER_SECOND)
        self._last = now

    def deposit(self, now: float) -> None:
        """A first attempt is made."""
        self._refill(now)
        self._balance = min(self.CAPACITY, self._balance + self.PER_CALL)

    def withdraw(self, now: float) -> bool:
        """Take one retry; `False` where there is none."""
        self._refill(now)
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True

    def give_back(self) -> None:
        """A retry was taken, and then not made."""
        self._balance = min(self.CAPACITY, self._balance + 1.0)

    def refund(self) -> None:
        """A retry has been answered."""
        self._balance = min(self.CAPACITY, self._balance + self.REFUND)
