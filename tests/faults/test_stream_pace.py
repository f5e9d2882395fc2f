"""F59 to F86, second half: streams that stall, trickle or outrun their consumer, and consumers that leave."""

import asyncio
import gc
import warnings

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from core.llm.testing.wire_steps import End, Send, Stall, script
from tests.faults.rig import SOON, TEXT

BEGUN = "The quick "


async def test_f75_pings_for_ever_before_output(make_rig, dialect):
    """Signs of life are not a first token; with nobody else to ask it is tried once more."""
    rig = await make_rig(dialect, provider={"timeouts": {"first_token": 0.2}})
    rig.server.otherwise(rig.dialect.stream([rig.dialect.ping] * 60, gap=0.02))
    outcome = await rig.stream()
    assert outcome.kind == ("timeout", "first_token_timeout")
    assert rig.hits == 2
    assert outcome.seconds < SOON


async def test_f75_pings_for_ever_after_output(make_rig, dialect):
    """They reset the limit of silence, not that of progress."""
    rig = await make_rig(dialect, provider={"timeouts": {"progress": 0.2}})
    rig.server.otherwise(rig.dialect.stream([*rig.dialect.begun(), *[rig.dialect.ping] * 60], gap=0.02))
    outcome = await rig.stream("chain")
    assert outcome.kind == ("timeout", "progress_timeout")
    assert outcome.error.partial.text == BEGUN
    assert outcome.billing == ["estimated"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


async def test_f76_silence_after_output(make_rig, dialect):
    """Ends at the idle limit, with everything that was delivered."""
    rig = await make_rig(dialect, provider={"timeouts": {"idle": 0.12}})
    rig.server.otherwise(rig.dialect.stream(rig.dialect.begun(), end=False).then(Stall()))
    outcome = await rig.stream("chain")
    assert outcome.kind == ("timeout", "idle_timeout")
    assert outcome.error.partial.text == BEGUN
    assert outcome.billing == ["estimated"]
    assert 0.12 <= outcome.seconds < SOON
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


async def test_f77_head_and_then_silence(make_rig, dialect):
    """Tried once more when alone; passed over when there is somebody else."""
    rig = await make_rig(dialect, provider={"timeouts": {"first_token": 0.2}})
    rig.server.otherwise(rig.dialect.stream([], end=False).then(Stall()))
    alone = await rig.stream()
    assert alone.kind == ("timeout", "first_token_timeout")
    assert alone.billing == ["ambiguous"] * 2
    chained = await rig.stream("chain")
    assert chained.text == "spare"
    assert chained.seconds < SOON
    assert rig.hits == 3


async def test_f77_silence_is_allowed_as_long_as_configured(make_rig, dialect):
    """A reasoning model or a cold start may take longer."""
    rig = await make_rig(dialect)
    frames = dialect.frames(TEXT)
    rig.server.will(dialect.stream([], end=False).then(Stall(0.3), *(Send(frame) for frame in frames), End()))
    assert (await rig.stream()).text == TEXT
    assert rig.hits == 1


async def test_f78_a_head_that_drips(make_rig, dialect):
    rig = await make_rig(dialect, provider={"timeouts": {"first_token": 0.2}})
    rig.server.otherwise(script(Send(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 500, slice=1, gap=0.02, raw=True)))
    outcome = await rig.stream()
    assert outcome.kind == ("timeout", "first_token_timeout")
    assert outcome.billing == ["ambiguous"] * 2
    assert outcome.seconds < SOON


async def test_f79_a_slow_consumer(make_rig, dialect):
    """The limits do not run while the consumer holds an event, and what piles up is bounded."""
    clock = FakeClock()
    rig = await make_rig(dialect, provider={"timeouts": {"total": 5000}}, clock=clock)
    text = " ".join(["word"] * 6)
    rig.server.will(rig.dialect.stream(rig.dialect.frames(text), gap=0.005))
    got = ""
    async with rig.llm.stream("hi", model="only", timeout=1000) as events:
        async for event in events:
            got += event.text
            if event.text:
                await clock.advance(40)
    assert got == text


async def test_f79_reading_pauses_when_nobody_takes(rig):
    """A server that sends megabytes ahead is held back by the connection itself."""
    piece = rig.dialect.begun(1)[-1]
    padding = b": " + b"p" * 100_000 + b"\n\n" if rig.dialect.name == "openai" else b" " * 100_000 + b"\n"
    rig.server.will(rig.dialect.stream([*rig.dialect.opening, piece, *[padding] * 200], end=False).then(Stall()))
    async with rig.llm.stream("hi", model="only") as events:
        async for event in events:
            if event.text:
                break
        await asyncio.sleep(0.1)
        assert rig.server.unsent_bytes > 10_000_000


@pytest.mark.parametrize("how", ["break", "raise", "cancel"])
async def test_f80_the_consumer_leaves(rig, how):
    """The upstream connection closes long before a limit would close it, and the next call works."""
    rig.server.will(rig.dialect.stream(rig.dialect.begun(), end=False).then(Stall()))

    async def consume() -> None:
        async with rig.llm.stream("hi", model="only") as events:
            async for event in events:
                if event.text == BEGUN[4:]:
                    if how == "break":
                        break
                    if how == "raise":
                        raise LookupError("the consumer's own")

    task = asyncio.create_task(consume())
    if how == "cancel":
        await rig.server.wait_for_requests(1)
        await asyncio.sleep(0.05)
        task.cancel()
    expected = {"break": (), "raise": LookupError, "cancel": asyncio.CancelledError}[how]
    if expected:
        with pytest.raises(expected):
            await task
    else:
        await task
    await asyncio.wait_for(rig.server.connections[0].ended.wait(), SOON)
    rig.server.will(rig.dialect.answer())
    assert (await rig.generate()).text == TEXT


async def test_f81_the_consumer_drops_the_stream(make_rig, dialect):
    """The connection closes at once, a warning says what was forgotten, and the pool has its slot back."""
    rig = await make_rig(dialect, provider={"max_connections": 1})
    rig.server.will(dialect.stream(dialect.begun(), end=False).then(Stall()), dialect.answer())
    stream = rig.llm.stream_generate("hi", model="only")
    while not (await anext(stream)).text:
        pass
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del stream
        gc.collect()
    assert [warning.category for warning in seen] == [ResourceWarning]
    await asyncio.wait_for(rig.server.connections[0].ended.wait(), SOON)
    assert (await rig.generate()).text == TEXT


async def test_f86_the_consumer_returns_after_the_deadline(make_rig, dialect):
    """The error comes out of the stream, never into what the consumer was doing."""
    clock = FakeClock()
    rig = await make_rig(dialect, clock=clock)
    rig.server.will(rig.dialect.stream(rig.dialect.begun(), end=False).then(Stall()))
    async with rig.llm.stream("hi", model="only", timeout=15) as events:
        got = ""
        while got != BEGUN:
            got += (await anext(events)).text
        await clock.advance(16)
        with pytest.raises(ProviderError) as caught:
            await anext(events)
    assert (caught.value.type, caught.value.code) == ("timeout", "deadline_exceeded")
    assert caught.value.partial.text == BEGUN
