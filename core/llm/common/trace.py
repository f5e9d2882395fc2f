"""The story of one call: every candidate, why it was skipped, every attempt and how it ended.

It is on every response and on every error that ended a call.
"""

from dataclasses import dataclass, field
from typing import Literal

from core.llm.common.types import Billing, ModelRef

CandidateOutcome = Literal["untried", "skipped", "failed", "cut", "answered"]
"""`cut`: given up because another one was faster, or because the call had ended."""
AttemptDecision = Literal["", "answered", "retry", "next_candidate", "raise", "cancelled"]

AttemptRole = Literal["first", "retry", "hedge", "continuation", "shadow"]
"""Why an attempt was made: the first at its candidate, a repetition, a second one beside a slow one, the rest of a
broken stream, or a copy that nobody waits for."""


@dataclass(slots=True)
class AttemptTrace:
    """One request to one provider, or one that was about to be sent."""

    number: int
    target: ModelRef
    started: float
    """Seconds since the call began."""
    duration: float = 0.0
    time_to_first_token: float | None = None
    status_code: int | None = None
    error_type: str | None = None
    error: str | None = None
    retry_after: float | None = None
    decision: AttemptDecision = ""
    role: AttemptRole = "first"
    waited: float = 0.0
    """Seconds of back-off before this attempt."""
    queued: float = 0.0
    """Seconds in which a rate or concurrency limit held it back."""
    billing: Billing = "none"
    request_id: str | None = None
    key_id: str | None = None
    """Fingerprint of the credential that was used; never a part of it."""
    code: str | None = None
    """Machine-readable detail of the error: that of `ProviderError`."""


@dataclass(slots=True)
class CandidateTrace:
    """One link of the chain that routing produced."""

    target: ModelRef
    outcome: CandidateOutcome = "untried"
    reason: str = ""


@dataclass(slots=True)
class CallTrace:
    """Filled while the call runs; complete when it has ended."""

    call_id: str
    generation: int
    """Number of the configuration that served the call."""
    requested: str
    """The model as the caller asked for it; empty means the default."""
    candidates: list[CandidateTrace] = field(default_factory=list)
    attempts: list[AttemptTrace] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    how: str = ""
    """How the request was understood: what the model's name stands for, and which strategy ordered it."""

    def candidate(self, target: ModelRef) -> CandidateTrace:
        """The entry of *target*, added when routing did not list it."""
        for entry in self.candidates:
            if entry.target == target:
                return entry
        entry = CandidateTrace(target)
        self.candidates.append(entry)
        return entry

    def describe(self) -> str:
        """The whole story as lines of plain text."""
        lines = [
            f"call {self.call_id} · generation {self.generation} · asked for {self.requested or 'the default model'}"
        ]
        if self.how:
            lines.append(f"  {self.how}")
        for entry in self.candidates:
            lines.append(f"  {entry.target}: {entry.outcome}" + (f" ({entry.reason})" if entry.reason else ""))
            lines.extend("    " + _attempt_line(one) for one in self.attempts if one.target == entry.target)
        lines.extend(f"  note: {note}" for note in self.notes)
        return "\n".join(lines)


def _attempt_line(attempt: AttemptTrace) -> str:
    parts = [f"attempt {attempt.number} at {attempt.started:.3f} s took {attempt.duration:.3f} s"]
    if attempt.role not in {"first", "retry"}:
        parts.append(f"as a {attempt.role}")
    if attempt.queued:
        parts.append(f"after {attempt.queued:.3f} s in the queue")
    if attempt.waited:
        parts.append(f"after waiting {attempt.waited:.3f} s")
    if attempt.time_to_first_token is not None:
        parts.append(f"first output after {attempt.time_to_first_token:.3f} s")
    if attempt.error:
        parts.append(f"{attempt.error_type}: {attempt.error}")
    if attempt.decision:
        parts.append(f"-> {attempt.decision}")
    return ", ".join(parts)
