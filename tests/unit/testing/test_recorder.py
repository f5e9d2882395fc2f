"""The event recorder: what was published, in order, and waiting for what will be."""

import asyncio

import pytest

from core.llm.common.events import ConfigApplied, EventBus, ProviderDisabled, WatcherDegraded
from core.llm.testing import EventRecorder


async def test_it_keeps_every_event_in_order():
    """Nothing that happens after it listens is missed."""
    bus = EventBus()
    events = EventRecorder(bus)

    bus.publish(ProviderDisabled("openai", "no key"))
    bus.publish(ConfigApplied(1, (), 0.1))

    assert events.kinds() == ["ProviderDisabled", "ConfigApplied"]
    assert events.of(ConfigApplied) == [ConfigApplied(1, (), 0.1)]
    assert events.last(ProviderDisabled).provider == "openai"
    assert ConfigApplied in events
    assert WatcherDegraded not in events
    assert len(events) == 2


async def test_it_listens_to_the_kinds_it_was_asked_for():
    """A recorder of one kind is not filled with the others."""
    bus = EventBus()
    events = EventRecorder(bus, ConfigApplied)

    bus.publish(WatcherDegraded("no inotify"))
    bus.publish(ConfigApplied(2, (), 0.1))

    assert events.kinds() == ["ConfigApplied"]


async def test_it_stops_listening_at_the_end_of_its_block():
    """A recorder does not outlive its test."""
    bus = EventBus()
    with EventRecorder(bus) as events:
        bus.publish(WatcherDegraded("a"))
    bus.publish(WatcherDegraded("b"))

    assert len(events) == 1
    assert not bus.wants(ProviderDisabled)


async def test_wait_for_returns_an_event_that_is_there_already():
    """No race between publishing and waiting."""
    bus = EventBus()
    events = EventRecorder(bus)
    bus.publish(ConfigApplied(1, (), 0.1))

    assert (await events.wait_for(ConfigApplied)).generation == 1


async def test_wait_for_waits_for_the_event_that_fits():
    """The condition and the count are those of the event that is meant."""
    bus = EventBus()
    events = EventRecorder(bus)
    second = asyncio.create_task(events.wait_for(ConfigApplied, nth=2))
    fifth = asyncio.create_task(events.wait_for(ConfigApplied, where=lambda event: event.generation == 5))
    for generation in (1, 5):
        await asyncio.sleep(0)
        bus.publish(ConfigApplied(generation, (), 0.1))

    assert (await second).generation == 5
    assert (await fifth).generation == 5


async def test_waiting_in_vain_says_what_came_instead():
    """The failure of a test names the events that did happen."""
    bus = EventBus()
    events = EventRecorder(bus)
    bus.publish(WatcherDegraded("no inotify"))

    with pytest.raises(AssertionError, match=r"waited 0\.01 s for ConfigApplied; published were: WatcherDegraded"):
        await events.wait_for(ConfigApplied, timeout=0.01)


async def test_asking_for_an_event_that_never_came_says_so():
    """`last` of nothing is a readable failure."""
    with pytest.raises(AssertionError, match="no ConfigApplied was published; nothing was published"):
        EventRecorder(EventBus()).last(ConfigApplied)


async def test_it_can_forget():
    """The first half of a test does not disturb the second."""
    bus = EventBus()
    events = EventRecorder(bus)
    bus.publish(WatcherDegraded("a"))

    events.clear()
    bus.publish(WatcherDegraded("b"))

    assert [event.reason for event in events.of(WatcherDegraded)] == ["b"]
