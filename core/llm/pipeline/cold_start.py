"""Keep the load of a model out of the limit of its first output, where its server loads it with the first call.

For servers whose models are no business of ours (nothing stands under `residency`) and whose limit somebody has chosen:
the limit that such a provider has by itself is longer than loads are. A model that has answered a moment ago costs a
comparison. For one that has not, its server is asked, and told to load it where it is not in memory.
"""

import asyncio
from typing import Final

from core.llm.common.log import log
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.target import Target
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.provider import ModelHost
from core.llm.providers.base.residency import Lasting

_TRUSTED: Final = 30.0
"""Seconds after an answer in which the model is taken to be in memory still."""
_ASKED: Final = 5.0
"""Seconds that its server may take to say whether it is, at most; never longer than its first output may take."""
_THERE: Final = frozenset({"ready", "in_use"})


def cold_start(target: Target) -> list[Layer]:
    """The layer that has the model of *target* loaded before a stream begins; none where it is not needed."""
    host, model = target.provider, target.ref.model
    chosen = "first_token" in target.config.timeouts.model_fields_set
    if target.resident is not None or not chosen or not isinstance(host, ModelHost):
        return []
    if isinstance(host, Lasting) and host.stays_loaded(model):
        # Nobody would let it go again: without rules that is the business of the server.
        return []
    return [_layer(host, model, target.upstream, min(_ASKED, target.config.timeouts.first_token))]


def _layer(host: ModelHost, model: str, upstream: Upstream | None, patience: float) -> Layer:
    def layer(inner: Handler) -> Handler:
        trusted_until = 0.0

        async def handle(call: Call) -> Reply:
            began = call.clock.monotonic()
            if call.mode == "stream" and began >= trusted_until and not left_alone(began):
                try:
                    with call.guard:
                        await _have_loaded(host, model, patience)
                finally:
                    if call.attempt is not None:
                        call.attempt.queued += call.clock.monotonic() - began
            reply = await inner(call)
            reply.on_end(lambda _, error: answered(call, error))
            return reply

        def left_alone(now: float) -> bool:
            # A server that keeps failing is asked nothing, and its callers do not wait for what it does not say.
            return upstream is not None and upstream.breaker.refuses(model, now)

        def answered(call: Call, error: BaseException | None) -> None:
            nonlocal trusted_until
            if error is None:
                trusted_until = call.clock.monotonic() + _TRUSTED

        return handle

    return layer


async def _have_loaded(host: ModelHost, model: str, patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            there = (await host.model_status(model)).state in _THERE
        if not there:
            await host.load_model(model)
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the call itself finds out, and says it in its own words
        log("DEBUG", "nobody said whether {} is loaded: {}", model, type(error).__name__)
