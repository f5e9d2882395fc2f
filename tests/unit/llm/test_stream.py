"""A streamed answer as the caller sees it."""

import asyncio
import gc
import sys
from typing import Any

import pytest

from core.llm.common.events import CallFinished
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Usage
from core.llm.providers.base.response import StreamFinish, StreamStart
from core.llm.testing import EventRecorder, FakeClock, Gate
from tests.unit.llm.support import World, serving

pytestmark = pytest.mark.leakcheck


async def eventually_free(world: World) -> None:
    """Let what ends by itself end."""
    async with asyncio.timeout(30):
        while world.leases():
            await asyncio.sleep(0.01)


async def test_events_come_one_by_one_and_add_up_to_the_response() -> None:
    """Start first, finish last, text in between; the response holds all of it."""
    async with serving() as world:
        world.alpha.will_stream("Hel", "lo", usage=Usage(2, output=1))
        async with world.service.stream("hi", metadata={"a": 1}) as stream:
            events = [event async for event in stream]
            final = await stream.response()
        assert "".join(event.text for event in events) == "Hello"
        assert isinstance(events[0], StreamStart)
        assert isinstance(events[-1], StreamFinish)
        assert (final.content, final.usage, final.metadata) == ("Hello", Usage(2, output=1), {"a": 1})
        assert final.time_to_first_token is not None
        assert final.trace is not None
        assert world.leases() == 0


async def test_the_plain_iterator_gives_the_same_events() -> None:
    """`stream_generate` needs no context when it is read to its end."""
    async with serving() as world:
        world.alpha.will_stream("Hel", "lo")
        assert "".join([event.text async for event in world.service.stream_generate("hi")]) == "Hello"
        assert world.leases() == 0


async def test_nothing_is_sent_before_the_stream_is_entered() -> None:
    """A stream that is never used costs nothing and leaves nothing."""
    async with serving() as world:
        stream = world.service.stream("hi")
        assert (world.alpha.requests, world.leases()) == ([], 0)
        await stream.aclose()
        assert [event async for event in stream] == []


async def test_F80_leaving_early_closes_the_provider_and_counts_as_abandoned() -> None:
    """The provider's iterator is closed before the block is left."""
    async with serving() as world:
        seen = EventRecorder(world.events, CallFinished)
        world.alpha.will_stream("Hel", Gate(), "lo")
        async with world.service.stream("hi") as stream:
            async for event in stream:
                if event.text:
                    break
        assert (world.alpha.active, world.leases()) == (0, 0)
        assert seen.last(CallFinished).outcome == "abandoned"
        with pytest.raises(RuntimeError, match="closed before its end"):
            await stream.response()


async def test_F80_an_exception_in_the_body_closes_the_provider() -> None:
    """The caller's own error is what leaves the block."""
    async with serving() as world:
        world.alpha.will_stream("Hel", Gate(), "lo")
        with pytest.raises(KeyError):
            async with world.service.stream("hi") as stream:
                await anext(stream)
                raise KeyError("mine")
        assert (world.alpha.active, world.leases()) == (0, 0)


async def test_F80_a_cancelled_consumer_closes_the_provider() -> None:
    """Cancellation passes through, and is written down as such."""
    async with serving() as world:
        seen = EventRecorder(world.events, CallFinished)
        (gate,) = world.alpha.will_stream("Hel", Gate(), "lo")

        async def consume() -> None:
            async for _ in world.service.stream_generate("hi"):
                pass

        task = asyncio.create_task(consume())
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (world.alpha.active, world.leases()) == (0, 0)
        assert seen.last(CallFinished).outcome == "cancelled"


async def test_F81_a_dropped_stream_is_reclaimed_with_a_warning() -> None:
    """Nobody closes it, so the finaliser does: connection and lease come back within moments."""
    async with serving() as world:
        world.alpha.will_stream("Hel", Gate(), "lo")
        streams = [world.service.stream("hi")]
        await anext(streams[0])
        with pytest.warns(ResourceWarning, match="dropped before its end"):
            streams.clear()
        await eventually_free(world)
        assert world.alpha.active == 0


async def test_F81_it_is_reclaimed_where_warnings_are_errors_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaning up comes before complaining."""
    raised: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: raised.append(args.exc_type))
    async with serving() as world:
        world.alpha.will_stream("Hel", Gate(), "lo")
        stream = world.service.stream("hi")
        await anext(stream)
        del stream
        gc.collect()
        assert raised == [ResourceWarning]
        await eventually_free(world)
        assert world.alpha.active == 0


@pytest.mark.parametrize("opened", [True, False])
async def test_two_consumers_are_refused_clearly_and_the_first_is_not_disturbed(opened: bool) -> None:
    """The second gets an error, never a short or an empty answer."""
    async with serving() as world:
        (gate,) = world.alpha.will_stream(*(["Hel"] if opened else []), Gate(), "lo")
        stream = world.service.stream("hi")

        async def consume() -> str:
            return "".join([event.text async for event in stream])

        first = asyncio.create_task(consume())
        await gate.reached()
        with pytest.raises(RuntimeError, match="one consumer"):
            await anext(stream)
        gate.open()
        assert await first == ("Hello" if opened else "lo")
        assert world.leases() == 0


async def test_closing_from_another_task_ends_the_reader_with_an_error() -> None:
    """A watchdog may close a stream; its reader does not take the rest for a complete answer."""
    async with serving() as world:
        (gate,) = world.alpha.will_stream("Hel", Gate(), "lo")
        stream = world.service.stream("hi")

        async def consume() -> str:
            return "".join([event.text async for event in stream])

        reader = asyncio.create_task(consume())
        await gate.reached()
        await stream.aclose()
        with pytest.raises(ProviderError, match="closed while") as caught:
            await reader
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hel"
        assert (world.alpha.active, world.leases()) == (0, 0)


async def test_response_reads_the_rest_and_may_be_asked_for_again() -> None:
    """Whoever wants only the whole answer need not iterate."""
    async with serving() as world:
        world.alpha.will_stream("Hel", "lo")
        async with world.service.stream("hi") as stream:
            await anext(stream)
            first = await stream.response()
            assert first.content == "Hello"
            assert await stream.response() is first
        assert await stream.response() is first


async def test_F60_fallback_still_works_after_a_stream_that_only_began() -> None:
    """The consumer sees one start, that of the provider that answers."""
    async with serving(models={"fast": {"use": "alpha/m", "fallback": ["beta"]}}) as world:
        world.alpha.will_stream(StreamStart("m", "alpha"), ProviderError("network_error", "gone"))
        world.beta.will_stream("Bonjour")
        async with world.service.stream("hi", model="fast") as stream:
            events = [event async for event in stream]
            final = await stream.response()
        assert [event.provider for event in events if isinstance(event, StreamStart)] == ["beta"]
        assert (final.content, final.provider) == ("Bonjour", "beta")


async def test_F61_no_fallback_after_the_first_output() -> None:
    """An error is reported, with what was delivered, instead of starting over elsewhere."""
    async with serving(models={"fast": {"use": "alpha/m", "fallback": ["beta"]}}) as world:
        world.alpha.will_stream("Hel", ProviderError("network_error", "gone"))
        seen = []
        with pytest.raises(ProviderError) as caught:
            async with world.service.stream("hi", model="fast") as stream:
                async for event in stream:
                    seen.append(event.text)
        assert "".join(seen) == "Hel"
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hel"
        assert caught.value.trace is not None
        assert (world.beta.requests, world.leases()) == ([], 0)


async def test_F86_a_consumer_that_comes_back_after_the_deadline_gets_the_error() -> None:
    """Its own code is never interrupted."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        world.alpha.will_stream("Hel", Gate(), "lo")
        async with world.service.stream("hi", timeout=5) as stream:
            while (await anext(stream)).text != "Hel":
                pass
            await clock.advance(10.0)
            with pytest.raises(ProviderError) as caught:
                await anext(stream)
        assert caught.value.code == "deadline_exceeded"
        assert (world.alpha.active, clock.pending) == (0, 0)


@pytest.mark.parametrize("end", ["read", "left"])
async def test_a_stream_leaves_no_timer_behind(end: Any) -> None:
    """The deadline of a call that has ended wakes nobody up."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        before = clock.pending
        async with world.service.stream("hi there", timeout=100) as stream:
            assert clock.pending == before + 1
            if end == "read":
                await stream.response()
        assert clock.pending == before
