"""Where a request would go now and why, by the same looks that a call takes; nothing is sent."""

import math
import random
from dataclasses import replace

from core.llm.common.clock import Deadline
from core.llm.common.exceptions import RequestError
from core.llm.common.types import ModelRef
from core.llm.pipeline.candidates import Resting
from core.llm.pipeline.handler import Call, Mode
from core.llm.pipeline.preflight import prepared, refused_parameters, unfit, with_defaults
from core.llm.pipeline.request_limits import bound
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.plan import Plan
from core.llm.runtime.runtime import Runtime
from core.llm.status import ExplainedCandidate, Explanation


def explain(runtime: Runtime, request: LLMRequest, rng: random.Random, mode: Mode = "generate") -> Explanation:
    """Where *request* would go now."""
    plan = peek(runtime, request, rng, mode)
    call = _call(runtime, request, rng, mode)
    asked = with_defaults(request, plan.defaults) if plan.defaults else request
    candidates: list[ExplainedCandidate] = []
    rests: list[tuple[float, int]] = []
    for ref in map(runtime.completed, plan.candidates):
        reason = _reason(runtime, call, ref, asked)
        rest = runtime.resting(ref, call.clock.monotonic()) if reason is None else None
        if reason is None and rest is not None and not _matters(rest, len(plan.candidates)):
            rest = None
        if rest is not None:
            reason = rest.reason
            if not rest.broken:
                rests.append((rest.wait, len(candidates)))
        candidates.append(ExplainedCandidate(ref, "next" if reason is None else "skipped", reason or ""))
    first = next((index for index, one in enumerate(candidates) if one.verdict == "next"), None)
    for _, index in sorted(rests):
        # Whoever asked to wait is waited for once nobody else is left.
        candidates[index] = replace(candidates[index], verdict="next")
        first = index if first is None else first
    if first is not None:
        candidates[first] = replace(candidates[first], verdict="first")
    return Explanation(request.model or "", plan.how, runtime.generation, tuple(candidates), plan.notes)


def peek(runtime: Runtime, request: LLMRequest, rng: random.Random, mode: str = "generate") -> Plan:
    """The plan that the next call would get; nobody's turn is used up."""
    return runtime.router.plan(request, mode, rng, peek=True)


def _matters(rest: Resting, candidates: int) -> bool:
    """A single candidate that asked to wait is waited for."""
    return rest.broken or candidates > 1


def _reason(runtime: Runtime, call: Call, ref: ModelRef, asked: LLMRequest) -> str | None:
    """Why *ref* would be passed over, whatever the others do."""
    off = runtime.unavailable(ref)
    if off is not None or not ref.model:
        return off
    target = runtime.known_target(ref)
    call.request = prepared(asked, target, call).request
    found = unfit(call, target, runtime.least_time(target, call))
    if found is not None:
        return found.reason
    try:
        return refused_parameters(call, target) if call.mode != "embed" else None
    except RequestError as error:
        return str(error)


def _call(runtime: Runtime, request: LLMRequest, rng: random.Random, mode: Mode) -> Call:
    """A call that is never sent."""
    clock = runtime.state.clock
    seconds = request.timeout or runtime.config.timeout
    call = Call(
        request,
        mode,
        id="",
        generation=runtime.generation,
        deadline=Deadline(clock.monotonic() + seconds if seconds else math.inf),
        clock=clock,
        rng=rng,
        events=runtime.state.events,
    )
    bound(call, runtime.config)
    return call
