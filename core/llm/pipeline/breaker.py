"""Stop sending to a provider that keeps failing, and find out with single probes when it is back.

Only failures that say something about the provider count: not refusals of a request, not rate limits, not calls that
their caller gave up.
"""

import random
from collections import deque
from functools import partial
from typing import Literal

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Call, Handler, Layer, Reply

COUNTED = frozenset({"server_error", "overloaded", "network_error", "timeout", "protocol"})
Admission = Literal["call", "probe"]
"""An attempt through the closed breaker, or the one that finds out whether the provider is back."""
NOT_COUNTED_CODES = frozenset({"deadline_exceeded", "pool_exhausted", "stale_connection", "circuit_open", "gated"})


class Breaker:
    """The state of one provider: closed, open until some moment, or half open."""

    CONSECUTIVE = 5
    WINDOW = 30.0
    WINDOW_CALLS = 20
    WINDOW_FAILURES = 0.5
    FIRST_OPEN = 5.0
    LONGEST_OPEN = 30.0
    PROBES_TO_CLOSE = 3

    __slots__ = (
        "_consecutive",
        "_good_probes",
        "_not_before",
        "_opens",
        "_own_end",
        "_probing",
        "_window",
        "open_until",
        "state",
    )

    def __init__(self) -> None:
        self.state: Literal["closed", "open", "half_open"] = "closed"
        self.open_until = 0.0
        self._own_end = 0.0
        self._not_before = 0.0
        self._consecutive = 0
        self._opens = 0
        self._probing = False
        self._good_probes = 0
        self._window: deque[tuple[float, bool]] = deque(maxlen=1000)

    def admit(self, now: float) -> Admission | None:
        """Whether, and as what, an attempt may be sent now. Whoever was admitted reports the end with what it got."""
        if self.state == "closed":
            return "call"
        if self.state == "open":
            if now < self.open_until:
                return None
            self.state, self._good_probes = "half_open", 0
        if self._probing:
            return None
        self._probing = True
        return "probe"

    def succeeded(self, now: float, admission: Admission) -> bool:
        """An attempt was answered; `True` where that closes the breaker."""
        if admission == "call":
            # What was sent before the breaker opened tells nothing about the time after.
            if self.state == "closed":
                self._consecutive = 0
                self._window.append((now, True))
            return False
        self._probing = False
        self._good_probes += 1
        if self._good_probes < self.PROBES_TO_CLOSE:
            return False
        self.state, self._opens, self._consecutive = "closed", 0, 0
        self._window.clear()
        return True

    def failed(self, now: float, rng: random.Random, admission: Admission) -> bool:
        """An attempt failed; `True` where that opens the breaker."""
        if admission == "probe":
            self._probing = False
        elif self.state != "closed":
            return False
        else:
            self._consecutive += 1
            self._window.append((now, False))
            if self._consecutive < self.CONSECUTIVE and not self._window_is_bad(now):
                return False
        length = min(self.LONGEST_OPEN, self.FIRST_OPEN * 2**self._opens) * rng.uniform(0.8, 1.2)
        self.state, self.open_until, self._own_end = "open", now + length, now + length
        # What a health check promised and a call then disproved is not believed again before the time is up.
        self._not_before = now + length if self._opens else now
        self._opens += 1
        return True

    def rests(self, now: float) -> bool:
        """Whether no attempt would be admitted now because the breaker is open."""
        return self.state == "open" and now < self.open_until

    def hold(self, until: float) -> None:
        """Stay open until then, unless a health check passes before: failing checks spare the calls."""
        if self.state == "open":
            self.open_until = max(self.open_until, until)

    def let_go(self) -> None:
        """Forget `hold`: nobody checks any more."""
        if self.state == "open":
            self.open_until = min(self.open_until, self._own_end)

    def try_soon(self, now: float) -> None:
        """A health check has passed: admit the next call as a probe, unless one has just failed."""
        if self.state == "open":
            self.open_until = min(self.open_until, max(now, self._not_before))

    def released(self, admission: Admission) -> None:
        """An attempt ended in a way that says nothing about the provider."""
        if admission == "probe":
            self._probing = False

    def _window_is_bad(self, now: float) -> bool:
        while self._window and self._window[0][0] < now - self.WINDOW:
            self._window.popleft()
        if len(self._window) < self.WINDOW_CALLS:
            return False
        failures = sum(not good for _, good in self._window)
        return failures / len(self._window) >= self.WINDOW_FAILURES


def breaker(state: Breaker, target: ModelRef, events: EventBus) -> Layer:
    """The layer that asks *state* before each attempt and tells it how the attempt ended."""

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            now = call.clock.monotonic()
            admission = state.admit(now)
            if admission is None:
                wait = max(0.0, state.open_until - now)
                raise ProviderError(
                    "overloaded",
                    "not sent: the provider has kept failing, so it is left alone for a while",
                    code="circuit_open",
                    retryable=False,
                    retry_after=round(wait, 3) or None,
                    provider=target.provider,
                    model=target.model,
                )
            try:
                reply = await inner(call)
            except BaseException as error:
                ended(call, admission, error)
                raise
            reply.on_end(partial(over, call, admission))
            return reply

        def over(call: Call, admission: Admission, reply: Reply, error: BaseException | None) -> None:
            if reply.outcome != "answered":
                ended(call, admission, error)
            elif state.succeeded(call.clock.monotonic(), admission):
                events.publish(ProviderStateChanged(target.provider, "closed", "its probes were answered"))

        def ended(call: Call, admission: Admission, error: BaseException | None) -> None:
            if not _counts(error):
                state.released(admission)
            elif state.failed(call.clock.monotonic(), call.rng, admission):
                seconds = state.open_until - call.clock.monotonic()
                events.publish(ProviderStateChanged(target.provider, "open", str(error), seconds))

        return handle

    return layer


def _counts(error: BaseException | None) -> bool:
    return isinstance(error, ProviderError) and error.type in COUNTED and error.code not in NOT_COUNTED_CODES
