"""Many calls behind a key that was told to rest: overload makes them slower, never wrong."""

import asyncio

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from tests.unit.llm.support import serving


@pytest.mark.parametrize("refusals", [1, 3])
async def test_calls_that_wait_for_a_key_use_up_no_retries(refusals: int) -> None:
    """Nothing was sent for them, so neither the retries of a call nor the budget of the provider can run out."""
    async with serving("alpha", clock=FakeClock(auto_advance=True), retries=1) as world:
        for _ in range(refusals):
            world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=1.0, status_code=429))
        calls = [asyncio.create_task(world.service.generate(f"say {number}", timeout=60)) for number in range(60)]
        answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        assert len(failed) <= refusals // 2, failed  # one call may meet more refusals of its own than it has retries
        assert len(world.alpha.requests) <= 60 + refusals


async def test_a_call_does_not_wait_for_a_key_past_its_deadline() -> None:
    """It says at once that the key comes back too late."""
    async with serving("alpha", clock=FakeClock(auto_advance=True), retries=1) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=10.0, status_code=429))
        with pytest.raises(ProviderError, match="slow down"):
            await world.service.generate("one", timeout=5)
        with pytest.raises(ProviderError, match="asked to wait"):
            await world.service.generate("two", timeout=5)
        assert len(world.alpha.requests) == 1
