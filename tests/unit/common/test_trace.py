"""The story of one call."""

from core.llm.common.trace import AttemptTrace, CallTrace
from core.llm.common.types import ModelRef

ALPHA, BETA = ModelRef("alpha", "m"), ModelRef("beta", "m")


def test_the_story_reads_in_order() -> None:
    """Every candidate with its reason, every attempt below its candidate."""
    trace = CallTrace("c1", 2, "fast")
    first = trace.candidate(ALPHA)
    first.outcome, first.reason = "failed", "busy"
    trace.candidate(BETA).outcome = "answered"
    trace.attempts = [
        AttemptTrace(1, ALPHA, 0.0, 0.5, error_type="overloaded", error="busy", decision="retry"),
        AttemptTrace(2, ALPHA, 1.0, 0.5, error_type="overloaded", error="busy", decision="next_candidate", waited=0.5),
        AttemptTrace(3, BETA, 1.5, 2.0, time_to_first_token=0.25, decision="answered"),
    ]
    trace.notes.append("a note")
    assert trace.describe().splitlines() == [
        "call c1 · generation 2 · asked for fast",
        "  alpha/m: failed (busy)",
        "    attempt 1 at 0.000 s took 0.500 s, overloaded: busy, -> retry",
        "    attempt 2 at 1.000 s took 0.500 s, after waiting 0.500 s, overloaded: busy, -> next_candidate",
        "  beta/m: answered",
        "    attempt 3 at 1.500 s took 2.000 s, first output after 0.250 s, -> answered",
        "  note: a note",
    ]
    assert trace.candidate(ALPHA) is first
    assert "asked for the default model" in CallTrace("c", 1, "").describe()
