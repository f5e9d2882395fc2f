"""The service as a part of an application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from injector import Module, inject, provider, singleton

from core.container import Container
from core.llm.common.events import CallFinished, Event, EventBus
from core.llm.common.exceptions import AllAttemptsFailed, ProviderError, ServiceStopping
from core.llm.module import ProviderModule
from core.llm.service import LLMService
from core.llm.testing import SCRIPTED, FakeClock, SecretCanary
from tests.unit.llm.support import serving

pytestmark = pytest.mark.leakcheck


class Review:
    """A component that uses the service from its start to its stop."""

    @inject
    def __init__(self, llm: LLMService) -> None:
        self.llm = llm
        self.said: list[str] = []

    async def start(self) -> None:
        """Say hello."""
        self.said.append((await self.llm.generate("hello")).content)

    async def stop(self) -> None:
        """Say good-bye: the service is still there."""
        self.said.append((await self.llm.generate("good-bye")).content)


class ReviewModule(Module):
    """Binds it."""

    @singleton
    @provider
    def _review(self, llm: LLMService) -> Review:
        return Review(llm)


async def test_a_component_may_call_models_from_its_start_to_the_end_of_its_stop() -> None:
    """The service starts before whoever depends on it, and stops after."""
    async with serving(modules=(ReviewModule(),)) as world:
        review = world.container.get(Review)
        assert review.said == ["hello"]
    assert review.said == ["hello", "good-bye"]
    with pytest.raises(ServiceStopping):
        await review.llm.generate("too late")


async def test_two_containers_in_one_process_know_nothing_of_each_other() -> None:
    """Different answers, different generations, different states."""
    async with serving() as one, serving() as two:
        one.alpha.will_answer("one")
        two.alpha.will_raise(ProviderError("server_error", "two"))
        assert (await one.service.generate("hi")).content == "one"
        with pytest.raises(ProviderError, match="two"):
            await two.service.generate("hi")
        assert one.service.get_provider_status()["alpha"].consecutive_failures == 0
        assert two.service.get_provider_status()["alpha"].consecutive_failures == 1


async def test_a_test_of_a_host_can_override_its_configuration() -> None:
    """A later module wins."""

    def module(answer: str) -> ProviderModule:
        alpha = {"type": "scripted", "models": ["m"], "answers": answer}
        config = {"llm_service": {"default_model": "alpha/m", "providers": {"alpha": alpha}}}
        return ProviderModule(config, watch=False, env={}, plugins=[SCRIPTED])

    async with Container([module("real")], overrides=[module("double")]) as container:
        assert (await container.get(LLMService).generate("hi")).content == "double"


async def test_F133_a_subscriber_of_the_host_that_raises_harms_no_call() -> None:
    """Metrics with a bug are a log line, not an outage."""
    async with serving() as world:

        def fail(event: Event) -> None:
            raise ValueError("a bug in the metrics")

        world.events.subscribe(fail)
        assert (await world.service.generate("hi")).content == "hi"
        assert world.leases() == 0


async def test_a_hundred_calls_at_once_each_get_their_own_answer() -> None:
    """Streams, whole answers and vectors mixed; every call is finished once."""
    async with serving() as world:
        finished: list[Event] = []
        world.container.get(EventBus).subscribe(finished.append, CallFinished)

        async def call(number: int) -> str:
            if number % 3 == 0:
                return (await world.service.generate(f"number {number}")).content
            if number % 3 == 1:
                async with world.service.stream(f"number {number}") as stream:
                    return (await stream.response()).content
            await world.service.embed(f"number {number}")
            return f"number {number}"

        answers = await asyncio.gather(*(call(number) for number in range(100)))
        assert answers == [f"number {number}" for number in range(100)]
        assert len(finished) == 100
        assert world.leases() == 0


async def test_F33_F94_without_health_checks_an_outage_still_costs_few_attempts_and_ends_by_itself() -> None:
    """Ten calls a second through a minute of outage; with checks it is five attempts (`unit/runtime/test_health.py`)."""
    clock = FakeClock()
    models: dict[str, Any] = {"fast": {"use": "alpha/m", "fallback": ["beta"]}}
    async with serving(clock=clock, models=models) as world:
        for _ in range(600):
            world.alpha.will_raise(ProviderError("server_error", "down"))
        for _ in range(600):
            assert (await world.service.generate("hi", model="fast")).provider == "beta"
            await clock.advance(0.1)
        assert len(world.alpha.requests) <= 10
        world.alpha._replies.clear()
        recovered = clock.monotonic()
        while (await world.service.generate("hi", model="fast")).provider == "beta":
            await clock.advance(0.1)
        assert clock.monotonic() - recovered <= 36.5


async def test_S5_a_secret_of_the_configuration_is_in_no_error_and_no_log(logged: list[str]) -> None:
    """Whatever goes wrong, from a refused key to a defect of the provider."""
    canary = SecretCanary()
    providers = {"alpha": {"api_key": canary.secret}, "beta": {"api_keys": [canary.secret, "other"]}}
    async with serving(providers=providers, models={"all": {"use": ["alpha/m", "beta/m"]}}) as world:
        world.alpha.will_raise(ProviderError("authentication", "refused"))
        world.beta.will_raise(ValueError(f"headers: {canary.secret}"))
        with pytest.raises(AllAttemptsFailed) as caught:
            await world.service.generate("hi", model="all")
        canary.check(caught.value, logged, world.service.get_provider_status(), world.manager.current)
        assert caught.value.trace is not None
        canary.check(caught.value.trace.describe(), repr(world.service.explain("hi")))


@pytest.fixture
async def busy() -> AsyncIterator[None]:
    """A task of the host that has nothing to do with us."""
    task = asyncio.create_task(asyncio.Event().wait())
    yield
    assert not task.done()
    task.cancel()


@pytest.mark.usefixtures("busy")
async def test_nothing_of_the_host_is_touched_by_a_stop() -> None:
    """Only what belongs to the service ends."""
    async with serving() as world:
        await world.service.generate("hi")
