"""Where a request would go now and why, by the same looks that a call takes; nothing is sent."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.llm.common.clock import Deadline
from core.llm.common.exceptions import LLMError, ProviderError, RequestError
from core.llm.common.types import ModelRef
from core.llm.pipeline.backoff import judge
from core.llm.pipeline.candidates import Resting
from core.llm.pipeline.handler import Call, Mode
from core.llm.pipeline.preflight import prepared, refused_parameters, unfit, with_defaults
from core.llm.pipeline.request_limits import bound, too_many_bytes
from core.llm.pipeline.residency import held_up
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.plan import Plan
from core.llm.status import ExplainedCandidate, Explanation

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime

_ANY: Final = random.Random(0)
"""Where only whether there is a wait counts, and not how long it is."""


def explain(runtime: "Runtime", request: LLMRequest, rng: random.Random, mode: Mode = "generate") -> Explanation:
    """Where *request* would go now, unless the cache has its answer."""
    plan = peek(runtime, request, rng, mode)
    call = _call(runtime, request, rng, mode)
    asked = with_defaults(request, plan.defaults) if plan.defaults else request
    places = [_look(runtime, call, ref, asked) for ref in map(runtime.completed, plan.candidates)]
    ready = [place for place in places if place.reason is None]
    ended = _pass_on(runtime, call, ready)
    waited_for = [] if ended else list(_waited_for(runtime, call, places))
    in_turn = [place for place in ready if place.reason is None] + waited_for
    if not in_turn and not ready:
        in_turn = _woken(runtime, call, places)
    first = in_turn[0] if in_turn else None
    candidates = [
        ExplainedCandidate(
            place.ref, "first" if place is first else "next" if place.reason is None else "skipped", place.said
        )
        for place in places
    ]
    return Explanation(request.model or "", plan.how, runtime.generation, tuple(candidates), plan.notes)


def peek(runtime: "Runtime", request: LLMRequest, rng: random.Random, mode: str = "generate") -> Plan:
    """The plan that the next call would get; nobody's turn is used up."""
    return runtime.router.plan(request, mode, rng, peek=True)


@dataclass(slots=True)
class _Place:
    """One candidate as it looks now."""

    ref: ModelRef
    target: Target | None = None
    request: LLMRequest | None = None
    """What would be sent to it."""
    rest: Resting | None = None
    reason: str | None = None
    """Why it would be passed over."""

    @property
    def said(self) -> str:
        """What there is to say about it."""
        return self.reason or ("" if self.rest is None else self.rest.reason)


def _look(runtime: "Runtime", call: Call, ref: ModelRef, asked: LLMRequest) -> _Place:
    """*ref* by itself, whatever the others do."""
    place = _Place(ref)
    place.reason = runtime.unavailable(ref)
    if place.reason is not None or not ref.model:
        return place
    target = place.target = runtime.known_target(ref)
    try:
        call.request = place.request = prepared(asked, target, call).request
        place.reason = _never_sent(runtime, call, target)
    except ProviderError as error:
        place.reason = str(error)  # a defect of the provider, which leads a call to the next one
    if place.reason is None:
        place.rest = runtime.resting(ref, call.clock.monotonic())
        if place.rest is not None:
            place.reason = place.rest.reason
    return place


def _never_sent(runtime: "Runtime", call: Call, target: Target) -> str | None:
    """Why the request must not go to *target*."""
    most = call.limits.max_input_bytes if call.limits is not None else None
    problem = None if most is None else too_many_bytes(call, most)
    if problem is not None:
        return problem
    found = unfit(call, target, runtime.least_time(target, call))
    if found is not None:
        return found.reason
    try:
        return refused_parameters(call, target) if call.mode != "embed" else None
    except RequestError as error:
        return str(error)


def _pass_on(runtime: "Runtime", call: Call, ready: Sequence[_Place]) -> bool:
    """Note who of *ready* would not take the call: for want of memory, or of room under the limits.

    `True` where the call would end at one of them, so that nobody after it is asked.
    """
    for number, place in enumerate(ready):
        if place.target is None:
            continue
        try:
            place.reason = _held_up(runtime, call, place.target, place, others=number + 1 < len(ready))
        except LLMError as error:
            place.reason = str(error)
            if isinstance(error, ProviderError):
                # The request itself is refused, which ends the call; what only leads elsewhere is no such error.
                for later in ready[number + 1 :]:
                    later.reason = f"the call ends at {place.ref}"
                return True
    return False


def _held_up(runtime: "Runtime", call: Call, target: Target, place: _Place, *, others: bool) -> str | None:
    later = 0.0 if place.rest is None or place.rest.broken else place.rest.wait
    call.request = place.request or call.request
    reason = held_up(runtime.config.residency, target, call, others=others)
    return reason if reason is not None or target.crowded is None else target.crowded(call, not others, later)


def _refused(runtime: "Runtime", call: Call, target: Target, place: _Place) -> str | None:
    """Why *call*, which has nobody else, would not be let in to *target*."""
    try:
        return _held_up(runtime, call, target, place, others=False)
    except LLMError as error:
        return str(error)


def _waited_for(runtime: "Runtime", call: Call, places: Sequence[_Place]) -> Iterator[_Place]:
    """Who asked to wait and would be waited for once nobody else is left, the shortest wait first."""
    resting = [(place.rest, place.target, place) for place in places if place.rest is not None]
    for rest, target, place in sorted(resting, key=lambda one: one[0].wait):
        if rest.broken or rest.final or target is None:
            continue
        verdict = judge(
            ProviderError("rate_limit", "not sent", code="gated", retry_after=rest.wait),
            runtime.config.retry,
            retries=0,
            free=False,
            max_retries=0,
            remaining=call.deadline.remaining(call.clock),
            alternatives=False,
            rng=_ANY,
            useful=runtime.least_time(target, call) or runtime.config.retry.min_useful,
        )
        if verdict.delay is not None:
            place.reason = _refused(runtime, call, target, place)
            if place.reason is None:
                yield place


def _woken(runtime: "Runtime", call: Call, places: Sequence[_Place]) -> list[_Place]:
    """Who kept failing and would be asked out of turn, because nobody else is left."""
    if len(places) == 1:
        return []
    rests = [(place.rest, place) for place in places if place.rest is not None]
    if any(not rest.broken and not rest.final for rest, _ in rests):
        return []
    now = call.clock.monotonic()
    for rest, place in sorted(rests, key=lambda one: one[0].wait):
        if rest.broken and place.target is not None and runtime.may_wake(place.ref, now):
            place.reason = _refused(runtime, call, place.target, place)
            return [place] if place.reason is None else []
    return []


def _call(runtime: "Runtime", request: LLMRequest, rng: random.Random, mode: Mode) -> Call:
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
