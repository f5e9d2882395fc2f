"""The open streams of a service: seen, cancelled, and closed when nobody reads them any more."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.llm.common.events import CallFailed, CallFinished
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import StreamEvent, TextDelta
from core.llm.testing import EventRecorder, FakeClock, Gate
from tests.unit.llm.support import World, serving


def only(world: World):
    """The one open stream."""
    (stream,) = world.service.active_streams()
    return stream


async def test_an_open_stream_is_listed_with_what_it_has_delivered() -> None:
    """Who answers, for whom, since when, how much, and what the consumer does."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        assert world.service.active_streams() == ()
        (gate,) = world.alpha.will_stream("Hello ", Gate(), "you")
        stream = world.service.stream("hi", user="ada", metadata={"job": 7})
        async with stream as events:
            await anext(events)
            await anext(events)
            await clock.advance(5)
            seen = only(world)
            assert (seen.requested, seen.target) == ("", ("alpha", "m"))
            assert (seen.state, seen.idle, seen.age) == ("idle", 5.0, 5.0)
            assert (seen.characters, seen.tokens) == (6, 2)
            assert (seen.user, seen.metadata) == ("ada", {"job": 7})
            assert (clock.now() - seen.started).total_seconds() == 5.0
            reading = asyncio.create_task(anext(events))
            await gate.reached()
            assert (only(world).state, only(world).idle) == ("waiting", 0.0)
            gate.open()
            await reading
        assert world.service.active_streams() == ()


async def test_a_stream_that_waits_for_its_first_output_is_listed() -> None:
    """It can be cancelled as well: whoever opens it gets the error."""
    async with serving() as world:
        (gate,) = world.alpha.will_stream(Gate(), "late")
        opening = asyncio.create_task(world.service.stream("hi").open())
        await gate.reached()
        seen = only(world)
        assert (seen.state, seen.characters) == ("opening", 0)
        assert world.service.cancel_stream(seen.call_id)
        with pytest.raises(ProviderError) as caught:
            await opening
        assert caught.value.code == "stream_cancelled"
        assert (world.leases(), world.alpha.active, world.service.active_streams()) == (0, 0, ())


async def test_cancelling_a_stream_that_is_being_read() -> None:
    """The reader gets the error at once, with what was delivered."""
    async with serving() as world:
        (gate,) = world.alpha.will_stream("Hello ", Gate(), "you")
        async with world.service.stream("hi") as events:
            await anext(events)
            await anext(events)
            reading = asyncio.create_task(anext(events))
            await gate.reached()
            assert world.service.cancel_stream(only(world).call_id, "the page was closed")
            with pytest.raises(ProviderError, match="the page was closed") as caught:
                await reading
        error = caught.value
        assert (error.type, error.code, error.retryable) == ("cancelled", "stream_cancelled", False)
        assert error.partial is not None
        assert error.partial.text == "Hello "
        assert (world.leases(), world.alpha.active) == (0, 0)


async def test_cancelling_a_stream_that_nobody_reads_closes_its_connection_at_once() -> None:
    """The consumer is busy: the provider is let go now, and the error comes when it asks again, never a good end."""
    async with serving() as world:
        seen = EventRecorder(world.events)
        world.alpha.will_stream("Hello ", Gate(), "you")
        stream = world.service.stream("hi")
        await anext(stream)
        await anext(stream)
        assert world.service.cancel_stream(only(world).call_id)
        async with asyncio.timeout(30):
            while world.leases() or world.alpha.active:
                await asyncio.sleep(0)
        assert world.service.active_streams() == ()
        assert [event.outcome for event in seen.of(CallFinished)] == ["cancelled"]
        with pytest.raises(ProviderError) as caught:
            await anext(stream)
        assert caught.value.code == "stream_cancelled"
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello "
        assert caught.value.trace is not None
        with pytest.raises(RuntimeError, match="before its end"):
            await stream.response()


async def test_a_stream_that_is_ended_from_outside_holds_its_configuration_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its consumer goes on at once; the provider is not closed under a connection that is still being given back."""
    async with serving() as world:
        closing = asyncio.Event()

        class Slow(AsyncIterator[StreamEvent]):
            async def __anext__(self) -> StreamEvent:
                return TextDelta("Hello ")

            async def aclose(self) -> None:
                await closing.wait()

        monkeypatch.setattr(world.provider("alpha"), "stream_generate", lambda _: Slow())
        async with world.service.stream("hi") as events:
            await anext(events)
            assert world.service.cancel_stream(only(world).call_id)
        assert world.leases() == 1
        closing.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (world.leases(), world.service.active_streams()) == (0, ())


@pytest.mark.parametrize("policy", ["error", "restart"])
async def test_the_trace_of_a_stream_that_is_ended_from_outside_says_so_under_any_policy(policy: str) -> None:
    """Its attempt was no answer."""
    models = {"route": {"use": "alpha/m", "fallback": [], "mid_stream": policy}}
    async with serving(models=models) as world:
        world.alpha.will_stream("Hello ", Gate(), "you")
        async with world.service.stream("hi", model="route") as events:
            await anext(events)
            await anext(events)
            assert world.service.cancel_stream(only(world).call_id)
            with pytest.raises(ProviderError) as caught:
                await anext(events)
        await asyncio.sleep(0)
        assert caught.value.trace is not None
        (attempt,) = caught.value.trace.attempts
        assert (attempt.error_type, attempt.code, attempt.decision) == ("cancelled", "stream_cancelled", "raise")


async def test_cancelling_twice_or_something_unknown_is_harmless() -> None:
    """The first reason stands."""
    async with serving() as world:
        assert not world.service.cancel_stream("no such call")
        world.alpha.will_stream("Hello ", Gate())
        stream = world.service.stream("hi")
        await anext(stream)
        call_id = only(world).call_id
        assert world.service.cancel_stream(call_id, "one")
        assert not world.service.cancel_stream(call_id, "two")
        with pytest.raises(ProviderError, match="one"):
            await anext(stream)


async def test_cancelling_says_nothing_about_the_provider() -> None:
    """It did nothing wrong: no failure is counted."""
    async with serving() as world:
        world.alpha.will_stream("Hello ", Gate())
        stream = world.service.stream("hi")
        await anext(stream)
        world.service.cancel_stream(only(world).call_id)
        with pytest.raises(ProviderError):
            await anext(stream)
        assert world.holder.current.state.upstream("alpha").consecutive_failures == 0


async def test_an_idle_consumer_loses_its_stream_after_the_configured_time() -> None:
    """To the moment; the connection is closed although nobody comes back."""
    clock = FakeClock()
    async with serving(clock=clock, lifecycle={"stream_idle_timeout": "30s"}) as world:
        timers = clock.pending
        world.alpha.will_stream("Hello ", Gate())
        stream = world.service.stream("hi", timeout=3600)
        await anext(stream)
        await clock.advance(10)
        await anext(stream)
        await clock.advance(29.95)
        assert world.alpha.active == 1
        await clock.advance(0.1)
        assert (world.alpha.active, world.leases()) == (0, 0)
        with pytest.raises(ProviderError, match="stream_idle_timeout") as caught:
            await anext(stream)
        assert (caught.value.type, caught.value.code) == ("cancelled", "consumer_idle")
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello "
        assert clock.pending == timers


async def test_a_consumer_that_waits_is_not_idle() -> None:
    """However long the provider takes: that has limits of its own."""
    clock = FakeClock()
    async with serving(clock=clock, lifecycle={"stream_idle_timeout": "30s"}) as world:
        (gate,) = world.alpha.will_stream("Hello ", Gate(), "you")
        async with world.service.stream("hi", timeout=3600) as events:
            await anext(events)
            await anext(events)
            reading = asyncio.create_task(anext(events))
            await gate.reached()
            await clock.advance(50)
            gate.open()
            assert (await reading).text == "you"
            # What it waited does not count against it afterwards.
            await clock.advance(25)
            assert (await events.response()).content == "Hello you"


async def test_without_a_limit_nothing_watches() -> None:
    """The default: no timer, and a stream may be left alone as long as its deadline allows."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        timers = clock.pending
        world.alpha.will_stream("Hello ", Gate(), "you")[0].open()
        async with world.service.stream("hi", timeout=100_000) as events:
            await anext(events)
            armed = clock.pending - timers
            assert armed <= 1, "only the deadline"
            await clock.advance(50_000)
            assert (await events.response()).content == "Hello you"


async def test_f80_a_consumer_that_never_comes_back_holds_nothing_beyond_the_deadline() -> None:
    """Neither a connection nor a place under the limits; it gets the error with what was delivered if it does."""
    clock = FakeClock()
    async with serving(clock=clock, providers={"alpha": {"rate_limits": {"max_concurrency": 1}}}) as world:
        world.alpha.will_stream("Hello ", Gate(), "you")
        stream = world.service.stream("hi", timeout=10)
        await anext(stream)
        await anext(stream)
        await clock.advance(9)
        assert (world.leases(), world.alpha.active) == (1, 1)
        await clock.advance(2)
        assert (world.leases(), world.alpha.active, world.service.active_streams()) == (0, 0, ())
        assert (await world.service.generate("the next one", timeout=1)).content
        with pytest.raises(ProviderError) as caught:
            await anext(stream)
        error = caught.value
        assert (error.code, error.retryable, error.billing) == ("deadline_exceeded", False, "estimated")
        assert error.partial is not None
        assert error.partial.text == "Hello "


async def test_f80_a_consumer_that_never_comes_back_holds_no_shutdown_up() -> None:
    """What it had is closed with the provider, not after it."""
    async with serving(lifecycle={"shutdown_timeout": "50ms"}) as world:
        world.alpha.will_stream("Hello ", Gate(), "you")
        stream = world.service.stream("hi")
        await anext(stream)
        await anext(stream)
        await world.service.stop()
        assert (world.leases(), world.alpha.active) == (0, 0)
        with pytest.raises(ProviderError) as caught:
            await anext(stream)
        assert caught.value.code == "drained"


async def test_each_stream_has_its_own_time() -> None:
    """One timer serves all of them; it goes when the last one does."""
    clock = FakeClock()
    async with serving(clock=clock, lifecycle={"stream_idle_timeout": "30s"}) as world:
        timers = clock.pending
        for _ in range(3):
            world.alpha.will_stream("Hello ", Gate())
        streams = []
        for _ in range(3):
            stream = world.service.stream("hi", timeout=3600)
            await anext(stream)
            streams.append(stream)
            await clock.advance(9.95)
        assert len(world.service.active_streams()) == 3
        await clock.advance(0.2)
        assert len(world.service.active_streams()) == 2
        await clock.advance(10)
        assert len(world.service.active_streams()) == 1
        await streams[2].aclose()
        assert clock.pending == timers


async def test_two_tasks_cannot_open_one_stream() -> None:
    """It has one consumer, from the first event on."""
    async with serving() as world:
        (gate,) = world.alpha.will_stream(Gate(), "late")
        stream = world.service.stream("hi")
        opening = asyncio.create_task(anext(stream))
        await gate.reached()
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        gate.open()
        await opening
        await stream.aclose()


async def test_closing_a_stream_while_it_is_opened_ends_the_call() -> None:
    """Whoever opens it gets the error; nothing is left."""
    async with serving() as world:
        seen = EventRecorder(world.events)
        (gate,) = world.alpha.will_stream(Gate(), "late")
        stream = world.service.stream("hi")
        opening = asyncio.create_task(stream.open())
        await gate.reached()
        await stream.aclose()
        with pytest.raises(ProviderError, match="closed while another task"):
            await opening
        assert (world.leases(), world.alpha.active) == (0, 0)
        assert len(seen.of(CallFailed)) == 1
