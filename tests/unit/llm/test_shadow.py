"""Goal 35: copies of calls go to another model, and the caller never notices."""

import asyncio
from typing import Any

import pytest

from core.llm.common.decisions import ShadowEnded
from core.llm.common.events import AttemptFailed, CallFailed, CallFinished, Event
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from tests.unit.llm.support import World, serving, settings

pytestmark = pytest.mark.leakcheck

ALIASES: dict[str, Any] = {"a": {"use": "alpha/m", "fallback": [], "shadow": {"model": "beta/m", "fraction": 1}}}


def listening(world: World, *kinds: type[Event]) -> list[Any]:
    """The events of those kinds from now on."""
    seen: list[Any] = []
    world.events.subscribe(seen.append, *(kinds or (ShadowEnded,)))
    return seen


async def until(condition: Any) -> None:
    """Let the background go on until then."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("stream", [False, True])
async def test_G35_a_copy_is_compared_and_thrown_away(stream: bool) -> None:
    """The caller gets the answer of the model it asked for; the event holds no word of either."""
    async with serving(models=ALIASES) as world:
        seen = listening(world)
        world.alpha.will_answer("one two three four")
        world.beta.will_answer("one two three five")
        if stream:
            response = await world.service.stream("hi", model="a", temperature=0.5).response()
        else:
            response = await world.service.generate("hi", model="a", temperature=0.5)
        assert response.content == "one two three four"
        await until(lambda: seen)
        (event,) = seen
        assert (event.target, event.outcome) == (ModelRef("beta", "m"), "answered")
        assert (event.original_length, event.length, event.similarity) == (18, 18, 0.75)
        assert event.usage is not None
        assert "two" not in repr(event)
        assert response.trace is not None
        assert event.call_id == response.trace.call_id
        assert [one.target.provider for one in response.trace.attempts] == ["alpha"]
        assert world.beta.last_request.params.temperature == 0.5
        await until(lambda: world.leases() == 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_G35_a_copy_that_hangs_delays_nobody_and_is_cut_at_the_end(stream: bool) -> None:
    """The call is over while the copy is not; stopping waits for no copy."""
    async with serving(models=ALIASES, lifecycle={"shutdown_timeout": "1h"}) as world:
        seen = listening(world)
        world.beta.will_hold("never")
        if stream:
            await world.service.stream("hi", model="a").response()
        else:
            await world.service.generate("hi", model="a")
        await until(lambda: world.beta.requests)
        assert world.leases() == 1
    assert [event.outcome for event in seen] == ["cancelled"]


async def test_G35_a_copy_that_fails_is_nobodys_failure() -> None:
    """It is tried once, told as what it is, and no call of its own to those who count calls."""
    async with serving(models=ALIASES, retries=3) as world:
        seen = listening(world)
        calls = listening(world, CallFinished, CallFailed)
        attempts = listening(world, AttemptFailed)
        world.beta.will_raise(ProviderError("server_error", "down"))
        response = await world.service.generate("hi", model="a")
        assert response.provider == "alpha"
        await until(lambda: seen)
        assert (seen[0].outcome, seen[0].similarity) == ("failed", None)
        assert len(calls) == 1
        assert [one.attempt.role for one in attempts] == ["shadow"]
        assert len(world.beta.requests) == 1


async def test_G35_a_copy_that_cannot_be_taken_is_not_sent() -> None:
    """The same look before sending as for every call."""
    providers = {"beta": {"models": {"m": {"capabilities": ["chat"]}}}}
    async with serving(models=ALIASES, providers=providers) as world:
        seen = listening(world)
        await world.service.generate("hi", model="a", tools=[{"name": "look_up"}])
        await until(lambda: seen)
        assert (seen[0].outcome, world.beta.requests) == ("skipped", [])


async def test_G35_no_more_copies_than_allowed_are_under_way() -> None:
    """Further ones are left out, not queued."""
    aliases = {"a": {"use": "alpha/m", "shadow": {"model": "beta/m", "fraction": 1, "max_in_flight": 2}}}
    async with serving(models=aliases) as world:
        gates = [world.beta.will_hold("slow") for _ in range(3)]
        for _ in range(5):
            await world.service.generate("hi", model="a")
        await until(lambda: len(world.beta.requests) == 2)
        await asyncio.sleep(0)
        assert world.leases() == 2
        for gate in gates:
            gate.open()
        await until(lambda: world.leases() == 0)
        await world.service.generate("hi", model="a")
        await until(lambda: len(world.beta.requests) == 3)


async def test_G35_only_a_share_of_the_calls_is_copied() -> None:
    """Drawn from the seeded source of the service."""
    aliases = {"a": {"use": "alpha/m", "shadow": {"model": "beta/m", "fraction": 0.2}}}
    async with serving(models=aliases) as world:
        for _ in range(200):
            await world.service.generate("hi", model="a")
            await until(lambda: world.leases() == 0)
        assert 20 <= len(world.beta.requests) <= 60
        await world.service.generate("hi", model="alpha/m")
        await world.service.embed("hi", model="a")


async def test_G35_what_is_tried_in_the_shadow_is_promoted_by_one_reload() -> None:
    """The copy under way ends on the configuration it began with, and the next call goes to the other model."""
    async with serving(models=ALIASES) as world:
        seen = listening(world)
        gate = world.beta.will_hold("copied")
        await world.service.generate("hi", model="a")
        await until(lambda: world.beta.requests)
        await world.manager.replace(settings(world.scripts, models={"a": {"use": "beta/m", "fallback": []}}))
        assert (await world.service.generate("hi", model="a")).provider == "beta"
        gate.open()
        await until(lambda: seen and world.leases() == 0)
        assert seen[0].outcome == "answered"


async def test_G35_a_stream_that_its_caller_leaves_is_compared_with_what_it_got() -> None:
    """The copy goes on to its end."""
    async with serving(models=ALIASES) as world:
        seen = listening(world)
        world.alpha.will_stream("one ", "two ", "three")
        world.beta.will_answer("one")
        async with world.service.stream("hi", model="a") as stream:
            await anext(stream)
            await anext(stream)
        await until(lambda: seen)
        assert (seen[0].outcome, seen[0].length) == ("answered", 3)
        assert seen[0].original_length < len("one two three")


async def test_G35_a_call_that_fails_is_not_copied() -> None:
    """There is nothing to compare with."""
    async with serving(models=ALIASES) as world:
        world.alpha.will_raise(ProviderError("server_error", "down"))
        with pytest.raises(ProviderError):
            await world.service.generate("hi", model="a")
        assert (world.beta.requests, world.leases()) == ([], 0)
