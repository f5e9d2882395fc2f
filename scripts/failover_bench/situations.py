"""Sixteen ways in which a primary fails while a fallback stands by, and what each asks of a client.

The verdict looks at what the caller got and at what the two servers saw:

- `pass`: everything that the situation asks for
- `partial`: the caller got what it should, but not in the way that was asked for
- `safe`: an error where an answer was possible; nothing wrong was shown
- `fail`: a wrong or truncated answer shown as success, or no end in time
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from core.llm.testing.fault_injector import Injected
from core.llm.testing.fault_plan import (
    Fault,
    FaultPlan,
    Rule,
    cut,
    garbled,
    refuse,
    reset,
    silence,
    slow,
    stall,
    unmarked,
)

Verdict = Literal["pass", "partial", "safe", "fail"]
WORDS = 60
BROKEN_AFTER = 40


@dataclass(frozen=True)
class Times:
    """Seconds; a faster run scales all of them."""

    timeout: float = 30.0
    """What every client is told for one attempt."""
    first_token: float = 10.0
    """The limit for the first token, where a client has one."""
    retry_after: float = 2.0
    late: float = 20.0
    """When the first token of S07 comes."""
    outage: float = 60.0
    back: float = 10.0
    """The primary must be used again so soon after an outage."""
    prompt: float = 3.0
    """What counts as prompt where nothing has to be waited for."""

    def hang(self) -> float:
        """After this a call counts as never ending."""
        return 4 * self.timeout + 10


@dataclass
class Got:
    """What a caller got from one call."""

    text: str = ""
    """The answer; of a stream, what counts after the client's last word about it."""
    error: str | None = None
    """The type of the error in the client's own words; `None`: the call was a success."""
    delivered: str = ""
    """What the error says was delivered before."""
    content_error: bool = False
    """Whether the error says that the content was refused."""
    model: str | None = None
    usage: tuple[int, int] | None = None
    seconds: float = 0.0
    hung: bool = False


@dataclass
class Seen:
    """What the caller got, call by call, and what the servers saw."""

    calls: list[Got]
    primary: list[Injected]
    spare: list[Injected]
    times: Times
    recovered_at: float | None = None
    """When the primary was well again, on the servers' clock."""
    returned_at: float | None = None
    """When a call was answered by the primary after that."""
    spare_usage: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)

    @property
    def got(self) -> Got:
        """The only call."""
        return self.calls[0]

    def truth(self, got: Got) -> bool:
        """Whether *got* is word for word one whole answer of one server."""
        return any(got.text == entry.text for entry in (*self.primary, *self.spare))

    def told(self, condition: bool, note: str) -> bool:
        """*condition*; where it does not hold, *note* says what was missing."""
        if not condition:
            self.notes.append(note)
        return condition


def _answer(seen: Seen) -> Verdict | None:
    """The verdict on what the caller got, where it is not a right answer."""
    for got in seen.calls:
        if got.hung:
            seen.notes.append("no end")
            return "fail"
        if got.error is None and not seen.truth(got):
            seen.notes.append(f"success with {len(got.text.split())} words")
            return "fail"
    lost = [got.error for got in seen.calls if got.error is not None]
    if lost:
        seen.notes.append(f"{len(lost)} of {len(seen.calls)} calls failed: {lost[0]}")
        return "safe"
    return None


def _judge(*conditions: Callable[[Seen], bool]) -> Callable[[Seen], Verdict]:
    def verdict(seen: Seen) -> Verdict:
        wrong = _answer(seen)
        if wrong is not None:
            return wrong
        return "pass" if all(condition(seen) for condition in conditions) else "partial"

    return verdict


def _primary_hits(least: int, most: int) -> Callable[[Seen], bool]:
    wanted = f"{least}" if least == most else f"{least} to {most}"
    return lambda seen: seen.told(
        least <= len(seen.primary) <= most, f"{len(seen.primary)} requests to the primary instead of {wanted}"
    )


def _spare_hits(least: int, most: int) -> Callable[[Seen], bool]:
    return lambda seen: seen.told(least <= len(seen.spare) <= most, f"{len(seen.spare)} requests to the fallback")


def _waited(seen: Seen) -> bool:
    if len(seen.primary) < 2:
        return True
    gap = seen.primary[1].at - seen.primary[0].at
    return seen.told(seen.times.retry_after <= gap, f"came back after {gap:.2f} s, was told {seen.times.retry_after:g}")


def _within(limit: Callable[[Times], float]) -> Callable[[Seen], bool]:
    return lambda seen: seen.told(seen.got.seconds <= limit(seen.times), f"took {seen.got.seconds:.1f} s")


def _no_storm(seen: Seen) -> bool:
    gaps = [after.at - before.at for before, after in zip(seen.primary, seen.primary[1:], strict=False)]
    return seen.told(all(gap > 0 for gap in gaps) and len(set(gaps)) == len(gaps), "no back-off between tries")


def _refused(seen: Seen) -> Verdict:
    got = seen.got
    if got.hung:
        return "fail"
    if got.error is None:
        seen.notes.append("routed around the refusal")
        return "partial" if seen.truth(got) else "fail"
    good = [
        seen.told(got.content_error, f"the error is {got.error}"),
        _primary_hits(1, 1)(seen),
        _spare_hits(0, 0)(seen),
    ]
    return "pass" if all(good) else "partial"


def _accounted(seen: Seen) -> bool:
    got = seen.got
    return seen.told(got.model == "spare-model", f"the model is said to be {got.model}") and seen.told(
        got.usage == seen.spare_usage, f"the usage is said to be {got.usage}, it is {seen.spare_usage}"
    )


def _flap(seen: Seen) -> Verdict:
    verdict = _judge()(seen)
    if verdict != "pass":
        return verdict
    tried = [entry for entry in seen.primary if not entry.answered]
    returned = seen.returned_at is not None and seen.recovered_at is not None
    good = [
        seen.told(len(tried) <= 5, f"{len(tried)} requests to the dead primary"),
        seen.told(
            returned and (seen.returned_at or 0) - (seen.recovered_at or 0) <= seen.times.back,
            "the primary was not used again in time",
        ),
    ]
    return "pass" if all(good) else "partial"


@dataclass(frozen=True)
class Situation:
    """One way to fail."""

    id: str
    title: str
    faults: Callable[[Times], tuple[Fault, ...]]
    """What happens to the first requests at the primary; the last one goes on for ever unless `once`."""
    judge: Callable[[Seen], Verdict]
    once: bool = False
    whole: str | None = None
    """Why there is no such situation without streaming; `None`: there is one."""
    calls: int = 1
    prefill_refused: bool = False
    """The fallback refuses a request that ends with the words of the assistant."""

    def plan(self, times: Times) -> FaultPlan:
        """The plan for the primary."""
        *first, last = self.faults(times)
        rules = [Rule(fault, ordinals=[number]) for number, fault in enumerate(first, 1)]
        if self.calls > 1:
            return FaultPlan(Rule(last, between=(0.0, times.outage)))
        return FaultPlan(*rules, Rule(last, ordinals=[len(first) + 1] if self.once else None))


_PRIMARY_ALONE = (_primary_hits(2, 2), _spare_hits(0, 0))
_LIMITED = "Rate limit reached for this model."

SITUATIONS = (
    Situation(
        "S01", "429 with Retry-After, once", lambda t: (refuse(429, retry_after=t.retry_after, message=_LIMITED),),
        _judge(_waited), once=True,
    ),
    Situation(
        "S02", "429 for ever, no hint", lambda _: (refuse(429, message=_LIMITED),),
        _judge(_primary_hits(1, 4), _no_storm, _within(lambda t: t.prompt)),
    ),
    Situation("S03", "500, once", lambda _: (refuse(500),), _judge(*_PRIMARY_ALONE), once=True),
    Situation(
        "S04", "503 for ever", lambda _: (refuse(503),), _judge(_primary_hits(1, 3), _within(lambda t: t.timeout))
    ),
    Situation("S05", "reset before the head", lambda _: (reset(),), _judge(_primary_hits(1, 3))),
    Situation(
        "S06", "no answer at all", lambda _: (silence(),),
        _judge(_primary_hits(1, 1), _within(lambda t: 1.2 * t.timeout + 1)),
    ),
    Situation(
        "S07", "first token too late", lambda t: (slow(t.late),),
        _judge(_spare_hits(1, 1), _primary_hits(1, 1), _within(lambda t: t.late)),
        whole="a whole answer has no first token",
    ),
    Situation("S08", "cut at 40 of 60 tokens", lambda _: (cut(after=BROKEN_AFTER),), _judge()),
    Situation(
        "S09", "stalls at 40 of 60 tokens", lambda _: (stall(after=BROKEN_AFTER),),
        _judge(_within(lambda t: 1.2 * t.timeout + 1)),
    ),
    Situation("S10", "a malformed chunk", lambda _: (garbled(after=BROKEN_AFTER),), _judge()),
    Situation(
        "S11", "no end marker", lambda _: (unmarked(),), _judge(_primary_hits(1, 1), _within(lambda t: t.prompt)),
        whole="the length of a whole answer is its end",
    ),
    Situation(
        "S12", "400, the prompt is too long",
        lambda _: (
            refuse(
                400, code="context_length_exceeded",
                message="This model's maximum context length is 8000 tokens. Please reduce the length of the messages.",
            ),
        ),
        _judge(_primary_hits(1, 1), _spare_hits(1, 1)),
    ),
    Situation(
        "S13", "400, the content is refused",
        lambda _: (
            refuse(
                400, code="content_policy_violation",
                message="Your request was rejected as a result of our safety system (content policy).",
            ),
        ),
        _refused,
    ),
    Situation(
        "S14", "cut, and the fallback takes no prefill", lambda _: (cut(after=BROKEN_AFTER),), _judge(),
        whole="nothing was delivered that could be continued", prefill_refused=True,
    ),
    Situation("S15", "down for a minute, 20 calls", lambda _: (refuse(503),), _flap, calls=20),
    Situation("S16", "who answered, and for how much", lambda _: (refuse(503),), _judge(_accounted)),
)  # fmt: skip
"""All of them, in order."""
