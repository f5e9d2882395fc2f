"""Try the candidates of a plan in order until one of them commits.

Only what happens before the first output leads to the next candidate, and why an attempt failed decides which one that
is (`course`). A refused request, a safety block or a broken stream never does, unless the alias says so.
"""

from functools import partial

from core.llm.common.events import RequestAdjusted
from core.llm.common.exceptions import (
    BudgetExceeded,
    LLMError,
    ModelError,
    ProviderError,
    RateLimited,
    StructuredOutputError,
    UnsupportedFeature,
)
from core.llm.common.trace import CandidateTrace
from core.llm.common.types import CallWarning
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.course import Course
from core.llm.pipeline.exhausted import exhausted
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.preflight import policy_of, prepared, with_defaults
from core.llm.pipeline.reasons import ends_the_call, was_sent
from core.llm.pipeline.target import Target

_OF_A_CANDIDATE = (
    ProviderError,
    ModelError,
    UnsupportedFeature,
    RateLimited,
    BudgetExceeded,
    StructuredOutputError,
)
"""What may be different at another candidate. Everything else is a mistake of the caller's, or a defect of ours."""


def fallback(candidates: Candidates, max_attempts: int) -> Handler:
    """The handler that routes a call."""

    async def handle(call: Call) -> Reply:
        plan = candidates.plan(call)
        asked = with_defaults(call.request, plan.defaults) if plan.defaults else call.request
        course = Course(candidates, plan.candidates, asked)
        call.attempts_left = max_attempts
        call.trace.candidates = course.entries
        call.alternatives = course.others
        while (entry := course.next(call)) is not None:
            if course.errors and call.attempts_left <= 0:
                entry.outcome, entry.reason = "skipped", f"retry.max_attempts ({max_attempts}) is used up"
                continue
            if call.race is None:
                reply = await _try(call, candidates, course, entry)
            else:
                reply = await call.race(
                    call, course, entry, lambda branch, entry: _try(branch, candidates, course, entry)
                )
            if reply is not None:
                return reply
        raise exhausted(call, candidates, course)

    return handle


async def _try(call: Call, candidates: Candidates, course: Course, entry: CandidateTrace) -> Reply | None:
    tried_before = len(call.trace.attempts)
    target: Target | None = None
    try:
        target = candidates.target_now(entry.target)
        if target is None:
            with call.guard:
                target = await candidates.target(entry.target)
        entry.target = call.target = target.ref
        call.request, warnings = prepared(course.asked, target, call)
        unfit = course.unfit(call, target)
        if unfit is not None or target.handler is None:
            entry.outcome, entry.reason = "skipped", unfit.reason if unfit else "no handler"
            if unfit:
                course.unfits.append(unfit)
            return None
        reply = await target.handler(call)
        if call.reserves and reply.declined:
            await _take_as_refusal(reply, call, target)
    except _OF_A_CANDIDATE as error:
        if target and isinstance(error, ProviderError) and error.type == "context_length" and not error.context_window:
            error.context_window = target.facts.context_window
        made = len(call.trace.attempts) - tried_before
        sent = was_sent(error)
        if made and not sent:
            call.attempts_left += 1  # a refusal of our own cost nobody anything
        entry.outcome = "failed" if made > (not sent) else "skipped"
        entry.reason = _reason(error)
        course.failed(call, entry, error)
        if ends_the_call(error, call):
            raise
        return None
    if call.mode == "stream":
        _learn_its_pace(call, target)
    entry.outcome = "answered"
    entry.reason = f"after {len(course.errors)} that failed" if course.errors else ""
    if warnings:
        _warn_of(warnings, call, target, reply)
    return reply


def _learn_its_pace(call: Call, target: Target) -> None:
    attempt = call.attempt
    if target.upstream is not None and attempt is not None and attempt.time_to_first_token is not None:
        target.upstream.first_outputs.learn(target.ref.model, attempt.time_to_first_token, call.clock.monotonic())


async def _take_as_refusal(reply: Reply, call: Call, target: Target) -> None:
    """Raise what an answer stands for that is a refusal, where the alias names somebody else for that case."""
    error = ProviderError(
        "content_filter",
        "the model would not answer",
        code="refusal",
        provider=target.ref.provider,
        model=target.ref.model,
        billing="settled",
    )
    if not ends_the_call(error, call):
        if call.attempt is not None:
            call.attempt.decision = "next_candidate"
        await reply.end("answered" if reply.response is not None else "abandoned")
        raise error


def _warn_of(warnings: tuple[CallWarning, ...], call: Call, target: Target, reply: Reply) -> None:
    reply.on_end(partial(_add, warnings))
    if policy_of(call.request, target) == "warn" and call.events.wants(RequestAdjusted):
        call.events.publish(RequestAdjusted(call.id, target.ref, warnings))


def _add(warnings: tuple[CallWarning, ...], reply: Reply, _: BaseException | None) -> None:
    if reply.response is not None:
        reply.response.warnings = (*reply.response.warnings, *warnings)


def _reason(error: LLMError) -> str:
    """What *error* says, without the name of the candidate that stands beside it anyway."""
    if not isinstance(error, ProviderError):
        return str(error)
    return f"{error.message} (HTTP {error.status_code})" if error.status_code else error.message
