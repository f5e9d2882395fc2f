"""Checking providers in the background, and what a check changes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.llm.common.events import ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import BaseLLMProvider, HealthReport
from core.llm.runtime.health import HealthMonitor
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.llm.support import World, serving

pytestmark = pytest.mark.leakcheck

CHAIN = {"fast": {"use": "alpha/m", "fallback": ["beta"]}}


@asynccontextmanager
async def checked(clock: FakeClock, seed: int = 0, **config: Any) -> AsyncIterator[World]:
    """A service whose providers are checked, on *clock*."""
    async with serving(clock=clock, seed=seed, health_check={"interval": "30s", "timeout": "5s"}, **config) as world:
        yield world


class Upstream:
    """Counts the checks of one scripted provider, and says how it is."""

    def __init__(self, world: World, name: str = "alpha") -> None:
        self.provider = world.provider(name)
        self.script = world.scripts[name]
        self.checks = 0
        self.report = HealthReport(True, "scripted")
        self.provider.health_check = self._check  # type: ignore[method-assign]  # the double's own answer is fixed

    async def _check(self) -> HealthReport:
        self.checks += 1
        return self.report

    def goes_down(self, checks_fail: bool = True) -> None:
        """Every call fails from now on."""
        for _ in range(3000):
            self.script.will_raise(ProviderError("server_error", "down"))
        if checks_fail:
            self.report = HealthReport(False, "connection refused")

    def comes_back(self) -> None:
        """Every call is answered from now on."""
        self.script._replies.clear()
        self.report = HealthReport(True, "scripted")


async def answered_by(world: World, clock: FakeClock) -> str | None:
    """Who answers a call; time moves while it waits for a retry."""
    call = asyncio.create_task(world.service.generate("hi", model="fast"))
    await clock.settle()
    while not call.done():
        await clock.advance(0.01)
    return call.result().provider


async def attempts_in(world: World, clock: FakeClock, seconds: float, step: float) -> int:
    """Attempts that reach alpha while calls come steadily."""
    before = len(world.alpha.requests)
    for _ in range(round(seconds / step)):
        await answered_by(world, clock)
        await clock.advance(step)
    return len(world.alpha.requests) - before


async def seconds_until_back(world: World, clock: FakeClock, step: float) -> float:
    """Seconds until alpha answers again."""
    began = clock.monotonic()
    while await answered_by(world, clock) != "alpha":
        await clock.advance(step)
    return clock.monotonic() - began


@pytest.mark.parametrize("seed", range(24))
async def test_F33_F94_an_outage_of_a_minute_costs_five_attempts_and_ends_within_ten_seconds(seed: int) -> None:
    """Whatever the rate of the calls and the moment of the outage, also one before the first check."""
    rng = random.Random(seed)
    clock, step = FakeClock(), rng.choice([0.1, 0.5, 2.0])
    async with checked(clock, seed, models=CHAIN, retries=rng.choice([0, 2])) as world:
        upstream = Upstream(world)
        await attempts_in(world, clock, rng.choice([0.0, rng.uniform(1, 90)]), step)
        upstream.goes_down()
        assert await attempts_in(world, clock, 60.0, step) <= 5
        upstream.comes_back()
        assert await seconds_until_back(world, clock, step) <= 10.0


async def test_a_check_that_passes_although_calls_fail_is_believed_less_and_less() -> None:
    """A server may list its models and answer nothing: attempts stay as rare as without checks."""
    clock = FakeClock()
    async with checked(clock, models=CHAIN) as world:
        upstream = Upstream(world)
        upstream.goes_down(checks_fail=False)
        assert await attempts_in(world, clock, 60.0, 0.1) <= 5


async def test_checks_that_fail_although_calls_are_answered_keep_nothing_away() -> None:
    """A key that may not list models says nothing about calls: the breaker keeps its own time."""
    clock = FakeClock()
    async with checked(clock, models=CHAIN) as world:
        upstream = Upstream(world)
        upstream.report = HealthReport(False, "403: may not list models")
        await attempts_in(world, clock, 40.0, 0.5)
        assert upstream.checks
        upstream.goes_down(checks_fail=False)
        await attempts_in(world, clock, 4.0, 0.1)
        upstream.script._replies.clear()
        assert await seconds_until_back(world, clock, 0.1) <= 6.5


async def test_a_provider_without_a_check_of_its_own_keeps_the_breakers_own_time() -> None:
    """Nothing was asked, so nothing is concluded."""
    clock = FakeClock()
    async with checked(clock, models=CHAIN) as world:
        upstream = Upstream(world)
        upstream.report = await BaseLLMProvider.health_check(upstream.provider)
        assert not upstream.report.probed
        upstream.goes_down(checks_fail=False)
        await attempts_in(world, clock, 4.0, 0.1)
        upstream.script._replies.clear()
        assert 0.1 < await seconds_until_back(world, clock, 0.1) <= 6.5


@pytest.mark.parametrize("seed", range(24))
async def test_F33_F94_without_a_check_an_outage_of_a_minute_costs_as_little_and_ends_as_soon(seed: int) -> None:
    """A provider that cannot be asked for free, whatever the rate of the calls and the moment of the outage."""
    rng = random.Random(seed)
    clock, step = FakeClock(), rng.choice([0.1, 0.5, 2.0])
    async with checked(clock, seed, models=CHAIN, retries=rng.choice([0, 2])) as world:
        upstream = Upstream(world)
        upstream.report = await BaseLLMProvider.health_check(upstream.provider)
        await attempts_in(world, clock, rng.choice([0.0, rng.uniform(1, 90)]), step)
        upstream.goes_down(checks_fail=False)
        assert await attempts_in(world, clock, 60.0, step) <= 5
        upstream.script._replies.clear()
        assert await seconds_until_back(world, clock, step) <= 10.0


async def test_checks_come_at_their_interval_and_faster_while_a_provider_is_left_alone() -> None:
    """About every thirty seconds, and every two while its calls are held back."""
    clock = FakeClock()
    async with checked(clock, models=CHAIN) as world:
        upstream = Upstream(world)
        await clock.advance(300.0)
        assert 8 <= upstream.checks <= 14
        upstream.goes_down()
        await attempts_in(world, clock, 1.0, 0.1)
        before = upstream.checks
        await clock.advance(20.0)
        assert 8 <= upstream.checks - before <= 13


async def test_a_provider_that_is_off_and_a_service_without_checks_are_not_asked() -> None:
    """No traffic that nobody asked for."""
    clock = FakeClock()
    async with checked(clock, providers={"beta": {"enabled": False}}) as world:
        await clock.advance(100.0)
        assert list(world.container.get(HealthMonitor).report().checks) == ["alpha"]
    async with serving(clock=clock) as world:
        upstream = Upstream(world)
        await clock.advance(100.0)
        assert upstream.checks == 0
        await world.manager.replace({"llm_service": {**_as_given(world), "health_check": {"interval": "1s"}}})
        await clock.advance(10.0)
        assert upstream.checks > 5


def _as_given(world: World) -> dict[str, Any]:
    providers = {name: {"type": "scripted", "script": one.name, "models": ["m"]} for name, one in world.scripts.items()}
    return {"default_model": "alpha/m", "providers": providers}


async def test_a_check_that_hangs_or_raises_is_a_failed_check() -> None:
    """It is given up after the timeout, and neither the loop nor the stop waits for it."""
    clock = FakeClock()
    async with checked(clock) as world:

        async def hang() -> HealthReport:
            await asyncio.Event().wait()
            raise AssertionError

        async def fail() -> HealthReport:
            raise ValueError("secret")

        world.provider("alpha").health_check = hang  # type: ignore[method-assign]  # misbehaves
        world.provider("beta").health_check = fail  # type: ignore[method-assign]  # misbehaves
        await clock.advance(12.0)
        status = world.service.get_provider_status()
        assert (status["alpha"].state, status["beta"].state) == ("unhealthy", "unhealthy")
        assert "within 5 s" in status["alpha"].reason
        assert status["beta"].reason == "its health check raised ValueError"
        await clock.advance(30.0)
    assert clock.pending == 0


async def test_a_check_that_is_none_is_a_failed_check_each_time() -> None:
    """A plugin may forget the `async`, or the report: it is asked again at the next interval, like all others."""
    clock = FakeClock()
    async with serving(clock=clock, health_check={"interval": "10s"}) as world:
        asked: list[str] = []

        def raises() -> HealthReport:
            asked.append("alpha")
            raise ValueError("secret")

        async def says_nothing() -> None:
            asked.append("beta")

        world.provider("alpha").health_check = raises  # type: ignore[method-assign]  # misbehaves
        world.provider("beta").health_check = says_nothing  # type: ignore[method-assign]  # misbehaves
        await clock.advance(60.0)
        status = world.service.get_provider_status()
        assert status["alpha"].reason == "its health check raised ValueError"
        assert status["beta"].reason == "its health check returned a NoneType"
        assert min(asked.count("alpha"), asked.count("beta")) >= 4


async def test_the_status_says_that_a_provider_is_unhealthy_open_or_resting_and_why() -> None:
    """What a person at the console wants to know, and for how long it will last."""
    clock = FakeClock()
    async with checked(clock, models=CHAIN) as world:
        seen = EventRecorder(world.events)
        upstream = Upstream(world)
        await clock.advance(40.0)
        upstream.goes_down()
        await clock.advance(40.0)
        status = world.service.get_provider_status()["alpha"]
        assert (status.state, status.reason) == ("unhealthy", "connection refused")
        await attempts_in(world, clock, 1.0, 0.1)
        status = world.service.get_provider_status()["alpha"]
        assert status.state == "open"
        assert status.reason.startswith("left alone for at most 59 s more: ")
        assert "down" in status.reason
        world.beta.will_raise(ProviderError("rate_limit", "slow down", retry_after=20.0))
        with pytest.raises(ProviderError):
            await world.service.generate("hi", model="beta/m")
        status = world.service.get_provider_status()["beta"]
        assert status.state == "resting"
        assert status.reason == "for 20 s more: the provider asked to wait (rate_limit)"
        assert [event.state for event in seen.of(ProviderStateChanged)] == ["unhealthy", "open", "gated"]


async def test_HR_17_the_health_of_the_service_holds_its_configuration_and_readiness() -> None:
    """Generation, age, last error and how the file is watched; ready while one provider can be called."""
    clock = FakeClock()
    async with checked(clock, providers={"beta": {"enabled": False}}) as world:
        monitor = world.container.get(HealthMonitor)
        await clock.advance(12.0)
        health = monitor.report()
        assert (health.ready, health.reason) == (True, "")
        assert (health.config.generation, health.config.age, health.config.watch_mode) == (1, 12.0, "off")
        assert health.config.last_error == ()
        assert health.live_generations == 1
        Upstream(world).goes_down()
        for _ in range(5):
            with pytest.raises(ProviderError):
                await world.service.generate("hi")
        health = monitor.report()
        assert not monitor.ready()
        assert not health.ready
        assert "alpha: left alone" in health.reason
        assert "beta: enabled: false" in health.reason
    assert not monitor.report().ready
    assert "stopped" in monitor.report().reason


async def test_a_reload_during_a_check_closes_the_old_provider_after_the_check_has_ended() -> None:
    """The check is given up, so the old configuration is disposed at once."""
    clock = FakeClock()
    async with checked(clock) as world:
        old = world.provider("alpha")
        closed_in_time: list[int] = []

        async def hang() -> HealthReport:
            try:
                await asyncio.Event().wait()
            finally:
                closed_in_time.append(old.closed)
            raise AssertionError

        old.health_check = hang  # type: ignore[method-assign]  # takes its time
        await clock.advance(6.0)
        config = _as_given(world)
        config["providers"]["alpha"]["answers"] = ["new"]
        del config["providers"]["alpha"]["script"]
        assert (await world.manager.replace({"llm_service": config})).status == "applied"
        await clock.settle()
        assert closed_in_time == [0]
        assert old.closed == 1
        assert len(world.holder.live) == 1


async def test_HR_17_the_status_counts_reloads_by_how_they_ended() -> None:
    """What a metrics endpoint needs; trying out a configuration is no reload."""
    clock = FakeClock()
    async with checked(clock) as world:
        assert world.manager.status.reloads == {"applied": 0, "unchanged": 0, "rejected": 0}
        assert world.manager.status.last_reload is None
        await clock.advance(5.0)
        await world.manager.replace({"llm_service": _as_given(world)})
        await world.manager.replace({"llm_service": {"providers": 1}})
        await world.manager.reload(dry_run=True)
        await world.manager.reload()
        status = world.manager.status
        assert status.reloads == {"applied": 1, "unchanged": 1, "rejected": 1}
        assert status.last_reload == clock.now()
        assert (status.generation, status.stale) == (2, False)
