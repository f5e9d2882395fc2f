"""The call that finds out whether a refused key is accepted again, among all the others."""

import asyncio

import pytest

from core.llm import ProviderError
from core.llm.pipeline.key_states import QUARANTINE
from core.llm.testing import FakeClock
from tests.unit.llm.support import serving

pytestmark = pytest.mark.leakcheck


async def test_F18_it_waits_for_its_turn_like_any_other() -> None:
    """The key rests for everybody else meanwhile, and for the call that has it that is no reason to be sent away."""
    clock = FakeClock()
    one_at_a_time = {"api_key": "k", "models": ["m", "n"], "rate_limits": {"max_concurrency": 1}}
    async with serving(clock=clock, timeout="5m", providers={"alpha": one_at_a_time}) as world:
        world.alpha.will_raise(ProviderError("permission", "not for m", status_code=403, retryable=False))
        with pytest.raises(ProviderError, match="not for m"):
            await world.service.generate("hi", model="alpha/m")
        await clock.advance(QUARANTINE)
        gate = world.alpha.will_hold("n is slow")
        slow = asyncio.create_task(world.service.generate("hi", model="alpha/n"))
        await clock.settle()
        world.alpha.will_answer("m again")
        trial = asyncio.create_task(world.service.generate("hi", model="alpha/m"))
        await clock.advance(1.0)
        assert not trial.done()
        gate.open()
        assert (await slow).content == "n is slow"
        assert (await trial).content == "m again"
