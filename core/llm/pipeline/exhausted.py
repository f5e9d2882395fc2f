"""The one error of a call that no candidate has answered."""

from core.llm.common.exceptions import (
    AllAttemptsFailed,
    BudgetExceeded,
    LLMError,
    ProviderError,
    UnknownProvider,
    UnsupportedFeature,
)
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.course import Course
from core.llm.pipeline.handler import Call
from core.llm.pipeline.preflight import Unfit


def exhausted(call: Call, candidates: Candidates, course: Course) -> LLMError:
    """What the caller of *call* gets once *course* is at its end.

    A single candidate's own error; `BudgetExceeded` where nothing but money was in the way; a `ProviderError` with the
    code `all_open` where everybody has kept failing and nobody was asked; else `AllAttemptsFailed` with every error.
    """
    entries, errors = course.entries, course.errors
    kinds = [unfit.kind for unfit in course.unfits]
    lines = "\n".join(f"  {entry.target}: {entry.outcome}: {entry.reason}" for entry in entries)
    if len(errors) == len(entries) == 1:
        return errors[0]
    if course.waits and not errors:
        wait = max(0.001, round(min(course.waits), 3))
        return ProviderError(
            "overloaded",
            f"nobody was asked, because every candidate has kept failing. The first is tried again in {wait:g} s:\n"
            f"{lines}",
            code="all_open",
            retry_after=wait,
        )
    dear = kinds.count("cost") + sum(isinstance(error, BudgetExceeded) for error in errors)
    if dear and dear == len(kinds) + len(errors):
        error = BudgetExceeded(f"nothing was sent, because it may cost too much:\n{lines}")
        moments = (one.resets_at for one in (*course.unfits, *errors) if isinstance(one, Unfit | BudgetExceeded))
        error.resets_at = min(filter(None, moments), default=None)
        return error
    if len(entries) == 1:
        entry = entries[0]
        if candidates.unavailable(entry.target) is not None:
            return UnknownProvider(f"provider {entry.target.provider!r} is off: {entry.reason}")
        if "time" in kinds:
            return ProviderError(
                "timeout",
                f"nothing was sent: {entry.reason}. Raise `timeout`",
                code="no_time_left",
                retryable=False,
                scope="request",
                provider=entry.target.provider,
                model=entry.target.model,
            )
        return UnsupportedFeature(f"{entry.target} cannot take this request: {entry.reason}")
    skipped = [(entry.target, entry.reason) for entry in entries if entry.outcome == "skipped"]
    asked = call.trace.requested or "the default model"
    return AllAttemptsFailed(f"no candidate for {asked} could answer:\n{lines}", errors, skipped, course.waits)
