"""The layer that asks the breakers of a provider and of its model before each attempt, and tells them how it ended."""

import asyncio
from functools import partial

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.breaker import Admission, Breaker
from core.llm.pipeline.failure_scope import shows_life, suspect_of
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.late import limit_of
from core.llm.pipeline.provider_breaker import ProviderBreaker
from core.llm.providers.config.models.limits import SlowCallOptions


def breaker(
    provider: ProviderBreaker, target: ModelRef, events: EventBus, slow: SlowCallOptions | None = None
) -> Layer:
    """The layer before the attempts at *target*; *slow* says when its answers are late."""
    patience = None if slow is None or (slow.first_token is None and slow.answer is None) else slow
    models = provider.models
    name = str(target)

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            now = call.clock.monotonic()
            # Looked up each time: an edit of the configuration drops the breakers that know nothing.
            model = models.get(target.model) or provider.model(target.model)
            # Closed is how it nearly always is; no further function for it.
            admission = provider.admit(now) if provider.state == "closed" else admit(provider, target.provider, now)
            if admission is None:
                raise _refusal(provider, target, "the provider", now)
            narrow = model.admit(now) if model.state == "closed" else admit(model, name, now)
            if narrow is None:
                if not model.slow or call.alternatives(call):
                    provider.released(admission)
                    raise _refusal(model, target, "this model", now)
                narrow = model.beside()
            try:
                reply = await inner(call)
            except BaseException as error:
                if patience is not None and _was_given_up(error):
                    narrow = timed(call, patience, model, narrow, now, only_late=True)
                ended(call, model, admission, narrow, error)
                raise
            if patience is not None:
                narrow = timed(call, patience, model, narrow, now)
            if (admission == "probe" or narrow == "probe") and call.mode == "stream":
                admission, narrow = began(call, provider, target.provider, admission), began(call, model, name, narrow)
            reply.on_end(partial(over, call, model, admission, narrow))
            return reply

        def over(
            call: Call,
            model: Breaker,
            admission: Admission,
            narrow: Admission,
            reply: Reply,
            error: BaseException | None,
        ) -> None:
            if reply.outcome != "answered":
                ended(call, model, admission, narrow, error)
                return
            now = call.clock.monotonic()
            if provider.succeeded(now, admission):
                closed(target.provider)
            if model.succeeded(now, narrow):
                closed(name)

        def timed(
            call: Call,
            patience: SlowCallOptions,
            model: Breaker,
            narrow: Admission,
            since: float,
            *,
            only_late: bool = False,
        ) -> Admission:
            """Tell the model's breaker how long it took; how the attempt counts from now on."""
            limit, now = limit_of(patience, call.mode), call.clock.monotonic()
            if limit is None or (only_late and now - since <= limit):
                return narrow
            late = now - since > limit
            if model.timed(now, call.rng, narrow, patience, limit, late):
                events.publish(ProviderStateChanged(name, "open", f"too slow: {model.slow}", model.open_until - now))
            return "beside" if late and narrow == "probe" else narrow

        def began(call: Call, state: Breaker, subject: str, admission: Admission) -> Admission:
            """The first output of a stream says that who sends it is there; its end may be minutes away."""
            if admission != "probe":
                return admission
            if state.began(call.clock.monotonic()):
                closed(subject)
            return "beside"

        def closed(subject: str) -> None:
            events.publish(ProviderStateChanged(subject, "closed", "its probes were answered"))

        def ended(
            call: Call, model: Breaker, admission: Admission, narrow: Admission, error: BaseException | None
        ) -> None:
            suspect = suspect_of(error)
            now = call.clock.monotonic()
            if suspect == "model":
                provider.released(admission)
            elif suspect == "either":
                if provider.model_failed(target.model, now, call.rng, admission):
                    suspect = "provider"
                    opened(provider, target.provider, now, error)
            elif suspect == "provider":
                if provider.failed(now, call.rng, admission):
                    opened(provider, target.provider, now, error)
            else:
                let_go(provider, target.provider, now, admission, error)
            if suspect is None:
                let_go(model, name, now, narrow, error)
            elif suspect == "provider":
                # What the provider is blamed for is not held against the model as well.
                model.released(narrow)
            elif model.failed(now, call.rng, narrow):
                opened(model, name, now, error)

        def let_go(state: Breaker, subject: str, now: float, admission: Admission, error: BaseException | None) -> None:
            """An attempt is nobody's fault; one that was refused for its own sake shows that somebody is there."""
            if admission != "probe" or not shows_life(error):
                state.released(admission)
            elif state.succeeded(now, admission):
                closed(subject)

        def opened(state: Breaker, subject: str, now: float, error: BaseException | None) -> None:
            events.publish(ProviderStateChanged(subject, "open", str(error), state.open_until - now))

        return handle

    def admit(state: Breaker, subject: str, now: float) -> Admission | None:
        before = state.state
        admission = state.admit(now)
        if state.state != before:
            events.publish(ProviderStateChanged(subject, "half_open", "one call finds out whether it is back"))
        return admission

    return layer


def _was_given_up(error: BaseException) -> bool:
    """Whether the attempt ended because nobody waited any longer."""
    if isinstance(error, ProviderError):
        return error.code == "deadline_exceeded"
    return isinstance(error, asyncio.CancelledError)


def _refusal(state: Breaker, target: ModelRef, what: str, now: float) -> ProviderError:
    if state.state == "closed":
        text = f"not sent: {what} has just come back, and gets its load back in steps"
    elif state.slow:
        text = f"not sent: {what} is too slow ({state.slow}), so it is left alone for a while"
    else:
        text = f"not sent: {what} has kept failing, so it is left alone for a while"
    return ProviderError(
        "overloaded",
        text,
        code="circuit_open",
        retryable=False,
        retry_after=round(state.wait(now), 3) or None,
        provider=target.provider,
        model=target.model,
    )
