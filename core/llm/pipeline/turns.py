"""Wait for one's turn at the limits of a provider, or say at once why that would be of no use."""

import asyncio
import math
from functools import partial

from core.llm.common.decisions import CallQueued, CallRefused, CallSpilled
from core.llm.common.exceptions import ProviderError, RateLimited
from core.llm.limiting.dimension import Amounts, Dimension
from core.llm.limiting.queue import Lane, Reservation
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.handler import Call, raise_alone
from core.llm.pipeline.key_states import KeyState
from core.llm.pipeline.target import Target
from core.llm.pipeline.upstream import Upstream


class Turns:
    """The queue as the calls to one target see it."""

    __slots__ = ("_max_wait", "_places", "_ref", "_upstream")

    def __init__(self, target: Target, upstream: Upstream) -> None:
        self._ref = target.ref
        self._upstream = upstream
        self._places = target.config.rate_limits.queue
        self._max_wait = target.config.rate_limits.max_wait

    async def wait(self, call: Call, lane: Lane, wants: Amounts, now: float) -> Reservation:
        """Return once *wants* has been reserved for *call*; nothing is reserved where it raises.

        Raises:
            RateLimited: the wait would be too long, or nobody may wait any more.
            ProviderError: the provider, or the key, must be left alone; the deadline has passed, or the call was cut.
        """
        useless = self._turned_away(call, lane, wants)
        if useless is not None:
            raise useless
        patient = not call.alternatives(call)
        found = self._out_of_reach(call, lane, wants, now, patient=patient)
        if found is not None:
            raise self._refused(call, *found)
        expected, limit = lane.longest(wants, now)
        state, clock = self._upstream.limits, call.clock
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = state.queue.add(lane, wants, partial(_wake, woken))
        patience = None
        try:
            state.advance(clock)
            if not woken.done():
                if call.events.wants(CallQueued):
                    call.events.publish(CallQueued(call.id, self._ref, limit.name, expected))
                if not patient:
                    patience = clock.call_at(now + self._max_wait, partial(_wake, woken))
                with call.guard:
                    await woken
                if state.queue.holds(waiter) and not call.alternatives(call):
                    # It would go elsewhere now, and there is nobody left to go to.
                    woken = asyncio.get_running_loop().create_future()
                    waiter.wake = partial(_wake, woken)
                    with call.guard:
                        await woken
            if waiter.reservation is None:
                state.queue.remove(waiter)
                raise self._turned_away(call, lane, wants) or self._impatient(call, lane, wants, now)
            return waiter.reservation
        except BaseException as error:
            state.queue.remove(waiter)
            if waiter.reservation is not None:
                waiter.reservation.cancel(clock.monotonic())
            state.advance(clock)
            if isinstance(error, ProviderError):
                error.billing = "none"
                if error.code == "deadline_exceeded":
                    raise_alone(self._too_late(limit))
            elif isinstance(error, asyncio.CancelledError) and call.attempt is not None:
                call.attempt.decision = "cancelled"
            raise
        finally:
            if patience is not None:
                patience.cancel()
            if call.attempt is not None:
                call.attempt.queued += clock.monotonic() - now

    def in_vain(self, key: KeyState, now: float) -> bool:
        """Whether nothing would be sent with *key* now, whoever's turn it is."""
        return key.turns_away(now) or self._upstream.breaker.refuses(self._ref.model, now)

    def outlook(self, call: Call, lane: Lane, wants: Amounts, now: float, *, patient: bool, later: float) -> str | None:
        """Why *call* would not wait for its turn once *later* seconds have passed; `None` where it would."""
        found = self._out_of_reach(call, lane, wants, now, patient=patient)
        if found is None or (found[2] is not None and found[2] <= later):
            return None
        return f"{self._name(found[1])}: {found[0]}"

    def _out_of_reach(
        self, call: Call, lane: Lane, wants: Amounts, now: float, *, patient: bool
    ) -> tuple[str, Dimension, float | None] | None:
        """Why *call* does not wait, for which limit, and how long it would; `None` where it does.

        It is *patient* where nobody else is left.
        """
        large = lane.too_much(wants)
        if large is not None:
            need = f"the call may need {wants[large.measure]:.0f}, more than there ever is"
            return f"{need}. Lower max_tokens, shorten the prompt, or raise the limit", large, None
        expected, limit = lane.longest(wants, now)
        waiting = self._upstream.limits.queue.length
        if waiting >= self._places:
            return f"{waiting} calls wait already. Raise rate_limits.queue", limit, expected
        if expected > call.deadline.remaining(call.clock):
            return f"it would be sent in {expected:.1f} s, after the deadline of the call", limit, expected
        if expected > self._max_wait and not patient:
            return f"it would wait {expected:.1f} s, and another candidate is left", limit, expected
        return None

    def _turned_away(self, call: Call, lane: Lane, wants: Amounts) -> RateLimited | ProviderError | None:
        """Why it is of no use to wait, however long; `None` where it is of use."""
        now = call.clock.monotonic()
        provider, model = self._ref
        key, breaker = self._upstream.keys.of(call.api_key).at(model), self._upstream.breaker
        if key.turns_away(now):
            # Nothing new about the key: whoever chose it chooses again, and says so where all of them rest.
            return ProviderError(
                "rate_limit",
                f"not sent: {key.reason}",
                code=NEXT_KEY,
                scope="request",
                provider=provider,
                model=model,
            )
        if breaker.refuses(model, now):
            return ProviderError(
                "overloaded",
                "not sent: the provider began to fail while the call waited for its turn",
                code="circuit_open",
                retryable=False,
                retry_after=round(breaker.wait_for(model, now), 3) or None,
                provider=provider,
                model=model,
            )
        if lane.too_much(wants) is not None:
            found = self._out_of_reach(call, lane, wants, now, patient=True)
            return None if found is None else self._refused(call, *found)
        return None

    def _impatient(self, call: Call, lane: Lane, wants: Amounts, since: float) -> RateLimited:
        now = call.clock.monotonic()
        expected, limit = lane.longest(wants, now)
        return self._refused(call, f"it has waited {now - since:.1f} s, and another candidate is left", limit, expected)

    def _too_late(self, limit: Dimension) -> ProviderError:
        return ProviderError(
            "timeout",
            f"the deadline of the call passed while it waited for {self._name(limit)}. Raise `timeout`, or the limit",
            code="deadline_exceeded",
            retryable=False,
            provider=self._ref.provider,
            model=self._ref.model,
        )

    def _refused(self, call: Call, why: str, limit: Dimension, expected: float | None) -> RateLimited:
        """The refusal; an event tells whether the call goes elsewhere or ends with it."""
        text = f"not sent because of {self._name(limit)}: {why}"
        if call.alternatives(call):
            wait = math.inf if expected is None else expected
            call.events.publish(CallSpilled(call.id, self._ref, limit.name, wait))
        else:
            call.events.publish(CallRefused(call.id, text))
        return RateLimited(text, retry_after=expected)

    def _name(self, limit: Dimension) -> str:
        return f"{limit.name} ({limit.limit:g}) of {self._ref.provider}"


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
