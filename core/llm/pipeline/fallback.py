"""Try the candidates of a plan in order until one of them commits.

Only what happens before the first output leads to the next candidate. A refused request, a safety block or a broken
stream never does.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from pydantic import ValidationError

from core.llm.common.exceptions import (
    AllAttemptsFailed,
    LLMError,
    ModelError,
    ProviderError,
    RequestError,
    UnknownProvider,
    UnsupportedFeature,
)
from core.llm.common.trace import CandidateTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.fit import misfit
from core.llm.routing.router import Plan

STOPS = frozenset({"invalid_request", "content_filter", "cancelled"})
"""Errors that another provider would only repeat, or that must not be routed around."""


def ends_the_call(error: LLMError) -> bool:
    """Whether *error* goes to the caller whatever other candidates there are."""
    return isinstance(error, ProviderError) and (error.type in STOPS or error.code == "deadline_exceeded")


class Candidates(Protocol):
    """What the fallback layer needs to know about the configuration it runs in."""

    def plan(self, call: Call) -> Plan:
        """The candidates of *call* in order."""

    def unavailable(self, ref: ModelRef) -> str | None:
        """Why the provider of *ref* cannot be used at all, such as a missing key."""

    def misfit(self, ref: ModelRef, call: Call) -> str | None:
        """Why the model of *ref* cannot take *call*; `None` where nobody knows a reason without asking the provider."""

    def target_now(self, ref: ModelRef) -> Target | None:
        """The target of *ref*; `None` where its provider has to be asked for a model first."""

    async def target(self, ref: ModelRef) -> Target:
        """What calls to *ref* go through; finds the provider's default model where *ref* names none."""

    def may_repeat(self, ref: ModelRef) -> bool:
        """Take one retry out of the budget of the provider of *ref*; false where there is none."""


def fallback(candidates: Candidates, max_attempts: int) -> Handler:
    """The handler that routes a call."""

    async def handle(call: Call) -> Reply:
        return await _first_that_answers(call, candidates, max_attempts)

    return handle


async def _first_that_answers(call: Call, candidates: Candidates, max_attempts: int) -> Reply:
    plan = candidates.plan(call)
    asked = with_defaults(call.request, plan.defaults) if plan.defaults else call.request
    call.attempts_left = max_attempts
    entries = [CandidateTrace(ref) for ref in plan.candidates]
    call.trace.candidates = entries
    for entry in entries:
        reason = candidates.unavailable(entry.target)
        if reason is not None:
            entry.outcome, entry.reason = "skipped", reason
    errors: list[LLMError] = []
    call.request = asked
    for index, entry in enumerate(entries):
        if entry.outcome == "skipped":
            continue
        call.alternatives = partial(_any_left, candidates, entries[index + 1 :])
        if errors and call.attempts_left <= 0:
            entry.outcome, entry.reason = "skipped", f"retry.max_attempts ({max_attempts}) is used up"
            continue
        reply = await _try(call, candidates, entry, errors, asked)
        if reply is not None:
            return reply
    raise _nobody(call, candidates, entries, errors)


def _any_left(candidates: Candidates, entries: list[CandidateTrace], call: Call) -> bool:
    return any(entry.outcome == "untried" and candidates.misfit(entry.target, call) is None for entry in entries)


async def _try(
    call: Call, candidates: Candidates, entry: CandidateTrace, errors: list[LLMError], asked: LLMRequest
) -> Reply | None:
    tried_before = len(call.trace.attempts)
    target: Target | None = None
    try:
        target = candidates.target_now(entry.target)
        if target is None:
            with call.guard:
                target = await candidates.target(entry.target)
        entry.target = call.target = target.ref
        unfit = _too_small(errors, target) or misfit(asked, call.mode, target.facts)
        if unfit is not None or target.handler is None:
            entry.outcome, entry.reason = "skipped", unfit or "no handler"
            return None
        options = target.config.models.get(target.ref.model) if target.config.models else None
        # Each candidate starts from what was asked for: the defaults of one are not sent to the next.
        call.request = with_defaults(asked, options.defaults) if options and options.defaults else asked
        reply = await target.handler(call)
    except (ProviderError, ModelError, UnsupportedFeature) as error:
        if target and isinstance(error, ProviderError) and error.type == "context_length" and not error.context_window:
            error.context_window = target.facts.context_window
        sent = len(call.trace.attempts) > tried_before
        entry.outcome = "failed" if sent else "skipped"
        entry.reason = _reason(error)
        errors.append(error)
        if ends_the_call(error):
            raise
        return None
    entry.outcome = "answered"
    entry.reason = f"after {len(errors)} that failed" if errors else ""
    return reply


def _reason(error: LLMError) -> str:
    """What *error* says, without the name of the candidate that stands beside it anyway."""
    if not isinstance(error, ProviderError):
        return str(error)
    return f"{error.message} (HTTP {error.status_code})" if error.status_code else error.message


def _too_small(errors: list[LLMError], target: Target) -> str | None:
    """After a context-length error only a larger model is worth a try."""
    windows = [
        error.context_window or 0
        for error in errors
        if isinstance(error, ProviderError) and error.type == "context_length"
    ]
    if not windows:
        return None
    window = target.facts.context_window
    if window is None or window <= max(windows):
        return "the prompt was too long for an earlier candidate, and this model is not known to be larger"
    return None


def _nobody(call: Call, candidates: Candidates, entries: list[CandidateTrace], errors: list[LLMError]) -> LLMError:
    if len(entries) == 1 and len(errors) == 1:
        return errors[0]
    if len(entries) == 1:
        entry = entries[0]
        if candidates.unavailable(entry.target) is not None:
            return UnknownProvider(f"provider {entry.target.provider!r} is off: {entry.reason}")
        return UnsupportedFeature(f"{entry.target} cannot take this request: {entry.reason}")
    lines = "\n".join(f"  {entry.target}: {entry.outcome}: {entry.reason}" for entry in entries)
    skipped = [(entry.target, entry.reason) for entry in entries if entry.outcome == "skipped"]
    asked = call.trace.requested or "the default model"
    return AllAttemptsFailed(f"no candidate for {asked} could answer:\n{lines}", errors, skipped)


def with_defaults(request: LLMRequest, defaults: Mapping[str, Any]) -> LLMRequest:
    """*request* with *defaults* in every field that the caller left open."""
    unknown = defaults.keys() - LLMRequest.model_fields.keys()
    if unknown:
        raise RequestError(f"the configuration sets a default for {min(unknown)!r}, which is no field of a request")
    missing = {name: value for name, value in defaults.items() if getattr(request, name) is None}
    if not missing:
        return request
    try:
        return LLMRequest(**{**{name: getattr(request, name) for name in LLMRequest.model_fields}, **missing})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise RequestError(f"a default in the configuration cannot be sent: {problems}") from None
