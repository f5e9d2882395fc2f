"""Keep what is sent within the quotas of a provider, and send fewer calls at once while it is overloaded.

A call reserves all that it may need before it is sent; what it did not need is given back when it has ended. One
that cannot be sent now waits for its turn, goes to the next candidate, or is refused: the time it would wait decides.
"""

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from typing import Final

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.limiting.dimension import ONE_REQUEST, Amounts
from core.llm.limiting.headers import HeaderReader
from core.llm.limiting.learning import believe
from core.llm.limiting.queue import Lane, Reservation
from core.llm.limiting.upstream import is_limited
from core.llm.pipeline.demand import Demand, after, amounts_of, needed
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.keys import KeyPool
from core.llm.pipeline.target import Target
from core.llm.pipeline.turns import Turns
from core.llm.pipeline.upstream import Upstream

_OVERLOAD: Final = frozenset({"overloaded", "timeout"})
_NOT_ITS_LOAD: Final = frozenset({"deadline_exceeded", "pool_exhausted", "circuit_open", "gated"})
"""Codes of what was ended by our own limits, or never sent."""


def limits(target: Target, upstream: Upstream, events: EventBus, pool: KeyPool | None = None) -> Layer:
    """The layer before the attempts at *target*; nothing at all where nothing is limited and nothing can be learnt.

    Whether a call would wait for its turn, with the key that *pool* would lend it, `target.crowded` says from then on.
    """
    options = target.config.rate_limits
    entry = target.config.models.get(target.ref.model)
    own = entry.rate_limits if entry is not None else None
    local = target.provider.fixed_slots
    adaptive = options.adaptive_concurrency and not local
    reads_headers = options.headers != "ignore" and not local
    most = target.config.max_connections
    state = upstream.limits
    reader = HeaderReader()
    demand = Demand(target, upstream.tokens)
    turns = Turns(target, upstream)
    lanes: dict[str | None, Lane] = {}

    def layer(inner: Handler) -> Handler:
        if not (adaptive or reads_headers or is_limited(options) or is_limited(own)):
            return inner
        target.crowded = crowded

        async def handle(call: Call) -> Reply:
            now = call.clock.monotonic()
            key = call.attempt.key_id if call.attempt is not None else None
            lane = lanes.get(key) or lane_of(call.api_key, key, now)
            wants = demand.of(call) if lane.counts_tokens else ONE_REQUEST
            reservation = lane.reserve(wants, now) if not state.queue.length or lane.is_undisturbed() else None
            if reservation is None:
                reservation = await turns.wait(call, lane, wants, now)
            try:
                reply = await inner(call)
            except BaseException as error:
                failed(call, reservation, after(error), error)
                raise
            reply.on_end(partial(over, call, reservation))
            if reads_headers and reply.headers is not None:
                hear(reply.headers, lane, key or "", reservation, call.clock.monotonic())
            return reply

        def over(call: Call, reservation: Reservation, reply: Reply, error: BaseException | None) -> None:
            if reply.outcome != "answered":
                failed(call, reservation, None, error)
                return
            now = call.clock.monotonic()
            slots = state.adaptive
            if slots.limit != math.inf:
                slots.answered(now, most)
            usage = needed(reply) if len(reservation.dimensions) > 1 else None
            if usage is not None:
                demand.learn(call, usage)
            reservation.settle(None if usage is None else amounts_of(usage), now)
            if state.queue.length:
                state.advance(call.clock)
            if state.announced and slots.limit == math.inf:
                state.announced = False
                events.publish(ProviderStateChanged(target.ref.provider, "unthrottled", "it carries its load again"))

        return handle

    def crowded(call: Call, patient: bool, later: float) -> str | None:
        secret, of_key = (None, None) if pool is None else pool.peek()
        now, key = call.clock.monotonic(), None if secret is None or of_key is None else of_key.id
        lane = lanes.get(key) or lane_of(secret, key, now)
        wants = demand.of(call) if lane.counts_tokens else ONE_REQUEST
        if lane.has_room(wants, now) and (not state.queue.length or lane.is_undisturbed()):
            return None
        return turns.outlook(call, lane, wants, now, patient=patient, later=later)

    def lane_of(secret: str | None, key: str | None, now: float) -> Lane:
        rests = partial(turns.in_vain, upstream.keys.of(secret).at(target.ref.model))
        lane = lanes[key] = Lane(state.dimensions((key or "", target.ref.model), options, own, now), rests)
        return lane

    def failed(call: Call, reservation: Reservation, used: Amounts | None, error: BaseException | None) -> None:
        now = call.clock.monotonic()
        if adaptive and _tells_of_overload(error) and state.adaptive.overloaded(now) and not state.announced:
            state.announced = True
            reason = f"at most {state.adaptive.limit:.0f} calls at a time: {error}"
            events.publish(ProviderStateChanged(target.ref.provider, "throttled", reason))
        reservation.settle(used, now)
        if state.queue.length:
            # A moment later: by then it is known whether the key, or the whole provider, has to rest.
            asyncio.get_running_loop().call_soon(state.advance, call.clock)

    def hear(headers: Mapping[str, str], lane: Lane, key: str, sent: Reservation, now: float) -> None:
        scope = key, target.ref.model
        if believe(headers, reader, options.headers, state, scope, sent, now):
            lane.use(state.dimensions(scope, options, own, now))

    return layer


def _tells_of_overload(error: BaseException | None) -> bool:
    """Whether fewer calls at once would have helped. A provider that says when to come back is obeyed by the key."""
    if not isinstance(error, ProviderError) or error.code in _NOT_ITS_LOAD:
        return False
    if error.type == "rate_limit":
        return error.retry_after is None
    return error.type in _OVERLOAD or error.status_code == 503
