"""A scripted handler behind a breaker."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from core.llm.common.events import EventBus
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.breaker import Breaker
from core.llm.pipeline.circuits import breaker
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.provider_breaker import ProviderBreaker
from core.llm.providers.base.response import StreamEvent, TextDelta
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, a_call

OTHER = ModelRef(ALPHA.provider, "other")


def opened(clock: FakeClock) -> ProviderBreaker:
    """A breaker that has just opened."""
    state = ProviderBreaker()
    for _ in range(Breaker.CONSECUTIVE):
        state.admit(clock.monotonic())
        state.failed(clock.monotonic(), random.Random(0), "call")
    assert state.state == "open"
    return state


def guarded(
    state: ProviderBreaker, inner: Handler, events: EventBus | None = None, target: ModelRef = ALPHA
) -> Handler:
    """*inner* behind *state*."""
    return breaker(state, target, events or EventBus())(inner)


async def fails(handler: Handler, clock: FakeClock) -> ProviderError:
    """What one call raises."""
    with pytest.raises(ProviderError) as caught:
        await handler(a_call(clock=clock))
    return caught.value


def a_stream(call: Call) -> Reply:
    """An answer that has begun, and whose end is not here yet."""
    return Reply(call, head=[TextDelta("begun")], tail=_endless())


async def _endless() -> AsyncIterator[StreamEvent]:
    await asyncio.get_running_loop().create_future()
    yield TextDelta("never")
