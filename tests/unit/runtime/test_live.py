"""From an edited configuration to the live runtime."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from core.llm.common.exceptions import ServiceStopping, UnknownProvider
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.runtime.live import LiveConfiguration
from core.llm.runtime.swap import RuntimeHolder
from core.llm.testing import FakeClock
from tests.unit.runtime.support import Watched, World


def settings(**providers: Any) -> Mapping[str, Any]:
    """A configuration as a mapping."""
    return {
        "llm_service": {
            "providers": {name: {"type": "watched", "models": ["m"], **options} for name, options in providers.items()},
            "lifecycle": {"shutdown_timeout": "200ms"},
        }
    }


class Rig(World):
    """A manager whose configurations become runtimes."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = RuntimeHolder(self.events)
        self.manager = ProviderConfigManager(
            settings(a={}),
            resolve=self.factory.config_class,
            events=self.events,
            clock=FakeClock(),
            env={},
            watch=False,
        )
        self.live = LiveConfiguration(self.manager, self.factory, self.holder, self.state)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A rig whose first configuration is live."""
    rig = Rig()
    await rig.manager.start()
    rig.holder.open()
    yield rig
    await rig.live.shut_down()
    await rig.manager.stop()


async def test_an_accepted_configuration_is_live_at_once(rig: Rig) -> None:
    """The factory builds from it, and what was learnt about a provider that is dropped is kept for its return."""
    old = rig.state.upstream("a")
    result = await rig.manager.replace(settings(b={}))
    assert result.status == "applied"
    assert list(rig.holder.current.providers) == ["b"]
    assert rig.holder.current.generation == rig.manager.generation == 2
    assert rig.factory.create_provider("b").name == "b"
    with pytest.raises(UnknownProvider):
        rig.factory.create_provider("a")
    assert rig.state.upstream("a") is old, "put back, it goes on where it was"


async def test_HR02_a_configuration_that_cannot_be_built_changes_nothing(rig: Rig) -> None:
    """The same runtime serves on, and the rejection names the provider."""
    before = rig.holder.current
    result = await rig.manager.replace(settings(a={}, b={"fails": "start"}))
    assert result.status == "rejected"
    assert "providers.b" in str(result.errors[0])
    assert rig.holder.current is before
    assert rig.manager.generation == 1


async def test_HR02_a_configuration_whose_models_cannot_be_looked_at_is_closed_again(rig: Rig) -> None:
    """What was opened for it is closed, what is in force goes on, and no text of a foreign error is shown."""
    before = rig.holder.current
    Watched.log.clear()
    result = await rig.manager.replace(settings(a={}, b={"fails": "facts"}))
    assert result.status == "rejected"
    assert "secret text" not in str(result.errors[0])
    assert Watched.log == ["b built", "b started", "b closed"]
    assert rig.holder.current is before


async def test_a_configuration_is_refused_once_the_service_stops(rig: Rig) -> None:
    """Nothing is built that nobody would close."""
    await rig.live.shut_down()
    Watched.log.clear()
    result = await rig.manager.replace(settings(a={"answers": "new"}))
    assert result.status == "rejected"
    assert Watched.log == []
    assert rig.holder.live == ()


async def test_a_configuration_that_is_being_built_while_the_service_stops_is_closed_again(rig: Rig) -> None:
    """The shutdown wins: what was just opened is closed, what was taken over is closed once."""
    reload = asyncio.create_task(rig.manager.replace(settings(a={}, b={}, c={"fails": "slow"})))
    await asyncio.wait_for(Watched.starting.wait(), 30)
    await rig.live.shut_down()
    Watched.go_on.set()
    assert (await reload).status == "rejected"
    assert rig.holder.live == ()
    assert sorted(line for line in Watched.log if line.endswith("closed")) == ["a closed", "b closed", "c closed"]


async def test_the_shutdown_time_is_that_of_the_live_configuration(rig: Rig) -> None:
    """An edit of it counts at the next stop."""
    assert rig.live.shutdown_timeout == 0.2
    await rig.live.shut_down()
    assert rig.live.shutdown_timeout == 15.0
    with pytest.raises(ServiceStopping):
        rig.holder.admit()
