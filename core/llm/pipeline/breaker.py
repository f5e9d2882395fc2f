"""Stop sending to a provider or model that keeps failing, and find out with single probes when it is back.

    closed ── enough failures ──▶ open ── its time is over ──▶ half open ── three good probes ──▶ closed, load in steps
                                   ▲                              │
                                   └────────── a bad probe ───────┘

This file is the machine; what counts as a failure of what is in `failure_scope`, the layer in `circuits`. How long it
stays open is chosen so that an outage of a minute costs at most five attempts and ends within ten seconds of the
recovery, although nobody but a call can find that out (docs/resilience.md).
"""

import math
import random
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from core.llm.common.waits import doubled
from core.llm.pipeline.late import LateAnswers

if TYPE_CHECKING:
    from core.llm.providers.config.models.limits import SlowCallOptions

Admission = Literal["call", "probe", "beside"]
"""An attempt through the closed breaker; the one that finds out whether the other side is back; or one that runs beside
that: a probe whose stream has begun, so that nobody waits for its end, or a call that has nobody but a slow model."""
BreakerState = Literal["closed", "open", "half_open"]

_REMEMBERED: Final = 64
"""Results by which a row of failures is told from bad luck."""
_MASK: Final = 2**_REMEMBERED - 1
_CHANCE: Final = math.log(1e-5)
"""How improbable a row of failures must be, as often as the other side fails anyway, to be called an outage."""
_MOST: Final = 10


def failures_needed(least: int, failures: int, results: int) -> int:
    """How many failures in a row are no bad luck any more.

    *least* of them for whom failures are rare; more, up to ten, for whom *failures* of the last *results* attempts had
    failed before: three in a row mean nothing where one in five fails.
    """
    if failures < 1 or failures >= results:
        return least
    return max(least, min(_MOST, math.ceil(_CHANCE / math.log(failures / results))))


class Breaker:
    """The state of one provider or one of its models. Whoever was admitted reports how the attempt ended."""

    CONSECUTIVE = 3
    WINDOW = 30.0
    WINDOW_CALLS = 20
    WINDOW_FAILURES = 0.5
    FIRST_OPEN = 5.0
    LONGEST_OPEN = 28.5
    PROBES_TO_CLOSE = 3
    RAMP = 10.0
    RAMP_LEAST = 4
    PANIC_INTERVAL = 10.0
    PROBE_WAIT = 1.0

    __slots__ = (
        "_bad_probes",
        "_consecutive",
        "_first_failure",
        "_good_probes",
        "_late",
        "_not_before",
        "_own_end",
        "_panic_at",
        "_panicking",
        "_peak",
        "_probing",
        "_ramp_end",
        "_recent",
        "_relapses",
        "_results",
        "_window",
        "answered_at",
        "in_flight",
        "open_until",
        "since",
        "slow",
        "state",
    )

    def __init__(self) -> None:
        self.state: BreakerState = "closed"
        self.since: float | None = None
        """When it came into its state; `None` while it has never left the first one."""
        self.in_flight = 0
        """Attempts that were admitted and have not ended."""
        self.answered_at = -math.inf
        """When an attempt was last answered."""
        self.slow = ""
        """What is wrong where it is not closed because answers came too late; they did come."""
        self._late: LateAnswers | None = None
        self.open_until = 0.0
        self._own_end = 0.0
        self._not_before = 0.0
        self._consecutive = 0
        self._first_failure = 0.0
        self._recent = 0
        self._results = 0
        self._window: deque[tuple[float, bool]] = deque(maxlen=1000)
        self._bad_probes = 0
        self._relapses = 0
        self._probing = False
        self._good_probes = 0
        self._panic_at = 0.0
        self._panicking = False
        self._peak = 0
        self._ramp_end = 0.0

    def admit(self, now: float) -> Admission | None:
        """Whether, and as what, an attempt may be sent now."""
        if self.state == "closed":
            running = self.in_flight + 1
            if now < self._ramp_end:
                if running > self._slots(now):
                    return None
            elif running > self._peak:
                self._peak = running
            self.in_flight = running
            return "call"
        if self.state == "open":
            if now < self.open_until:
                return None
            self.state, self.since, self._good_probes = "half_open", now, 0
        if self._probing:
            return None
        self._probing = True
        self.in_flight += 1
        return "probe"

    def succeeded(self, now: float, admission: Admission) -> bool:
        """An attempt was answered; `True` where that closes the breaker."""
        self.in_flight -= 1
        if admission != "probe":
            # What was sent before the breaker opened tells nothing about the time after.
            if self.state == "closed":
                self.answered_at = now
                self._consecutive = 0
                self._recent = self._recent << 1 & _MASK
                self._results += 1
                self._window.append((now, True))
            return False
        return self._good_probe(now)

    def began(self, now: float) -> bool:
        """The probe streams its answer, so the other side is there; `True` where that closes the breaker.

        From now on it is an attempt `beside`: the next probe need not wait until its consumer has read it.
        """
        return self._good_probe(now)

    def beside(self) -> Admission:
        """Admit an attempt although it is open; of use only where that is for being slow."""
        self.in_flight += 1
        return "beside"

    def timed(
        self, now: float, rng: random.Random, admission: Admission, options: "SlowCallOptions", limit: float, late: bool
    ) -> bool:
        """A running attempt has been answered in time, or *late*, after *limit*; `True` where that opens the breaker.

        A late probe is one no more: from then on it is `beside`.
        """
        if admission == "call" and self.state == "closed":
            if self._late is None:
                self._late = LateAnswers()
            wrong = self._late.note(now, options, limit, late=late)
            if not wrong:
                return False
            self._first_failure, self._bad_probes = now, 0
            self._open(now, self._planned_end(now, rng))
            self._not_before = now
        else:
            wrong = f"a probe took longer than {limit:g} s"
            if admission != "probe" or not late:
                return False
            self._probing = False
            if self.state != "half_open":
                return False
            self._reopen(now, rng)
        self.slow = wrong
        return True

    def failed(self, now: float, rng: random.Random, admission: Admission, *, may_open: bool = True) -> bool:
        """An attempt failed; `True` where that opens the breaker. `may_open=False` only counts it."""
        self.in_flight -= 1
        if admission == "probe":
            self._probing = False
        if self.state != "closed":
            # What began well a moment ago and then broke disproves the answers since.
            disproved = self.state == "half_open" and (admission == "probe" or (admission == "beside" and may_open))
            if disproved:
                self._reopen(now, rng)
            return disproved
        if not self._consecutive:
            self._first_failure = now
        self._consecutive += 1
        self._recent = (self._recent << 1 | 1) & _MASK
        self._results += 1
        self._window.append((now, False))
        if not may_open:
            return False
        row = self._consecutive
        needed = self._needed()
        if row < needed and not self._window_is_bad(now):
            return False
        # What more than the usual number of attempts has cost is saved by the first probe.
        self._bad_probes = int(row > needed == self.CONSECUTIVE)
        if row < needed:
            self._first_failure = now
        self._open(now, self._planned_end(now, rng))
        self._not_before = now
        return True

    def released(self, admission: Admission) -> None:
        """An attempt ended in a way that says nothing about the other side."""
        self.in_flight -= 1
        if admission == "probe":
            self._probing = False

    def rests(self, now: float) -> bool:
        """Whether no attempt would be admitted now because it is open, or because its probe is out."""
        if self.state == "closed":
            return False
        return now < self.open_until if self.state == "open" else self._probing

    def is_full(self, now: float) -> bool:
        """Whether no attempt would be admitted now because it has just closed, and its load comes back in steps."""
        return now < self._ramp_end and self.state == "closed" and self.in_flight >= self._slots(now)

    def wait(self, now: float) -> float:
        """Seconds until an attempt has a chance of being admitted, where none has now."""
        if self.state == "half_open":
            return self.PROBE_WAIT if self._probing else 0.0
        return max(0.0, (self._ramp_end if self.state == "closed" else self.open_until) - now)

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

    def may_try_early(self, now: float) -> bool:
        """Whether `try_early` would be granted."""
        return self.state == "open" and now >= self._panic_at

    def try_early(self, now: float) -> bool:
        """Admit one probe out of turn, because nobody else is left to ask; granted now and then only."""
        if not self.may_try_early(now):
            return False
        if now < self.open_until:
            self._panicking, self.open_until = True, now
        return True

    def _good_probe(self, now: float) -> bool:
        self._probing = self._panicking = False
        self.answered_at = now
        if self.state != "half_open":
            return False
        self._good_probes += 1
        if self._good_probes < self.PROBES_TO_CLOSE:
            return False
        # Who was only slow has been answering all the time, and has lost no load that must come back in steps.
        self.state, self.since, self._ramp_end = "closed", now, now if self.slow else now + self.RAMP
        self.slow = ""
        self._consecutive = self._recent = self._results = self._relapses = 0
        self._window.clear()
        return True

    def _needed(self) -> int:
        row = self._consecutive
        before = self._recent >> row
        return failures_needed(self.CONSECUTIVE, before.bit_count(), min(self._results, _REMEMBERED) - row)

    def _reopen(self, now: float, rng: random.Random) -> None:
        if self._panicking:
            # It came out of turn, so the plan stays as it was.
            self._panicking = False
            end = max(self._own_end, now)
        elif self._good_probes:
            # It is there, but not well: what is known about its outage no longer tells when to come back.
            self._first_failure, self._bad_probes = now, 0
            end = now + doubled(self.FIRST_OPEN, self._relapses, self.LONGEST_OPEN) * rng.uniform(0.8, 1.2)
            self._relapses += 1
        else:
            self._bad_probes += 1
            end = self._planned_end(now, rng)
        self._open(now, end)
        # What a health check promised and a call then disproved is not believed again before the time is up.
        self._not_before = end

    def _planned_end(self, now: float, rng: random.Random) -> float:
        """When the next probe is due, counted from the first failure: about 5, 33, 62 and 90 s after it."""
        first = self.FIRST_OPEN * rng.uniform(0.8, 1.2)
        if not self._bad_probes:
            return now + first
        due = self._first_failure + self.FIRST_OPEN + self.LONGEST_OPEN * (self._bad_probes + rng.uniform(-0.05, 0.02))
        # An attempt that took long to fail may have outlasted the plan.
        return max(due, now + first)

    def _open(self, now: float, end: float) -> None:
        if self.state == "closed":
            self.since = now
        elif self.state == "half_open":
            self.state, self.since = "open", now
        self.state, self.open_until, self._own_end = "open", end, end
        self._panic_at = now + self.PANIC_INTERVAL
        self.slow = ""
        if self._late is not None:
            self._late.forget()

    def _slots(self, now: float) -> int:
        """Attempts that may run at once while the load comes back: a quarter of what it was, then half."""
        share = 0.25 if self._ramp_end - now > self.RAMP / 2 else 0.5
        return max(self.RAMP_LEAST, math.ceil(share * self._peak))

    def _window_is_bad(self, now: float) -> bool:
        while self._window and self._window[0][0] < now - self.WINDOW:
            self._window.popleft()
        if len(self._window) < self.WINDOW_CALLS:
            return False
        failures = sum(not good for _, good in self._window)
        return failures / len(self._window) >= self.WINDOW_FAILURES
