"""Scripted providers behind a cache and a single flight, for the tests of both."""

from typing import Any

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.clock import Clock
from core.llm.common.types import Usage
from core.llm.pipeline.answer_store import MemoryStore
from core.llm.pipeline.cache import from_cache, into_cache
from core.llm.pipeline.handler import Call, Handler, compose
from core.llm.pipeline.ledger import ledger
from core.llm.pipeline.retry import retry
from core.llm.pipeline.single_flight import SingleFlight, single_flight
from core.llm.pipeline.structured import structured
from core.llm.pipeline.terminal import terminal
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.response import LLMResponse, StreamEvent
from core.llm.providers.config.models.service import LLMServiceConfig, RetryOptions
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, a_call, a_provider, a_target

USAGE = Usage(100, output=50)


class Caching:
    """One scripted provider, its attempts, and the layers in front of it."""

    def __init__(self, clock: Clock | None = None, **options: Any) -> None:
        self.clock = clock or FakeClock()
        self.config = LLMServiceConfig.model_validate({"cache": {"enabled": True, **options}})
        self.store = MemoryStore()
        self.provider = a_provider(clock=self.clock)
        price = {"m": {"price": {"input": "1", "output": "2"}}}
        self.target = a_target(self.provider, models=price)
        attempts = [
            structured(self.target),
            retry(RetryOptions(), 0, ALPHA, Upstream(self.clock.monotonic())),
            ledger(UsageLedger(), self.target, "USD", TokenCalibration()),
        ]
        self.flights: SingleFlight = single_flight("USD")
        self.upstream: Handler = compose(attempts, terminal(self.target))
        looks, keeps = from_cache(self.config, self.store), into_cache(self.config, self.store)
        self.cached: Handler = compose([looks, keeps], self.upstream)
        self.shared: Handler = compose([looks, self.flights, keeps], self.upstream)

    @property
    def sent(self) -> int:
        """Requests that reached the provider."""
        return len(self.provider.requests)

    def call(self, mode: Any = "generate", **options: Any) -> Call:
        """A call on the clock of this test."""
        return a_call(mode, clock=self.clock, **options)


async def read(handler: Handler, call: Call) -> tuple[LLMResponse, list[StreamEvent]]:
    """The whole answer, streamed or not, and its events, as the service reads it."""
    reply = await handler(call)
    events: list[StreamEvent] = []
    try:
        if call.mode == "stream":
            while (event := await reply.next()) is not None:
                events.append(event)
            reply.response = reply.collector.response()
    except BaseException as error:
        await reply.end("failed", error)
        raise
    await reply.end("answered")
    assert reply.response is not None
    return reply.response, events
