"""From a configuration to a runtime, or to nothing at all."""

import asyncio

import pytest

from core.llm.common.exceptions import ConfigError
from core.llm.common.types import ModelRef
from core.llm.runtime import build
from tests.unit.runtime.support import Watched, World, a_config


async def test_HR09_an_unchanged_provider_is_the_same_object_and_a_changed_one_is_not() -> None:
    """One of three changed: one is built, two are taken over and not started again."""
    world = World()
    first = await world.build(a_config(a={}, b={}, c={}))
    Watched.log.clear()
    second = await world.build(a_config(a={}, b={"answers": "new"}, c={}), first)
    assert second.providers["a"] is first.providers["a"]
    assert second.providers["c"] is first.providers["c"]
    assert second.providers["b"] is not first.providers["b"]
    assert Watched.log == ["b built", "b started"]


async def test_HR10_what_is_known_about_a_provider_survives_its_rebuild() -> None:
    """Breaker, budget and key states belong to the name, not to the object."""
    world = World()
    first = await world.build(a_config(a={}))
    record = first.state.upstream("a")
    second = await world.build(a_config(a={"answers": "new"}), first)
    assert second.state.upstream("a") is record
    world.state.keep({})
    assert world.state.upstream("a") is record, "it was taken out for a moment only"


@pytest.mark.parametrize("fails", ["constructor", "start"])
async def test_HR11_when_the_third_provider_fails_the_two_fresh_ones_are_closed(fails: str) -> None:
    """Nothing is left behind, what was taken over stays open, and the issue names the provider, not the text."""
    world = World()
    first = await world.build(a_config(kept={}))
    Watched.log.clear()
    with pytest.raises(ConfigError) as caught:
        await world.build(a_config(kept={}, a={}, b={}, c={"fails": fails}), first)
    closed = [line for line in Watched.log if line.endswith("closed")]
    assert closed[-2:] == ["b closed", "a closed"]
    assert "kept closed" not in closed
    assert caught.value.issues[0].path == "providers.c"
    assert "ValueError" in str(caught.value)
    assert "secret text" not in str(caught.value)


async def test_HR11_a_provider_that_hangs_while_starting_refuses_the_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit it is closed like the others."""
    monkeypatch.setattr(build, "START_TIMEOUT", 0.01)
    world = World()
    with pytest.raises(ConfigError, match="did not start within"):
        await world.build(a_config(a={"fails": "start_hangs"}))
    assert Watched.log == ["a built", "a closed"]


async def test_HR11_a_close_that_fails_on_the_way_out_hides_neither_the_reason_nor_the_others() -> None:
    """Every fresh provider is closed, and the error is the one that refused the configuration."""
    world = World()
    with pytest.raises(ConfigError, match="in its constructor"):
        await world.build(a_config(a={}, b={"fails": "close"}, c={"fails": "constructor"}))
    assert [line for line in Watched.log if line.endswith("closed")] == ["b closed", "a closed"]


async def test_HR11_a_build_that_is_cancelled_closes_what_it_had_opened() -> None:
    """Stopping in the middle of a reload leaves nothing open."""
    world = World()
    task = asyncio.create_task(world.build(a_config(a={}, b={"fails": "start_hangs"})))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line for line in Watched.log if line.endswith("closed")] == ["b closed", "a closed"]


async def test_a_provider_that_is_off_is_not_built_and_says_why() -> None:
    """Neither one without its key nor one that is switched off."""
    world = World()
    runtime = await world.build(a_config(a={}, b={"enabled": False}, c={}), disabled={"c": "api_key is not set"})
    assert list(runtime.providers) == ["a"]
    reasons = {name: runtime.unavailable(ModelRef(name, "m")) for name in ("a", "b", "c", "d")}
    assert reasons == {
        "a": None,
        "b": "enabled: false",
        "c": "api_key is not set",
        "d": "the provider is not configured",
    }


async def test_an_unknown_type_is_an_issue_at_its_provider() -> None:
    """The message names what is close."""
    world = World()
    config = a_config(a={"type": "watchd"})
    with pytest.raises(ConfigError, match="did you mean 'watched'") as caught:
        await world.build(config)
    assert caught.value.issues[0].path == "providers.a"
