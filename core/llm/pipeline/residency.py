"""Hold a local model in memory for as long as an attempt uses it; load it first where it is not there.

Targets whose models are not ours to load have no such layer. Where the model is ready it costs a counter up and a
counter down.
"""

from typing import TYPE_CHECKING

from core.llm.common.exceptions import ModelNotReady, ProviderError, UnsupportedFeature
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.target import Target
from core.llm.providers.base.residency import LoadGuard

if TYPE_CHECKING:
    from core.llm.providers.config.models.residency import ResidencyOptions


def residency(options: "ResidencyOptions", target: Target) -> Layer:
    """The layer that takes a lease on the model of *target* for each attempt, until its reply has ended."""
    resident, ref = target.resident, target.ref
    guarded = isinstance(target.provider, LoadGuard) and options.on_other_load_options != "drop"

    def layer(inner: Handler) -> Handler:
        if resident is None:
            return inner
        keeper = resident.keeper

        async def handle(call: Call) -> Reply:
            if guarded and call.request.extra:
                _refuse_other_options(options, target, call)
            if not keeper.lease(resident):
                await wait(call)
            try:
                reply = await inner(call)
            except BaseException as error:
                keeper.release(resident)
                if isinstance(error, ProviderError) and error.type == "model_not_found":
                    keeper.suspect(resident)
                raise
            reply.on_end(release)
            return reply

        async def wait(call: Call) -> None:
            if options.prefer_loaded and call.alternatives(call):
                keeper.want(resident)
                raise ModelNotReady(f"{ref} is being loaded: another model answers meanwhile", model=str(ref))
            began = call.clock.monotonic()
            try:
                with call.guard:
                    await keeper.acquire(resident, until=call.deadline.at)
            except ProviderError as error:
                if error.code == "deadline_exceeded":
                    waited = "was being loaded" if resident.phase == "loading" else "waited to be loaded"
                    error.message = f"{error.message}; the local model {ref} {waited} until then"
                    error.args = (error.message,)
                raise
            finally:
                if call.attempt is not None:
                    call.attempt.queued += call.clock.monotonic() - began

        def release(_: Reply, __: BaseException | None) -> None:
            keeper.release(resident)

        return handle

    return layer


def held_up(options: "ResidencyOptions", target: Target, call: Call, *, others: bool) -> str | None:
    """Why *call* would not be let in to *target* now, given whether *others* are left; `None` where it would.

    Raises:
        UnsupportedFeature, ProviderError: it would have the model loaded anew.
    """
    resident = target.resident
    if resident is None:
        return None
    if options.on_other_load_options != "drop" and call.request.extra:
        _refuse_other_options(options, target, call)
    if others and options.prefer_loaded and resident.phase != "ready":
        return "it is being loaded: another model answers meanwhile"
    return None


def _refuse_other_options(options: "ResidencyOptions", target: Target, call: Call) -> None:
    """A call that would have the model loaded anew for itself goes no further, by the policy of *options*."""
    ref, guard = target.ref, target.provider
    extra = call.request.extra.get(ref.provider)
    if not extra or not isinstance(guard, LoadGuard):
        return
    reason = guard.reload_reason(ref.model, extra)
    if reason is None:
        return
    text = (
        f"{reason}, so {ref} would be loaded anew for this call: leave it out, set it for the model in the "
        "configuration, or see residency.on_other_load_options"
    )
    if options.on_other_load_options == "reroute":
        raise UnsupportedFeature(text)
    raise ProviderError(
        "invalid_request", text, code="load_options", retryable=False, provider=ref.provider, model=ref.model
    )
