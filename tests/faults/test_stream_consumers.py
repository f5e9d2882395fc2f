"""F79, F80, F81, F86 in every framing: consumers that are slow, leave, forget, or come back too late."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from core.llm.testing.fault_dialects import WIRE_DIALECTS
from core.llm.testing.wire_steps import Stall, WireScript, stream
from tests.faults.broken_streams import BEGUN, Streams, broken, broken_streams, whole
from tests.faults.rig import SOON

DIALECTS = ["anthropic", "azure", "bedrock", "gemini", "ollama", "openai", "openai_responses"]
AHEAD = 64
"""Megabytes that the server is ready to send ahead."""


@pytest.fixture(params=DIALECTS)
async def streams(request: Any, no_leaks: Any) -> AsyncIterator[Streams]:
    """A service on one upstream that speaks the dialect; no limit runs unless the test moves the clock."""
    far = {"total": 5000}
    async with broken_streams("error", dialect=request.param, fallback=(), limits=far, clock=FakeClock()) as found:
        yield found


def far_ahead(name: str) -> WireScript:
    """A stream that begins and then goes on for megabytes: pieces of text, a kilobyte each."""
    dialect = WIRE_DIALECTS[name]
    frames = dialect.frames("w" * 1000 + " end", "m")
    begun = [*frames.opening, *frames.pieces[:1]]
    many = b"".join(frames.pieces[:1] * 1000)
    return stream([*begun, *[many] * AHEAD], content_type=dialect.content_type, end=False).then(Stall())


async def test_F79_reading_pauses_while_the_consumer_sleeps(streams: Streams) -> None:
    """What is held for one stream is less than a megabyte; the rest waits at the server, and no limit runs."""
    streams.faulty.will(far_ahead(streams.dialect.name))
    async with streams.llm.stream("hi", model="route", max_tokens=10) as events:
        while not (await anext(events)).text:
            pass
        await streams.clock.advance(100)  # longer than every limit of the route
        await asyncio.sleep(0.5)
        assert streams.faulty.unsent_bytes > 20_000_000
        assert held_bytes(streams) < 2**20
        assert (await anext(events)).text


def held_bytes(streams: Streams) -> int:
    """Bytes that have been read from the network and not yet been asked for."""
    runtime = streams.llm._holder.current
    transport: Any = runtime.providers["faulty"].transport  # type: ignore[attr-defined]  # a provider over HTTP
    while not hasattr(transport, "_live"):
        # Some transports add to requests, and hand them to this one.
        transport = getattr(transport, "_transport", None) or transport._inner
    (attempt,) = transport._live.members
    return int(attempt.response.content._size)


async def test_F79_the_limits_do_not_run_while_the_consumer_holds_an_event(streams: Streams) -> None:
    """Each piece is held longer than silence is allowed to last; the answer is whole."""
    streams.faulty.will(whole(streams.dialect, "a b c d", gap=0.005))
    got = ""
    async with streams.llm.stream("hi", model="route", max_tokens=10, timeout=1000) as events:
        async for event in events:
            got += event.text
            if event.text:
                await streams.clock.advance(40)
    assert got == "a b c d"


@pytest.mark.parametrize("how", ["break", "raise", "cancel", "cancel_stream"])
async def test_F80_leaving_closes_the_upstream(streams: Streams, how: str) -> None:
    """Within a quarter of a second, however the consumer leaves, or is made to."""
    streams.faulty.will(broken(streams.dialect, "stall"))
    got = asyncio.Event()

    async def consume() -> None:
        async with streams.llm.stream("hi", model="route", max_tokens=10) as events:
            text = ""
            async for event in events:
                text += event.text
                if text == BEGUN:
                    got.set()
                    if how == "break":
                        return
                    if how == "raise":
                        raise LookupError("the consumer's own")

    task = asyncio.create_task(consume())
    await asyncio.wait_for(got.wait(), SOON)
    if how == "cancel":
        task.cancel()
    elif how == "cancel_stream":
        (open_now,) = streams.llm.active_streams()
        assert streams.llm.cancel_stream(open_now.call_id)
    await asyncio.gather(task, return_exceptions=True)
    await streams.clock.advance(0.25)
    await asyncio.wait_for(streams.faulty.connections[0].ended.wait(), SOON)
    assert streams.faulty.connections[0].peer_closed_at is not None
    assert streams.llm.active_streams() == ()


async def test_F81_a_dropped_stream_is_reclaimed(streams: Streams) -> None:
    """The connection is closed, the lease given back, and a warning says what was forgotten."""
    streams.faulty.will(broken(streams.dialect, "stall"))
    stream_ = streams.llm.stream_generate("hi", model="route", max_tokens=10)
    while not (await anext(stream_)).text:
        pass
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del stream_
        gc.collect()
    assert [warning.category for warning in seen] == [ResourceWarning]
    await streams.clock.advance(0.25)
    await asyncio.wait_for(streams.faulty.connections[0].ended.wait(), SOON)
    async with asyncio.timeout(SOON):
        while streams.llm.active_streams():
            await asyncio.sleep(0)


async def test_F86_coming_back_after_the_deadline(streams: Streams) -> None:
    """The error comes out of the stream, never into what the consumer was doing."""
    streams.faulty.will(broken(streams.dialect, "stall"))
    async with streams.llm.stream("hi", model="route", max_tokens=10, timeout=30) as events:
        got = ""
        while got != BEGUN:
            got += (await anext(events)).text
        await streams.clock.advance(31)
        with pytest.raises(ProviderError) as caught:
            await anext(events)
    assert caught.value.code == "deadline_exceeded"
    assert caught.value.partial is not None
    assert caught.value.partial.text == BEGUN


@pytest.mark.parametrize("how", ["leave", "cancel_stream"])
async def test_F80_leaving_stops_a_local_model(how: str) -> None:
    """Its worker is told to stop, and is free for the next call."""
    pytest.importorskip("xllamacpp", reason="the engine of the embedded model is an extra")
    config = {
        "default_model": "local/tiny",
        "providers": {"local": {"type": "llama_cpp", "models": {"tiny": {"path": "embedded"}}}},
    }
    async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
        llm = container.get(LLMService)
        async with llm.stream("What does the retry layer do?", temperature=0) as events:
            while not (await anext(events)).text:
                pass
            (open_now,) = llm.active_streams()
            assert open_now.target == ("local", "tiny")
            if how == "cancel_stream":
                assert llm.cancel_stream(open_now.call_id)
                with pytest.raises(ProviderError) as caught:
                    await events.response()
                assert caught.value.code == "stream_cancelled"
        provider: Any = llm._holder.current.providers["local"]
        async with asyncio.timeout(SOON):
            while provider._models["tiny"]._worker.calls:
                await asyncio.sleep(0.005)
        assert (await llm.generate("What does the retry layer do?", temperature=0)).content
