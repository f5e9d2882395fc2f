"""Measure the calls to one model for routing: how many are there, how long they take, how many fail."""

from functools import partial

from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.upstream import NOT_SENT
from core.llm.routing.traffic import Traffic


def observe(traffic: Traffic | None) -> Layer:
    """The layer that tells *traffic* about every attempt; none at all where nobody asks for measurements.

    What was cancelled says nothing about the model, however long it took. Time in the queue of a limit is no time of
    the model, but who waits there is under way to it.
    """
    if traffic is None:
        return _unobserved

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            started = call.clock.monotonic()
            traffic.in_flight += 1
            try:
                reply = await inner(call)
            except BaseException as error:
                traffic.in_flight -= 1
                _learn_failure(call, error)
                raise
            if call.mode == "stream":
                now = call.clock.monotonic()
                traffic.began(now - started - _queued(call), now)
            reply.on_end(partial(over, call, started))
            return reply

        def over(call: Call, started: float, reply: Reply, error: BaseException | None) -> None:
            traffic.in_flight -= 1
            if reply.outcome == "answered":
                now = call.clock.monotonic()
                traffic.answered(now - started - _queued(call), now)
            else:
                _learn_failure(call, error)

        def _learn_failure(call: Call, error: BaseException | None) -> None:
            if isinstance(error, ProviderError) and error.scope != "request" and error.code not in NOT_SENT:
                traffic.failed(call.clock.monotonic())

        return handle

    return layer


def _unobserved(inner: Handler) -> Handler:
    return inner


def _queued(call: Call) -> float:
    return 0.0 if call.attempt is None else call.attempt.queued
