"""A service belongs to one event loop of one process."""

import asyncio
import os
import threading
from collections.abc import Callable

import pytest

from core.container import Container, WrongState
from core.llm import LLMService, ProviderModule
from core.llm.common.exceptions import ConfigError, LLMError, WrongEventLoop
from core.llm.testing import SCRIPTED
from tests.unit.llm.support import World, serving


def whole(world: World) -> str:
    """A call from an event loop of its own."""
    return asyncio.run(world.service.generate("hi")).content


def streamed(world: World) -> str:
    """A stream from an event loop of its own."""

    async def read() -> str:
        async with world.service.stream("hi") as stream:
            return (await stream.response()).content

    return asyncio.run(read())


async def in_a_thread(call: Callable[[World], str], world: World) -> Exception | None:
    """What *call* raises in another thread."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            call(world)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(thread.join, 5.0)
    assert not thread.is_alive(), "the call hangs"
    return raised[0] if raised else None


@pytest.mark.parametrize("call", [whole, streamed])
async def test_F130_a_call_from_another_thread_and_loop_is_refused_with_what_to_do(call) -> None:
    """Connections and timers live in the loop of the start; half of it would work, and that is worse."""
    async with serving() as world:
        error = await in_a_thread(call, world)
        assert isinstance(error, WrongEventLoop)
        assert isinstance(error, LLMError)
        assert "run_coroutine_threadsafe" in str(error)
        assert world.leases() == 0
        assert (await world.service.generate("hi")).content == "hi"


def test_a_call_after_its_event_loop_has_ended_says_that_each_run_is_a_loop_of_its_own() -> None:
    """Nobody can call into a loop that has ended: the advice is another one."""
    module = ProviderModule({"default_model": "a/m", "providers": {"a": {"type": "scripted"}}}, plugins=[SCRIPTED])
    container = Container([module])
    asyncio.run(container.start())

    with pytest.raises(WrongEventLoop, match=r"has ended.*asyncio\.run"):
        asyncio.run(container.get(LLMService).generate("hi"))
    with pytest.raises(WrongState, match=r"one asyncio\.run"):
        asyncio.run(container.stop())


async def test_F130_a_thread_may_call_through_the_loop_of_the_service() -> None:
    """What the message says works."""
    async with serving() as world:
        loop = asyncio.get_running_loop()

        def call() -> str:
            return asyncio.run_coroutine_threadsafe(world.service.generate("hi"), loop).result(5.0).content

        assert await asyncio.to_thread(call) == "hi"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_F131_a_forked_child_is_refused_and_the_parent_does_not_notice() -> None:
    """It would share the parent's sockets with it."""
    async with serving() as world:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            asyncio._set_running_loop(None)
            try:
                said = f"answered {whole(world)}"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        assert status == 0
        assert said.startswith("WrongEventLoop: this process was forked"), said
        assert (await world.service.generate("hi")).content == "hi"


async def test_S16_a_live_provider_cannot_be_pickled() -> None:
    """It would take its keys along."""
    import pickle

    async with serving() as world:
        for secret in (world.provider("alpha"), world.manager.current):
            with pytest.raises(TypeError, match="not picklable"):
                pickle.dumps(secret)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"models": {"a": "b", "b": "a"}}, "leads in a circle: a → b → a"),
        ({"models": {"a": {"use": "alpha/m", "fallback": ["a"]}}}, "leads in a circle: a → a"),
        ({"models": {"a": "nobody/x"}}, "`nobody` is no provider"),
        ({"models": {"a": {"use": "alpha/m", "fallback": ["nobody"]}}}, "`nobody` is no alias"),
        ({"fallback_chain": ["nobody"]}, "`nobody` is no alias"),
        ({"default_model": "nobody"}, "`nobody` is no alias"),
    ],
)
async def test_F114_a_chain_with_an_unknown_name_or_a_circle_is_refused_at_load(part, said: str) -> None:
    """Before any call could run into it, with the place."""
    with pytest.raises(ConfigError, match=said):
        async with serving(**part):
            pass
