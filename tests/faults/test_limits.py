"""Overload and quotas, through the whole service: what is refused, what waits, what goes to the next candidate."""

import asyncio
from typing import Any

import pytest

from core.llm import AllAttemptsFailed, ProviderError, RateLimited
from core.llm.common.decisions import CallQueued, CallRefused, CallSpilled
from core.llm.common.events import AttemptFailed, ProviderStateChanged
from core.llm.testing import EventRecorder, FakeClock
from core.llm.testing import wire_dialects as wire
from core.llm.testing.wire_steps import answer, stream
from tests.faults.rig import OPENAI
from tests.unit.llm.support import World, serving, settings

CHAIN = {"chain": {"use": "alpha/m", "fallback": ["beta/m"]}, "only": {"use": "alpha/m", "fallback": []}}


def limited(**limits: Any) -> dict[str, Any]:
    """A configuration in which alpha has *limits*."""
    return {"models": CHAIN, "providers": {"alpha": {"rate_limits": limits}}}


async def waiting(world: World, count: int, **options: Any) -> "list[asyncio.Task[Any]]":
    """So many calls to alpha alone that are known to wait in its queue."""
    tasks = [asyncio.create_task(world.service.generate("hi", model="only", **options)) for _ in range(count)]
    while world.service.get_provider_status()["alpha"].limits.queued < count:
        await asyncio.sleep(0.001)
    return tasks


async def test_F88_a_full_queue_refuses_the_sole_candidate_and_passes_the_chain_on() -> None:
    """Nothing reaches alpha, nothing is retried, and the chain is answered by beta."""
    async with serving(retries=2, **limited(max_concurrency=1, queue=1)) as world:
        gate = world.alpha.will_hold("held")
        first = asyncio.create_task(world.service.generate("hi", model="only"))
        await gate.reached()
        tasks = await waiting(world, 1)
        seen = EventRecorder(world.events)
        with pytest.raises(RateLimited) as caught:
            await world.service.generate("hi", model="only")
        assert "1 calls wait already" in seen.last(CallRefused).reason
        assert caught.value.trace is not None
        assert [entry.outcome for entry in caught.value.trace.candidates] == ["skipped"]
        response = await world.service.generate("hi", model="chain")
        assert response.provider == "beta"
        assert [entry.outcome for entry in response.trace.candidates] == ["skipped", "answered"]
        assert "max_concurrency (1) of alpha" in response.trace.candidates[0].reason
        assert seen.last(CallSpilled).target.provider == "alpha"
        assert [event.attempt.decision for event in seen.of(AttemptFailed)] == ["raise", "next_candidate"]
        assert len(world.alpha.requests) == 1
        gate.open()
        await asyncio.gather(first, *tasks)
        assert len(world.alpha.requests) == 2


async def test_F100_more_than_the_whole_limit_is_an_error_at_once_or_goes_elsewhere() -> None:
    """It says what to do, and the next candidate may have a larger limit."""
    async with serving(**limited(tokens_per_minute=1000)) as world:
        with pytest.raises(RateLimited, match=r"tokens_per_minute \(1000\) of alpha.*Lower max_tokens"):
            await world.service.generate("hi", model="only", max_tokens=5000)
        response = await world.service.generate("hi", model="chain", max_tokens=5000)
        assert response.provider == "beta"
        assert world.alpha.requests == []


async def test_F101_a_wait_beyond_the_deadline_is_refused_at_once_with_the_time_to_come_back() -> None:
    """A sole candidate raises, a chain goes on."""
    async with serving(clock=FakeClock(), **limited(requests_per_minute=6)) as world:
        await world.service.generate("hi", model="only")
        with pytest.raises(RateLimited) as caught:
            await world.service.generate("hi", model="only", timeout=2)
        assert 9 < (caught.value.retry_after or 0) <= 10
        assert (await world.service.generate("hi", model="chain", timeout=2)).provider == "beta"
        assert len(world.alpha.requests) == 1


async def test_a_call_without_anywhere_to_go_tells_the_shortest_wait() -> None:
    """Where every candidate is at its limit."""
    async with serving(clock=FakeClock(), **limited(requests_per_minute=6)) as world:
        await world.service.generate("hi", model="chain")
        world.beta.will_raise(ProviderError("server_error", "down"))
        with pytest.raises(AllAttemptsFailed) as caught:
            await world.service.generate("hi", model="chain", timeout=2)
        assert 9 < (caught.value.retry_after or 0) <= 10


async def test_F126_a_deadline_that_passes_in_the_queue_sends_nothing_and_costs_nothing() -> None:
    """The call ends with its deadline; its attempt was never sent."""
    clock = FakeClock()
    async with serving(clock=clock, **limited(max_concurrency=1)) as world:
        gate = world.alpha.will_hold("held")
        first = asyncio.create_task(world.service.generate("hi", model="only"))
        await gate.reached()
        (task,) = await waiting(world, 1, timeout=5)
        await clock.advance(6)
        with pytest.raises(ProviderError) as caught:
            await task
        assert caught.value.code == "deadline_exceeded"
        assert "waited for max_concurrency (1) of alpha" in str(caught.value)
        (attempt,) = caught.value.trace.attempts
        assert attempt.billing == "none"
        assert attempt.queued >= 5
        gate.open()
        await first
        assert len(world.alpha.requests) == 1
        assert world.service.get_provider_status()["alpha"].limits.queued == 0


async def test_F99_a_large_call_among_small_ones_is_served_in_its_turn() -> None:
    """Small calls that come later do not overtake it, for however long they keep coming."""
    clock = FakeClock()
    async with serving(clock=clock, **limited(tokens_per_minute=6000, max_wait="1h")) as world:
        names: list[str] = []

        async def ask(name: str, tokens: int) -> None:
            await world.service.generate("hi", model="only", max_tokens=tokens, timeout=600)
            names.append(name)

        tasks = [asyncio.create_task(ask("early", 200)) for _ in range(20)]
        await clock.settle()
        tasks.append(asyncio.create_task(ask("large", 2500)))
        for _ in range(60):
            await clock.advance(1)
            tasks.append(asyncio.create_task(ask("late", 90)))
        await clock.advance(300)
        await asyncio.gather(*tasks)
        assert names.index("large") == 20


async def test_F97_refusals_of_a_sole_provider_let_it_rest_and_never_open_its_breaker() -> None:
    """A 429 with a hint is obeyed to the second; it is neither an outage nor an overload."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        for _ in range(8):
            world.alpha.will_raise(ProviderError("rate_limit", "slow down", status_code=429, retry_after=3.0))
            with pytest.raises(ProviderError):
                await world.service.generate("hi", model="alpha/m", timeout=1)
            sent = len(world.alpha.requests)
            with pytest.raises(ProviderError) as caught:
                await world.service.generate("hi", model="alpha/m", timeout=1)
            assert caught.value.code == "gated"
            assert len(world.alpha.requests) == sent
            await clock.advance(3.1)
        status = world.service.get_provider_status()["alpha"]
        assert status.state != "open"
        assert status.limits.adaptive_concurrency is None
        assert (await world.service.generate("hi", model="alpha/m")).content == "hi"


async def test_a_chain_spills_instead_of_waiting_and_says_so(logged: list[str]) -> None:
    """A wait of ten seconds is worse than the next candidate, and no trouble; with nobody else it is worth it."""
    clock = FakeClock()
    async with serving(clock=clock, **limited(requests_per_minute=6)) as world:
        seen = EventRecorder(world.events)
        await world.service.generate("hi", model="chain")
        assert (await world.service.generate("hi", model="chain")).provider == "beta"
        assert seen.last(CallSpilled).limit == "requests_per_minute"
        assert [line for line in logged if line.startswith("WARNING alpha")] == []
        task = (await waiting(world, 1))[0]
        await clock.advance(10.1)
        response = await task
        assert seen.last(CallQueued).target.provider == "alpha"
        assert response.trace.attempts[0].queued == pytest.approx(10.0, abs=0.1)


async def test_the_time_in_the_queue_is_not_the_providers() -> None:
    """The first token came at once after the call was sent, ten seconds after it was asked for."""
    clock = FakeClock()
    async with serving(clock=clock, **limited(requests_per_minute=6)) as world:
        await world.service.generate("hi", model="only")

        async def streamed() -> Any:
            async with world.service.stream("hi", model="only") as events:
                return await events.response()

        task = asyncio.create_task(streamed())
        while world.service.get_provider_status()["alpha"].limits.queued < 1:
            await asyncio.sleep(0.001)
        await clock.advance(10.1)
        response = await task
        (attempt,) = response.trace.attempts
        assert attempt.queued == pytest.approx(10.0, abs=0.1)
        assert attempt.time_to_first_token == pytest.approx(0.0, abs=0.01)
        assert response.time_to_first_token == pytest.approx(10.0, abs=0.1)


async def test_waiting_calls_go_elsewhere_as_soon_as_their_provider_dies() -> None:
    """The breaker opens while they wait: beta answers them all, and alpha is not asked by one after the other."""
    async with serving(**limited(max_concurrency=1, max_wait="1h")) as world:
        seen = EventRecorder(world.events, ProviderStateChanged)
        gate = world.alpha.will_hold("held")
        first = asyncio.create_task(world.service.generate("hi", model="only"))
        await gate.reached()
        for _ in range(50):
            world.alpha.will_raise(ProviderError("server_error", "broken", status_code=500))
        tasks = [asyncio.create_task(world.service.generate("hi", model="chain")) for _ in range(30)]
        while world.service.get_provider_status()["alpha"].limits.queued < 30:
            await asyncio.sleep(0.001)
        gate.open()
        await first
        responses = await asyncio.gather(*tasks)
        assert {response.provider for response in responses} == {"beta"}
        assert any(event.state == "open" for event in seen.of(ProviderStateChanged))
        assert len(world.alpha.requests) <= 1 + 10


async def test_a_reload_keeps_what_was_counted() -> None:
    """The edit lowers the limit; what was sent before it counts."""
    async with serving(clock=FakeClock(), **limited(requests_per_minute=60, burst="60s", queue=0)) as world:
        for _ in range(20):
            await world.service.generate("hi", model="only")
        edited = limited(requests_per_minute=21, burst="60s", queue=0)
        await world.manager.replace(settings(world.scripts, **edited))
        await world.service.generate("hi", model="only")
        with pytest.raises(RateLimited, match=r"requests_per_minute \(21\)"):
            await world.service.generate("hi", model="only")


async def test_headers_of_answers_and_streams_reach_the_limiter(make_rig: Any) -> None:
    """Over HTTP: the provider says that nothing is left, so the next call is passed on instead of being refused."""
    told = {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60s",
    }
    for streamed in (False, True):
        rig = await make_rig(OPENAI)
        if streamed:
            rig.server.will(stream(wire.openai_stream("ok"), headers=told))
            outcome = await rig.stream("chain")
        else:
            rig.server.will(answer(wire.openai_answer("ok"), headers=told))
            outcome = await rig.generate("chain")
        assert outcome.text == "ok"
        (learnt,) = rig.llm.get_provider_status()["faulty"].limits.limits
        assert (learnt.name, learnt.limit, learnt.learnt) == ("requests_per_minute", 6, True)
        assert (await rig.generate("chain")).text == "spare"
        assert rig.hits == 1


async def test_F30_azure_style_nonsense_in_headers_changes_nothing(make_rig: Any) -> None:
    """Over HTTP: -1 limits nothing."""
    nonsense = {
        "x-ratelimit-limit-tokens": "-1",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "0",
    }
    rig = await make_rig(OPENAI)
    rig.server.otherwise(answer(wire.openai_answer("ok"), headers=nonsense))
    for _ in range(3):
        assert (await rig.generate("chain")).text == "ok"
    assert rig.llm.get_provider_status()["faulty"].limits.limits == ()
