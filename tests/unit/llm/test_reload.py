"""A configuration that changes while the service is in use."""

import asyncio
from typing import Any

import pytest

from core.llm.common.events import RuntimeRetired
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
