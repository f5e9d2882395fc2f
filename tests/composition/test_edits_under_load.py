"""Edits of the configuration while calls run with many features at once."""

import asyncio
from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import LLMError, ProviderError, RateLimited
from core.llm.testing import FakeClock
from tests.composition.everything import left_behind
from tests.unit.llm.support import World, serving, settings

LIMITED: dict[str, Any] = {"rate_limits": {"requests_per_minute": 6, "max_concurrency": 1}}


async def take_out_and_put_back(world: World, **alpha: Any) -> None:
    """The provider alpha vanishes from the configuration, and comes back."""
    without = settings({"beta": world.scripts["beta"]}, default_model="beta/m")
    await world.manager.replace(without)
    await world.manager.replace(settings(world.scripts, providers={"alpha": alpha}))


async def test_a_provider_that_comes_back_has_used_what_it_had_used() -> None:
    """A line that is commented out for a moment doubles no quota and no number of calls at a time."""
    async with serving(providers={"alpha": LIMITED}) as world:
        gate = world.alpha.will_hold("first")
        first = asyncio.create_task(world.service.generate("hi", model="alpha/m"))
        await gate.reached()
        await take_out_and_put_back(world, **LIMITED)
        with pytest.raises((RateLimited, ProviderError)):
            await world.service.generate("again", model="alpha/m", timeout=0.2)
        gate.open()
        assert (await first).content == "first"
        limits = world.service.get_provider_status()["alpha"].limits
        assert (limits.in_flight, [each.left for each in limits.limits]) == (0, [5, 1])


async def test_a_provider_that_comes_back_is_still_left_alone_where_it_kept_failing() -> None:
    """Its breaker is open as before."""
    async with serving() as world:
        for _ in range(3):
            world.alpha.will_raise(ProviderError("server_error", "down", status_code=500))
            with pytest.raises(ProviderError):
                await world.service.generate("hi", model="alpha/m")
        await take_out_and_put_back(world)
        with pytest.raises(LLMError, match="kept failing"):
            await world.service.generate("hi", model="alpha/m")


@pytest.mark.leakcheck
async def test_calls_go_on_while_everything_about_them_is_edited() -> None:
    """Limits, strategy, hedge, cache, mid-stream policy and keys change under them: none fails, nothing is left."""
    clock = FakeClock(auto_advance=True)
    variants: list[dict[str, Any]] = [
        {"strategy": "weighted", "hedge": {"after": "100ms", "max_extra": 1.0}},
        {"strategy": "round_robin", "mid_stream": "restart", "limits": {"max_concurrency": 50}},
        {"strategy": "headroom", "shadow": {"model": "gamma/m", "fraction": 1.0}},
        {"fallback_on": {"outage": ["gamma/m"]}, "mid_stream": {"policy": "buffer", "buffer_tokens": 3}},
    ]
    async with serving("alpha", "beta", "gamma", "delta", clock=clock) as world:

        async def edit(number: int) -> None:
            limits = {"max_concurrency": 2 + number % 3, "tokens_per_minute": 10**6 + number}
            alias = {"use": ["alpha/m", "beta/m"], "fallback": ["delta/m"], **variants[number % len(variants)]}
            config = settings(
                world.scripts,
                models={"fast": alias},
                default_model="fast",
                cache={"enabled": number % 2 == 0},
                providers={
                    "alpha": {"rate_limits": limits, "api_keys": [f"key {number}", f"key {number + 1}"]},
                    "beta": {"rate_limits": limits},
                },
            )
            await world.manager.replace(config)

        async def stream(number: int) -> str:
            text = ""
            async with world.service.stream(f"stream {number}", user="ann") as events:
                async for event in events:
                    text += event.text
                    await asyncio.sleep(0)
            return text

        await edit(0)
        running: list[asyncio.Task[Any]] = []
        for number in range(40):
            running += [
                asyncio.create_task(world.service.generate(f"say {number // 2}", user="ann")),
                asyncio.create_task(stream(number)),
            ]
            await edit(number)
        done = await asyncio.wait_for(asyncio.gather(*running), 20)
        assert [one if isinstance(one, str) else one.content for one in done] == [
            text for number in range(40) for text in (f"say {number // 2}", f"stream {number}")
        ]
        async with asyncio.timeout(30):
            while len(world.holder.live) > 1 or left_behind(world):
                await asyncio.sleep(0.01)
        rows = await world.container.get(UsageLedger).rows()
        assert all(row.state == "settled" for row in rows)
        assert len(rows) == sum(len(script.requests) for script in world.scripts.values())
