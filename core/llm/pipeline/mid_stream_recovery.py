"""Find somebody who takes over a broken stream: other candidates first, then the one it broke at."""

from dataclasses import dataclass
from functools import partial

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.trace import CandidateTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.preflight import prepared, unfit, with_defaults
from core.llm.pipeline.reasons import ends_the_call
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.models.streams import MidStreamOptions


@dataclass(slots=True)
class Route:
    """The alias of a call, and what was asked of it."""

    alias: AliasOptions
    candidates: Candidates
    request: LLMRequest

    @property
    def options(self) -> MidStreamOptions:
        """What the alias says about broken streams."""
        return self.alias.mid_stream

    @property
    def asked(self) -> LLMRequest:
        """The request with the alias's defaults, as every candidate starts from it."""
        return with_defaults(self.request, self.alias.defaults) if self.alias.defaults else self.request


async def find(call: Call, route: Route, broken: ModelRef, asked: LLMRequest, *, prefilled: bool) -> Reply | None:
    """The reply of the first candidate that answers *asked*; `None` where none does.

    Bounded by what is left of the call's attempts and time. *prefilled* says that the request ends with the beginning
    of the answer, which only some models take. The provider it broke at costs a retry out of its budget.
    """
    entries = [*others(call, broken), *_where_it_broke(call, broken)]
    for index, entry in enumerate(entries):
        if call.attempts_left <= 0 or call.deadline.remaining(call.clock) <= 0:
            return None
        target = await _usable(call, route, entry, asked, prefilled=prefilled)
        if target is None:
            continue
        if target.ref.provider == broken.provider and not route.candidates.may_repeat(target.ref):
            entry.reason = f"the retry budget of {broken.provider} is used up"
            continue
        call.alternatives = partial(_more, entries[index + 1 :])
        call.role = "continuation" if prefilled else "retry" if target.ref == broken else "first"
        try:
            return await _attempt(call, entry, target, asked, prefilled=prefilled)
        except LLMError as error:
            entry.outcome, entry.reason = "failed", _reason(error)
            # A model that refuses to be prefilled says so as it says that a request is wrong.
            refused_prefill = prefilled and isinstance(error, ProviderError) and error.type == "invalid_request"
            if ends_the_call(error) and not refused_prefill:
                return None
    return None


def others(call: Call, broken: ModelRef) -> list[CandidateTrace]:
    """The candidates beside *broken* that have not failed: not tried yet, or given up for a faster one."""
    return [one for one in call.trace.candidates if one.outcome in {"untried", "cut"} and one.target != broken]


def _where_it_broke(call: Call, broken: ModelRef) -> list[CandidateTrace]:
    same = [one for one in call.trace.candidates if one.target == broken]
    for one in same:
        if one.outcome == "answered":
            one.outcome, one.reason = "failed", "its stream broke"
    return same


async def _usable(
    call: Call, route: Route, entry: CandidateTrace, asked: LLMRequest, *, prefilled: bool
) -> Target | None:
    candidates = route.candidates
    if candidates.unavailable(entry.target) is not None:
        return None
    target = candidates.target_now(entry.target)
    if target is None:
        try:
            with call.guard:
                target = await candidates.target(entry.target)
        except LLMError as error:
            entry.outcome, entry.reason = "skipped", _reason(error)
            return None
    entry.target = target.ref
    if prefilled and target.facts.quirks.get("prefill") is not True:
        # Not a word to the trace entry: it may still be asked to begin again.
        return None
    call.request = prepared(asked, target, call).request
    found = unfit(call, target, candidates.least_time(target, call))
    if found is not None or target.handler is None:
        entry.outcome, entry.reason = "skipped", found.reason if found is not None else "no handler"
        return None
    return target


async def _attempt(call: Call, entry: CandidateTrace, target: Target, asked: LLMRequest, *, prefilled: bool) -> Reply:
    if target.handler is None:
        raise RuntimeError("a target without layers cannot be called")
    call.request = prepared(asked, target, call).request
    call.target = target.ref
    call.prefilled = prefilled
    try:
        reply = await target.handler(call)
    finally:
        call.prefilled, call.role = False, "first"
    entry.outcome, entry.reason = "answered", "took over the broken stream"
    return reply


def _more(entries: list[CandidateTrace], _: Call) -> bool:
    return any(entry.outcome == "untried" for entry in entries)


def _reason(error: LLMError) -> str:
    return error.message if isinstance(error, ProviderError) else str(error)
