"""The prompt tokens of a request: the provider counts them where it can, else they are estimated with a bound."""

from typing import TYPE_CHECKING

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.pipeline.backoff import FREE
from core.llm.pipeline.defects import own_error
from core.llm.pipeline.handler import Call, raise_alone
from core.llm.pipeline.keys import KeyPool
from core.llm.pipeline.target import Target
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.provider import TokenCounter
from core.llm.routing.tokens import estimate_request
from core.llm.status import TokenCount

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime


async def count_at(runtime: "Runtime", target: Target, call: Call) -> TokenCount:
    """Prompt tokens of *call* at *target*.

    What fails without saying anything about the request, such as an endpoint that is not there, makes an estimate of
    it. It is not held against the provider either: counting has limits of its own.

    Raises:
        ProviderError: the provider refuses the request itself, or the call was cut.
    """
    upstream = runtime.state.upstream(target.ref.provider)
    provider = target.provider
    note = ""
    if isinstance(provider, TokenCounter):
        try:
            tokens = await _asked(runtime, target, provider, upstream, call)
        except UnsupportedFeature as error:
            note = str(error)
        except ProviderError as error:
            if error.type == "cancelled" or (error.scope == "request" and error.code != "provider_defect"):
                raise
            note = f"not counted by the provider: {error}"
        else:
            return TokenCount(tokens, False, tokens, tokens, "provider")
    found = upstream.tokens.estimate(target.ref.model, call.request)
    if found is not None:
        return TokenCount(found.tokens, True, found.low, found.high, "calibrated", note)
    return estimated(call, note)


def estimated(call: Call, note: str = "") -> TokenCount:
    """What the text of *call* says, whatever the model."""
    found = estimate_request(call.request)
    return TokenCount(found.tokens, True, found.low, found.high, "estimate", note)


async def _asked(runtime: "Runtime", target: Target, counter: TokenCounter, upstream: Upstream, call: Call) -> int:
    if upstream.breaker.rests(call.clock.monotonic()):
        raise ProviderError("overloaded", "not asked: the provider has kept failing", code="circuit_open").at(
            target.ref.provider, target.ref.model
        )
    state = runtime.state
    pool = KeyPool(target.config, upstream.keys, target.ref, state.clock, state.events)
    try:
        return await _once(target, counter, pool, call)
    except ProviderError as error:
        if error.code not in FREE:
            raise
    # The connection had been closed while nobody used it, which says nothing about the server.
    return await _once(target, counter, pool, call)


async def _once(target: Target, counter: TokenCounter, pool: KeyPool, call: Call) -> int:
    resident = target.resident
    if resident is not None:
        with call.guard:
            await resident.keeper.acquire(resident, until=call.deadline.at)
    try:
        return await _counted(target, counter, pool, call)
    finally:
        if resident is not None:
            resident.keeper.release(resident)


async def _counted(target: Target, counter: TokenCounter, pool: KeyPool, call: Call) -> int:
    key, _ = pool.pick()
    with call.guard:
        try:
            return await counter.count_tokens(target.chat_request(call, key))
        except Exception as error:  # noqa: BLE001 - nothing foreign crosses the public interface
            raise_alone(own_error(error, target.ref))
