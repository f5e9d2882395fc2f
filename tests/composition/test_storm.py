"""A few hundred calls of every kind at once, on aliases of every kind, with faults, cancellations and readers who leave."""

import asyncio
import pickle
import random
from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.testing import FakeClock, Script
from core.llm.testing.script import Pause
from tests.composition.everything import FEATURES, MODES, ask, at_rest, left_behind, pairs, world
from tests.unit.llm.support import World

CALLS = 250


def moods(script: Script, rng: random.Random) -> None:
    """Queue answers good and bad, quick and slow."""
    for _ in range(2 * CALLS):
        kind = rng.random()
        if kind < 0.15:
            script.will_raise(ProviderError("server_error", "it went wrong", status_code=503))
        elif kind < 0.20:
            script.will_raise(ProviderError("rate_limit", "slow down", retry_after=1.0, status_code=429))
        elif kind < 0.25:
            script.will_raise(ProviderError("content_filter", "no", status_code=400))
        elif kind < 0.35:
            broken = ProviderError("network_error", "it broke", code="body_cut")
            script.will_stream("a ", "b ", Pause(5 * rng.random()), "c ", broken)
        elif kind < 0.55:
            script.will_stream("a ", Pause(20 * rng.random()), "b ", delay=10 * rng.random())
        else:
            script.will_stream("a ", "b ", "c ")


async def one(running: World, alias: str, number: int, rng: random.Random) -> None:
    """One call in some form; the prompt is that of its neighbours, so that they share it."""
    prompt, options = f"say {number // 4}", {"model": alias, "timeout": 30}
    form = rng.random()
    if form < 0.2:
        async with running.service.stream(prompt, **options) as events:
            async for _ in events:
                if rng.random() < 0.3:
                    break
    elif form < 0.3:
        plain: Any = running.service.stream_generate(prompt, **options)
        async for _ in plain:
            break
        await plain.aclose()
    else:
        await ask(running, rng.choice(MODES), alias, prompt)


@pytest.mark.leakcheck
@pytest.mark.parametrize("seed", range(4))
async def test_after_a_storm_of_mixed_calls_nothing_is_left_and_every_request_has_its_row(seed: int) -> None:
    """Whatever ends them, calls raise our own errors only, and all that they had taken is given back."""
    rng = random.Random(seed)
    clock = FakeClock(auto_advance=True)
    everything = {
        key: value
        for name in ("weighted", "hedge", "restart", "shadow", "limits")
        for key, value in FEATURES[name].items()
    }
    aliases = {"all": everything, **dict(rng.sample(sorted(pairs().items()), 6))}
    async with world(aliases, clock, everywhere=True) as running:
        timers = clock.pending
        for script in running.scripts.values():
            moods(script, rng)
        calls: list[asyncio.Task[None]] = []
        for number in range(CALLS):
            calls.append(asyncio.create_task(one(running, rng.choice(list(aliases)), number, rng)))
            if rng.random() < 0.3:
                await asyncio.sleep(0)
            if rng.random() < 0.4:
                rng.choice(calls).cancel()
            if rng.random() < 0.05 and (streams := running.service.active_streams()):
                running.service.cancel_stream(streams[0].call_id)
        for _ in range(400):
            await clock.advance(0.5)
            if all(call.done() for call in calls):
                break
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [end for end in ends if end is not None and not isinstance(end, LLMError | asyncio.CancelledError)] == []
        for end in ends:
            if isinstance(end, LLMError):
                assert str(pickle.loads(pickle.dumps(end))) == str(end)
        assert sum(end is None for end in ends) > CALLS / 20
        await clock.advance(100)
        await at_rest(running)
        assert left_behind(running) == []
        assert clock.pending == timers
        rows = await running.container.get(UsageLedger).rows(limit=10_000)
        assert {row.state for row in rows} <= {"settled", "estimated", "ambiguous", "none"}
        assert len(rows) == sum(len(script.requests) + len(script.embeddings) for script in running.scripts.values())
