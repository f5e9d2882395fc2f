"""Try the same target again, before the first output only, and write down every attempt.

The only owner of retries: neither providers nor transports repeat anything.
"""

import asyncio
from functools import partial

from core.llm.common.events import AttemptFailed
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.trace import AttemptDecision, AttemptTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.backoff import NEXT_KEY, judge
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.reasons import ends_the_call, reserved
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.service import RetryOptions


def retry(options: RetryOptions, max_retries: int, target: ModelRef, upstream: Upstream) -> Layer:
    """The layer that repeats failed attempts at *target* within *options* and the budget of *upstream*."""

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            retries, gates, turned_away, waited, again = 0, 0, 0, 0.0, False
            upstream.budget.deposit(call.clock.monotonic())
            while True:
                attempt = AttemptTrace(len(call.trace.attempts) + 1, target, call.elapsed(), waited=waited)
                attempt.role = "retry" if again else call.role
                call.trace.attempts.append(attempt)
                call.attempt = attempt
                call.attempts_left -= 1
                try:
                    reply = await inner(call)
                except ProviderError as error:
                    _record(attempt, error, call)
                    upstream.failed(error, call.clock.now(), call.clock.monotonic())
                    verdict = judge(
                        error,
                        options,
                        retries=retries,
                        free=call.free_repetition,
                        gates=turned_away if error.code == NEXT_KEY else gates,
                        max_retries=max_retries,
                        remaining=call.deadline.remaining(call.clock),
                        alternatives=_somebody_else(call, error),
                        rng=call.rng,
                        useful=_least_time(options, upstream, call),
                    )
                    costless = verdict.free or verdict.unsent
                    again = verdict.delay is not None and (costless or call.attempts_left > 0)
                    if again and not (costless or verdict.next_key):
                        again = upstream.budget.withdraw(call.clock.monotonic())
                    attempt.decision = "retry" if again else _given_up(call, error)
                    call.events.publish(AttemptFailed(call.id, attempt))
                    if not again or verdict.delay is None:
                        raise
                    waited = verdict.delay
                    if verdict.free:
                        call.free_repetition = False
                        call.attempts_left += 1
                    elif verdict.unsent:
                        gates += not verdict.next_key
                        turned_away += verdict.next_key
                        call.attempts_left += 1
                    elif not verdict.next_key:
                        retries += 1
                    if waited:
                        try:
                            with call.guard:
                                await call.clock.sleep(waited)
                        except BaseException:
                            if not (costless or verdict.next_key):
                                upstream.budget.give_back()
                            raise
                except LLMError as error:
                    attempt.duration = call.elapsed() - attempt.started
                    attempt.error_type, attempt.error = type(error).__name__, str(error)
                    attempt.decision = _given_up(call, error)
                    call.events.publish(AttemptFailed(call.id, attempt))
                    raise
                except asyncio.CancelledError:
                    attempt.duration = call.elapsed() - attempt.started
                    if attempt.decision != "cancelled":  # else it was still waiting for its turn
                        attempt.decision, attempt.billing = "cancelled", "ambiguous"
                    raise
                else:
                    if call.mode == "stream":
                        if attempt.time_to_first_token is None:
                            attempt.time_to_first_token = call.elapsed() - attempt.started - attempt.queued
                        reply.first_output_at = call.elapsed()
                    attempt.decision = "answered"
                    if retries:
                        upstream.budget.refund()
                    reply.on_end(partial(_close_attempt, call, attempt, upstream))
                    return reply

        return handle

    return layer


def _least_time(options: RetryOptions, upstream: Upstream, call: Call) -> float:
    """Seconds that another attempt needs to be of any use."""
    model = call.target.model if call.target is not None else ""
    typical = upstream.first_outputs.typical(model, call.clock.monotonic())
    return options.min_useful if typical is None else typical


def _given_up(call: Call, error: LLMError) -> AttemptDecision:
    return "raise" if ends_the_call(error, call) or not _somebody_else(call, error) else "next_candidate"


def _somebody_else(call: Call, error: LLMError) -> bool:
    return call.alternatives(call) or bool(reserved(error, call))


def _record(attempt: AttemptTrace, error: ProviderError, call: Call) -> None:
    attempt.duration = call.elapsed() - attempt.started
    attempt.status_code = error.status_code
    attempt.error_type = error.type
    attempt.error = error.message
    attempt.code = error.code
    attempt.retry_after = error.retry_after
    attempt.request_id = error.request_id
    attempt.billing = error.billing


def _close_attempt(
    call: Call, attempt: AttemptTrace, upstream: Upstream, reply: Reply, error: BaseException | None
) -> None:
    if isinstance(error, ProviderError):
        _record(attempt, error, call)
        upstream.failed(error, call.clock.now(), call.clock.monotonic())
        attempt.decision = reply.on_break
        call.events.publish(AttemptFailed(call.id, attempt))
        return
    attempt.duration = call.elapsed() - attempt.started
    if reply.outcome == "answered":
        upstream.succeeded(call.clock.now())
    elif reply.outcome == "cancelled":
        attempt.decision = "cancelled"
