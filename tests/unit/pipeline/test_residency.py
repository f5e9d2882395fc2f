"""The layer that holds a model in memory for as long as an attempt uses it."""

import asyncio
import random

import pytest

from core.llm.common.clock import Deadline
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ModelNotReady, ProviderError, UnsupportedFeature
from core.llm.common.messages import TextPart
from core.llm.common.types import FinishReason, ModelRef
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.residency import held_up, residency
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import LLMResponse
from core.llm.providers.config.models.provider import ProviderConfig
from tests.unit.residency.support import House


class Desk:
    """One target with the layer around an inner handler that a test steers."""

    def __init__(self, house: House, **options) -> None:
        self.house = house
        house.configure(**options)
        self.target = Target(ModelRef("local", "a"), house.host, ProviderConfig(), resident=house["a"])
        self.error: BaseException | None = None
        self.leases_inside: list[int] = []
        self.handler = residency(house.options, self.target)(self._inner)

    async def _inner(self, call: Call) -> Reply:
        self.leases_inside.append(self.house["a"].leases)
        if self.error is not None:
            raise self.error
        return Reply(call, response=LLMResponse((TextPart("hello"),), FinishReason("stop", "stop")))

    def call(self, seconds: float = 60.0, **fields) -> Call:
        clock = self.house.clock
        call = Call(
            LLMRequest(messages="hi", **fields), "generate", id="1", generation=1,
            deadline=Deadline(clock.monotonic() + seconds), clock=clock, rng=random.Random(1), events=EventBus(),
        )  # fmt: skip
        call.guard.arm(call.deadline.at)
        return call


async def test_where_no_memory_is_managed_there_is_no_layer():
    """The inner handler itself comes back."""
    desk = Desk(House())
    assert (
        residency(desk.house.options, Target(ModelRef("far", "m"), desk.house.host, ProviderConfig()))(desk._inner)
        == desk._inner
    )


async def test_a_lease_lasts_from_before_the_attempt_to_the_end_of_the_reply_ML03():
    """A streamed answer keeps the model in memory for as long as it is read."""
    desk = Desk(House())
    await desk.house.loaded("a")
    reply = await desk.handler(desk.call())
    assert (desk.leases_inside, desk.house["a"].leases) == ([1], 1)
    await reply.end("answered")
    assert desk.house["a"].leases == 0


@pytest.mark.parametrize("error", [ProviderError("server_error", "no"), asyncio.CancelledError()])
async def test_a_failed_or_cancelled_attempt_gives_its_lease_back(error):
    """Whatever ended it."""
    desk = Desk(House())
    await desk.house.loaded("a")
    desk.error = error
    with pytest.raises(type(error)):
        await desk.handler(desk.call())
    assert desk.house["a"].leases == 0


async def test_a_cold_model_is_loaded_first_and_the_wait_is_written_down():
    """The attempt says how long it was held back."""
    from core.llm.common.trace import AttemptTrace

    desk = Desk(House())
    call = desk.call()
    call.attempt = AttemptTrace(1, desk.target.ref, 0.0)
    task = asyncio.ensure_future(desk.handler(call))
    await desk.house.after(1.0)
    await (await task).end("answered")
    assert call.attempt.queued == 1.0


async def test_a_call_whose_deadline_passes_while_the_model_loads_leaves_the_load_to_others_ML10():
    """It fails as any call whose time is up."""
    desk = Desk(House())
    task = asyncio.ensure_future(desk.handler(desk.call(seconds=0.5)))
    await desk.house.after(0.6)
    with pytest.raises(ProviderError) as caught:
        await task
    assert caught.value.code == "deadline_exceeded"
    await desk.house.after(0.5)
    assert desk.house.ready == {"a"}
    assert desk.house["a"].leases == 0


async def test_a_caller_who_leaves_while_the_model_loads_calls_the_load_off_ML10():
    """Nobody else wanted it."""
    desk = Desk(House())
    task = asyncio.ensure_future(desk.handler(desk.call()))
    await desk.house.after(0.5)
    task.cancel()
    await desk.house.after(0.1)
    assert task.cancelled()
    assert desk.house.host.cancelled == {"a": 1}


async def test_prefer_loaded_passes_a_call_on_only_where_somebody_else_can_take_it_ML17():
    """And loads in the background."""
    desk = Desk(House(), prefer_loaded=True)
    call = desk.call()
    call.alternatives = lambda _: True
    with pytest.raises(ModelNotReady, match="is being loaded"):
        await desk.handler(call)
    await desk.house.after(1.0)
    assert desk.house.ready == {"a"}
    assert (await desk.handler(call)).response is not None


async def test_what_would_hold_a_call_up_is_known_before_G04():
    """As the layer then does it: for `explain`."""
    desk = Desk(House(), prefer_loaded=True)
    assert "being loaded" in (held_up(desk.house.options, desk.target, desk.call(), others=True) or "")
    assert held_up(desk.house.options, desk.target, desk.call(), others=False) is None
    await desk.house.loaded("a")
    assert held_up(desk.house.options, desk.target, desk.call(), others=True) is None
    far = Target(ModelRef("far", "m"), desk.house.host, ProviderConfig())
    assert held_up(desk.house.options, far, desk.call(), others=True) is None


@pytest.mark.parametrize(
    ("policy", "error"), [("refuse", ProviderError), ("reroute", UnsupportedFeature), ("drop", None)]
)
async def test_a_call_with_load_options_of_its_own_is_treated_by_the_policy_ML19(policy, error):
    """Before it costs a load, and only where the option differs."""
    house = House()
    house.host.reload_reason = lambda model, extra: f"num_ctx {extra['num_ctx']}" if extra["num_ctx"] != 512 else None
    desk = Desk(house, on_other_load_options=policy)
    await house.loaded("a")
    same = await desk.handler(desk.call(extra={"local": {"num_ctx": 512}}))
    await same.end("answered")
    other = desk.call(extra={"local": {"num_ctx": 64}})
    if error is None:
        await (await desk.handler(other)).end("answered")
    else:
        with pytest.raises(error, match="num_ctx 64"):
            held_up(desk.house.options, desk.target, other, others=True)
        with pytest.raises(error, match="num_ctx 64"):
            await desk.handler(other)
    assert house["a"].leases == 0
