"""The order of the layers, seen from outside."""

from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.breaker import Breaker
from core.llm.pipeline.build import build_target_handler
from core.llm.pipeline.handler import Call, Handler, Layer, Reply, compose
from core.llm.pipeline.target import Target
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.testing import FakeClock, ScriptedProvider
from tests.unit.pipeline.support import Scripted, a_call, a_provider, a_target, an_error, answered


class Rig:
    """All layers around one target of a scripted provider."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock(auto_advance=True)
        self.provider: ScriptedProvider = a_provider(clock=self.clock)
        self.upstream = Upstream(self.clock.monotonic())
        self.target: Target = a_target(self.provider, **options)
        config = LLMServiceConfig.model_validate({"retry": {"initial_delay": "10ms"}})
        self.handler: Handler = build_target_handler(
            config, self.target, self.upstream, self.clock, EventBus(), UsageLedger()
        )

    def call(self) -> Call:
        return a_call(clock=self.clock)


async def test_layers_are_listed_outside_in() -> None:
    """The first of the list sees the call first and the end last."""
    seen: list[str] = []

    def layer(name: str) -> Layer:
        def wrap(inner: Handler) -> Handler:
            async def handle(call: Call) -> Reply:
                seen.append(name)
                reply = await inner(call)
                reply.on_end(lambda _, __: seen.append(f"{name} ended"))
                return reply

            return handle

        return wrap

    await answered(compose([layer("outer"), layer("inner")], Scripted()), a_call())
    assert seen == ["outer", "inner", "inner ended", "outer ended"]


async def test_each_retry_gets_a_key_of_its_own() -> None:
    """Retry is outside of the keys: after a refused key the same call goes on with the next one."""
    rig = Rig(api_keys=["bad", "good"], max_retries=1)
    rig.provider.will_raise(an_error("authentication"))
    call = rig.call()
    await answered(rig.handler, call)
    used = [request.api_key for request in rig.provider.requests]
    assert sorted(map(str, used)) == ["bad", "good"]
    ids = [attempt.key_id for attempt in call.trace.attempts]
    assert len(set(ids)) == 2
    assert not {"bad", "good"} & set(ids)


async def test_a_resting_key_leaves_the_breaker_alone() -> None:
    """Keys are outside of the breaker: waiting for a rate limit is no failure of the provider."""
    rig = Rig(max_retries=0)
    rig.provider.will_raise(an_error("rate_limit", retry_after=600.0))
    for _ in range(Breaker.CONSECUTIVE + 2):
        with pytest.raises(ProviderError):
            await rig.handler(rig.call())
    assert rig.upstream.breaker.state == "closed"
    assert len(rig.provider.requests) == 1


async def test_retries_stop_at_an_open_breaker() -> None:
    """The breaker is asked before every single attempt, and its refusal is not retried."""
    rig = Rig(max_retries=10)
    for _ in range(20):
        rig.provider.will_raise(an_error())
    with pytest.raises(ProviderError) as caught:
        await rig.handler(rig.call())
    assert caught.value.code == "circuit_open"
    assert len(rig.provider.requests) == Breaker.CONSECUTIVE


async def test_an_empty_key_is_no_key() -> None:
    """`${KEY:-}` that is not set is not sent as an empty bearer token."""
    rig = Rig(api_key="")
    await answered(rig.handler, rig.call())
    assert rig.provider.requests[0].api_key is None


@pytest.mark.parametrize(("own", "attempts"), [(None, 3), (0, 1), (1, 2)])
async def test_a_provider_may_set_its_own_number_of_retries(own: int | None, attempts: int) -> None:
    """`providers.x.max_retries` wins over `retry.max_retries`."""
    rig = Rig(**({} if own is None else {"max_retries": own}))
    for _ in range(5):
        rig.provider.will_raise(an_error())
    with pytest.raises(ProviderError):
        await rig.handler(rig.call())
    assert len(rig.provider.requests) == attempts
