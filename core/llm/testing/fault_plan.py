"""Which request fails, and how: faults as lists of steps, chosen per request by a seeded plan.

Nothing here sends or waits. `FaultInjector` carries a plan out, over a `WireServer` of any dialect or around a provider
in the same process.

```python
plan = FaultPlan(
    Rule(refuse(429, retry_after=2), ordinals=[1]),        # the first request
    Rule(cut(after=3), every=10),                          # each tenth
    Rule(reset(), silence(), probability=0.05),            # one of the two, for 5 % of the rest
    seed=7,
)
```
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.llm.testing.wire_steps import WireScript

_MESSAGE: Final = "the fault plan refuses this request"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error status instead of an answer; `code` is the vendor's word for it where a dialect has one."""

    status: int
    message: str = _MESSAGE
    code: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for so many seconds; `None`: until the other side gives up."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Send so many words of the answer, or of what is left of it; `None`: all of them, but not the end."""

    words: int | None = None


@dataclass(frozen=True, slots=True)
class Garble:
    """Send something in the middle of the answer that is none of it: bytes that cannot be read."""


@dataclass(frozen=True, slots=True)
class Page:
    """Answer with a web page and status 200, as a proxy or a guest network does."""


@dataclass(frozen=True, slots=True)
class StopShort:
    """End the body in order, without the answer's own end."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; with `reset` the other side gets an error instead of an end."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """Send what is left of the answer, and its end."""


@dataclass(frozen=True, slots=True)
class Unmarked:
    """Send what is left of the answer and why it ended, but not the marker that closes a stream, such as `[DONE]`.

    Where a format has no such marker, the connection stays open instead.
    """


@dataclass(frozen=True, slots=True)
class Exactly:
    """Run these steps of a `WireServer`; possible on the wire only."""

    script: WireScript


FaultStep = Refuse | Wait | Say | Garble | Page | StopShort | Close | Finish | Unmarked | Exactly


@dataclass(frozen=True, slots=True)
class Fault:
    """A name and what happens, step by step."""

    name: str
    steps: tuple[FaultStep, ...]

    @property
    def answers(self) -> bool:
        """Whether the request is answered in the end: the fault only delays it."""
        return bool(self.steps) and isinstance(self.steps[-1], Finish | Unmarked) and not any(map(_spoils, self.steps))

    @property
    def refusal(self) -> Refuse | None:
        """The refusal among its steps."""
        return next((step for step in self.steps if isinstance(step, Refuse)), None)


def _spoils(step: FaultStep) -> bool:
    return isinstance(step, Refuse | Garble | Page | StopShort | Close | Exactly) or step == Wait()


def refuse(status: int, *, retry_after: float | None = None, code: str | None = None, message: str = "") -> Fault:
    """An error status."""
    return Fault(f"status {status}", (Refuse(status, message or _MESSAGE, code, retry_after),))


def silence() -> Fault:
    """No answer at all."""
    return Fault("silence", (Wait(),))


def slow(seconds: float, *, after: int = 0) -> Fault:
    """A pause of so many seconds after so many words, then the rest."""
    return Fault(f"{seconds:g} s pause after {after}", (*_begun(after), Wait(seconds), Finish()))


def reset(*, after: int | None = None) -> Fault:
    """A reset connection, before anything was sent or after so many words."""
    return Fault("reset" if after is None else f"reset after {after}", (*_begun(after), Close(reset=True)))


def cut(*, after: int | None = None) -> Fault:
    """A closed connection, before anything was sent or after so many words."""
    return Fault("cut" if after is None else f"cut after {after}", (*_begun(after), Close()))


def stall(*, after: int) -> Fault:
    """Silence after so many words."""
    return Fault(f"stall after {after}", (*_begun(after), Wait()))


def garbled(*, after: int) -> Fault:
    """Unreadable bytes after so many words, then the rest as if nothing had been."""
    return Fault(f"garbled after {after}", (*_begun(after), Garble(), Finish()))


def unfinished(*, after: int) -> Fault:
    """A body that ends in order after so many words, without the answer's own end."""
    return Fault(f"unfinished after {after}", (*_begun(after), StopShort()))


def unmarked() -> Fault:
    """The whole answer without the marker that closes a stream."""
    return Fault("no end marker", (Unmarked(),))


def page() -> Fault:
    """A web page instead of an answer."""
    return Fault("web page", (Page(),))


def _begun(words: int | None) -> tuple[FaultStep, ...]:
    return (Say(words),) if words else ()


ANY_FAULT: Final = (
    refuse(500), refuse(503), refuse(429), refuse(429, retry_after=0.01), refuse(529), reset(), cut(), page(),
    unfinished(after=2), cut(after=2), reset(after=2), garbled(after=2), unfinished(after=1), slow(0.005, after=1),
)  # fmt: skip
"""One of each kind that ends by itself; those that do not (`silence`, `stall`) take as long as the limits are."""


@dataclass(frozen=True, slots=True, init=False)
class Rule:
    """When one of some faults happens; every condition that is set must hold."""

    faults: tuple[Fault, ...]
    ordinals: Collection[int] | None
    every: int | None
    key: str | None = field(repr=False)
    model: str | None
    stream: bool | None
    between: tuple[float, float] | None
    probability: float

    def __init__(
        self,
        *faults: Fault,
        ordinals: Collection[int] | None = None,
        every: int | None = None,
        key: str | None = None,
        model: str | None = None,
        stream: bool | None = None,
        between: tuple[float, float] | None = None,
        probability: float = 1.0,
    ) -> None:
        """Choose when.

        Args:
            faults: one of them, drawn evenly.
            ordinals: numbers of requests, the first is 1.
            every: each so-manieth request.
            key: only requests with this credential.
            model: only requests for this model.
            stream: only streams, or only whole answers.
            between: seconds since the plan began.
            probability: of the requests for which all this holds.
        """
        if not faults:
            raise ValueError("a rule needs at least one fault")
        values = (faults, ordinals, every, key, model, stream, between, probability)
        for name, value in zip(Rule.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def holds(self, request: "Asked") -> bool:
        """Whether every condition but the probability holds."""
        return (
            (self.ordinals is None or request.ordinal in self.ordinals)
            and (self.every is None or request.ordinal % self.every == 0)
            and (self.key is None or request.key == self.key)
            and (self.model is None or request.model == self.model)
            and (self.stream is None or request.stream == self.stream)
            and (self.between is None or self.between[0] <= request.elapsed < self.between[1])
        )

    def describe(self) -> str:
        """One line."""
        conditions = {
            "ordinals": None if self.ordinals is None else sorted(self.ordinals),
            "every": self.every,
            "key": None if self.key is None else "***",
            "model": self.model,
            "stream": self.stream,
            "between": self.between,
            "probability": None if self.probability == 1 else self.probability,
        }
        when = ", ".join(f"{name}={value}" for name, value in conditions.items() if value is not None)
        return f"{' | '.join(fault.name for fault in self.faults)}: {when or 'always'}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a plan is told about a request."""

    ordinal: int
    """1 for the first request that reached the upstream."""
    elapsed: float = 0.0
    """Seconds since the injector began."""
    model: str = ""
    key: str | None = field(default=None, repr=False)
    stream: bool = False


@dataclass(frozen=True, slots=True, init=False)
class FaultPlan:
    """Rules in order: the first that holds and whose dice fall decides. The same seed decides the same.

    What is drawn for a request depends on the seed, the rule and the request's number, and on nothing that was drawn
    before. Where calls run side by side, their order of arrival says which of them is which number.
    """

    rules: tuple[Rule, ...]
    seed: int

    def __init__(self, *rules: Rule, seed: int = 0) -> None:
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "seed", seed)

    @classmethod
    def random(cls, seed: int, *, rate: float = 0.2, faults: Sequence[Fault] = ANY_FAULT) -> "FaultPlan":
        """Any of *faults* for the share *rate* of all requests."""
        return cls(Rule(*faults, probability=rate), seed=seed)

    def decide(self, request: Asked) -> Fault | None:
        """What happens to *request*; `None`: it is answered."""
        for number, rule in enumerate(self.rules):
            if rule.holds(request):
                dice = random.Random(f"{self.seed}/{number}/{request.ordinal}")
                if rule.probability >= 1 or dice.random() < rule.probability:
                    return dice.choice(rule.faults)
        return None

    def describe(self) -> str:
        """The plan as text, with its seed and without keys."""
        lines = [f"seed {self.seed}", *(f"  {number}. {rule.describe()}" for number, rule in enumerate(self.rules, 1))]
        return "\n".join(lines if self.rules else [*lines, "  no rule: every request is answered"])


def steps_of(fault: Fault | None) -> tuple[FaultStep, ...]:
    """The steps of *fault*; of a request that is answered, just the answer."""
    return (Finish(),) if fault is None else fault.steps
