"""A configuration that changes while the service is in use."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from core.llm.common.events import RuntimeRetired
from core.llm.common.exceptions import ProviderError
from core.llm.testing import EventRecorder, Gate
from tests.unit.llm.support import World, serving

pytestmark = pytest.mark.leakcheck


async def edit(world: World, **providers: Any) -> None:
    """Change settings of providers, as an edit of the file would."""
    config = world.manager.current
    changed = {**config.providers}
    for name, update in providers.items():
        changed[name] = changed[name].model_copy(update=update)
    result = await world.manager.replace(config.model_copy(update={"providers": changed}))
    assert result.status == "applied"


async def test_HR06_a_running_stream_ends_on_the_provider_it_began_with() -> None:
    """The next call uses the new one; the old one is closed once, after its last stream."""
    async with serving() as world:
        old = world.provider("alpha")
        seen = EventRecorder(world.events, RuntimeRetired)
        (gate,) = world.alpha.will_stream("Hel", Gate(), "lo")
        async with world.service.stream("hi") as stream:
            await anext(stream)
            await edit(world, alpha={"default_model": "other"})
            new = world.provider("alpha")
            assert new is not old
            assert (await world.service.generate("next")).content == "next"
            assert old.closed == 0
            gate.open()
            assert (await stream.response()).content == "Hello"
        await seen.wait_for(RuntimeRetired)
        assert (old.closed, new.closed) == (1, 0)
    assert (old.closed, new.closed) == (1, 1)


async def test_HR09_a_provider_that_did_not_change_stays_the_same_object() -> None:
    """An edit of one provider leaves the other alone."""
    async with serving() as world:
        beta = world.provider("beta")
        await edit(world, alpha={"default_model": "other"})
        assert world.provider("beta") is beta
        assert (beta.started, beta.closed) == (1, 0)


async def test_HR10_what_is_known_about_a_provider_survives_an_edit_of_it() -> None:
    """Its failures, its open breaker and its resting keys: a new object is no new server."""
    async with serving(providers={"alpha": {"api_key": "first"}, "beta": {"api_key": "second"}}) as world:
        alpha = world.provider("alpha")
        for _ in range(5):
            world.alpha.will_raise(ProviderError("server_error", "down"))
            with pytest.raises(ProviderError):
                await world.service.generate("hi")
        world.beta.will_raise(ProviderError("rate_limit", "wait", retry_after=60))
        with pytest.raises(ProviderError):
            await world.service.generate("hi", model="beta/m")
        await edit(world, alpha={"default_model": "other"}, beta={"default_model": "other"})
        assert world.provider("alpha") is not alpha
        status = world.service.get_provider_status()
        assert (status["alpha"].state, status["alpha"].consecutive_failures) == ("open", 3)
        assert status["beta"].state == "resting"
        asked = len(world.alpha.requests), len(world.beta.requests)
        for model in ("alpha/m", "beta/m"):
            # Too little time to wait for either of them.
            with pytest.raises(ProviderError, match="not sent"):
                await world.service.generate("hi", model=model, timeout=2)
        assert (len(world.alpha.requests), len(world.beta.requests)) == asked


async def test_HR10_a_key_that_was_changed_starts_afresh() -> None:
    """What the old key did is not held against it."""
    async with serving(providers={"alpha": {"api_key": "first"}}) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "wait", retry_after=60))
        with pytest.raises(ProviderError):
            await world.service.generate("hi")
        await edit(world, alpha={"api_key": SecretStr("second")})
        assert (await world.service.generate("hi")).content == "hi"


async def test_HR05_each_call_is_served_by_one_generation() -> None:
    """The trace says by which."""
    async with serving() as world:
        gate = world.alpha.will_hold("first")
        first = asyncio.create_task(world.service.generate("hi"))
        await gate.reached()
        await edit(world, alpha={"default_model": "other"})
        second = await world.service.generate("hi")
        gate.open()
        traces = [(await first).trace, second.trace]
        assert [trace.generation for trace in traces if trace] == [1, 2]


async def test_LC_stopping_lets_a_running_call_end() -> None:
    """New calls are refused meanwhile."""
    async with serving() as world:
        gate = world.alpha.will_hold("done")
        running = asyncio.create_task(world.service.generate("hi"))
        await gate.reached()
        stopping = asyncio.create_task(world.container.stop())
        await asyncio.sleep(0.01)
        with pytest.raises(Exception, match="is stopping"):
            await world.service.generate("too late")
        gate.open()
        assert (await running).content == "done"
        await stopping


async def test_F127_stopping_cuts_what_does_not_end_in_time() -> None:
    """The caller gets an error that names the reason, and nothing is left."""
    async with serving() as world:
        world.alpha.will_hold()
        running = asyncio.create_task(world.service.generate("hi"))
        await asyncio.sleep(0.01)
        await world.container.stop()
        with pytest.raises(Exception, match="the call was cut") as caught:
            await running
        assert getattr(caught.value, "code", None) == "drained"
        assert world.alpha.active == 0
