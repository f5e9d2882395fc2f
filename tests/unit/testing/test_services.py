"""Services for a provider that is built by hand."""

import random

from core.llm.common.clock import SystemClock
from core.llm.common.events import EventBus
from core.llm.testing import FakeClock, provider_services
from core.llm.testing.services import SimpleResources


class Pool:
    """Something expensive."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


async def test_equal_keys_share_one_resource_until_the_last_share_is_given_back():
    """Like the runtime's own pool, so that a provider's `close` can be tested."""
    resources = SimpleResources()
    first, second = resources.acquire("key", Pool), resources.acquire("key", Pool)
    assert first.resource is second.resource
    assert resources.open == 1

    await first.release()
    await first.release()
    assert first.resource.closed == 0

    await second.release()
    assert (first.resource.closed, resources.open) == (1, 0)


async def test_other_keys_have_other_resources():
    """Nothing is shared by accident, and a closed resource is made anew."""
    resources = SimpleResources()
    first, other = resources.acquire("a", Pool), resources.acquire("b", Pool)
    assert first.resource is not other.resource

    await first.release()
    assert resources.acquire("a", Pool).resource is not first.resource


def test_services_have_sensible_defaults():
    """A name is enough; randomness is the same in every run."""
    services = provider_services("acme")

    assert services.name == "acme"
    assert isinstance(services.clock, SystemClock)
    assert services.rng.random() == random.Random(0).random()


def test_services_take_what_a_test_brings():
    """Its clock, its bus, its resources."""
    clock, events, resources = FakeClock(), EventBus(), SimpleResources()
    services = provider_services(clock=clock, events=events, resources=resources, seed=7)

    assert (services.clock, services.events, services.resources) == (clock, events, resources)
    assert services.rng.random() == random.Random(7).random()
