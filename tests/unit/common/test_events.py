"""The bus that hands events out."""

import asyncio

import pytest

from core.llm.common.events import Event, EventBus, ProviderDisabled, RuntimeRetired, WatcherDegraded


def test_events_reach_their_subscribers_in_order_and_by_kind() -> None:
    """Without a kind it is all of them."""
    bus = EventBus()
    seen: list[tuple[str, Event]] = []
    bus.subscribe(lambda event: seen.append(("all", event)))
    bus.subscribe(lambda event: seen.append(("some", event)), WatcherDegraded, RuntimeRetired)
    first, second = ProviderDisabled("a", "off"), WatcherDegraded("x")
    bus.publish(first)
    bus.publish(second)
    assert seen == [("all", first), ("all", second), ("some", second)]


def test_a_subscription_ends_when_it_is_closed() -> None:
    """Also as a context, twice, and while an event is handed out."""
    bus = EventBus()
    seen: list[Event] = []
    assert not bus.wants(WatcherDegraded)
    with bus.subscribe(seen.append) as subscription:
        assert bus.wants(WatcherDegraded)
        bus.publish(WatcherDegraded("x"))
    subscription.close()
    bus.publish(WatcherDegraded("y"))
    assert seen == [WatcherDegraded("x")]
    assert not bus.wants(WatcherDegraded)
    once = bus.subscribe(lambda event: once.close())
    bus.publish(WatcherDegraded("z"))
    assert not bus.wants(WatcherDegraded)


def test_the_same_function_may_subscribe_twice() -> None:
    """Each subscription ends by itself."""
    bus = EventBus()
    seen: list[Event] = []
    take = seen.append
    first = bus.subscribe(take)
    bus.subscribe(take)
    first.close()
    bus.publish(WatcherDegraded("x"))
    assert len(seen) == 1


def test_F133_a_subscriber_that_raises_disturbs_nobody_and_is_named_once_a_minute(
    logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of its error, which may hold anything, is not logged."""
    now = [0.0]
    monkeypatch.setattr("core.llm.common.events.time.monotonic", lambda: now[0])
    bus = EventBus()
    seen: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError("secret text")

    bus.subscribe(fail)
    bus.subscribe(seen.append)
    for _ in range(100):
        bus.publish(WatcherDegraded("x"))
    assert len(seen) == 100
    assert logged == ["WARNING a subscriber of WatcherDegraded raised ValueError\n"]
    now[0] = 60.0
    bus.publish(WatcherDegraded("x"))
    assert len(logged) == 2


async def test_F133_a_slow_consumer_loses_the_oldest_events_and_holds_nobody_up() -> None:
    """At most the limit waits for it."""
    bus = EventBus()
    stream = bus.stream(WatcherDegraded, limit=3)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(10):
        bus.publish(WatcherDegraded(str(number)))
        bus.publish(ProviderDisabled("a", "not wanted"))
    got = [await waiting, await anext(stream), await anext(stream)]
    assert got == [WatcherDegraded("7"), WatcherDegraded("8"), WatcherDegraded("9")]
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator
    assert not bus.wants(WatcherDegraded)


def test_whoever_would_build_an_event_can_ask_whether_anybody_wants_it() -> None:
    """The answer follows every subscription and every end of one."""
    bus = EventBus()
    assert not bus.wants(WatcherDegraded)
    some = bus.subscribe(lambda event: None, WatcherDegraded)
    assert bus.wants(WatcherDegraded)
    assert not bus.wants(RuntimeRetired)
    every = bus.subscribe(lambda event: None, Event)
    assert bus.wants(RuntimeRetired)
    every.close()
    some.close()
    assert not bus.wants(WatcherDegraded)
    assert not bus.wants(RuntimeRetired)
