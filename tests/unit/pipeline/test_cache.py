"""Answers that are given again: which ones are, and what they say about themselves."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from core.llm.common.decisions import CacheHit
from core.llm.common.events import EventBus
from core.llm.common.exceptions import NotCached, ProviderError
from core.llm.common.messages import ThinkingPart, ToolCall
from core.llm.common.types import Cost, Usage
from core.llm.pipeline.cached_answer import packed, packed_parts, unpacked
from core.llm.pipeline.guardrails import guardrails
from core.llm.pipeline.pii_masking import PiiMasking
from core.llm.providers.base.response import RefusalDelta, ThinkingDelta, UsageReport
from core.llm.testing import EventRecorder
from tests.unit.pipeline.caching import USAGE, Caching, read
from tests.unit.pipeline.support import an_answer, an_error

MODES = ("generate", "stream")


class Point(BaseModel):
    """An object to ask for."""

    x: int


@pytest.mark.parametrize("filled_by", MODES)
@pytest.mark.parametrize("asked_by", MODES)
async def test_g23_an_answer_is_given_again_streamed_or_not(filled_by: str, asked_by: str) -> None:
    """Whichever way it came: the same text, thinking, tool calls and reasons; no cost, and no usage."""
    world, events = Caching(), EventBus()
    tool = ToolCall("1", "find", {"q": ["x"]})
    world.provider.will_answer("hello", thinking="hm", tool_calls=[tool], usage=USAGE)
    first, _ = await read(world.cached, world.call(filled_by))
    await world.clock.advance(7)
    with EventRecorder(events) as recorder:
        call = world.call(asked_by, events=events)
        second, _ = await read(world.cached, call)
    assert world.sent == 1
    assert (second.content, second.tool_calls, second.thinking) == ("hello", (tool,), "hm")
    assert second.finish_reason == first.finish_reason
    assert (second.model, second.provider) == (first.model, first.provider)
    assert (first.cached, second.cached) == (False, True)
    assert first.cost == Cost(Decimal("0.0002"))
    assert second.cost == Cost(Decimal(0), "USD", "cache")
    assert second.usage == Usage()
    assert recorder.of(CacheHit) == [CacheHit(call.id, 7.0, first.cost)]
    assert call.trace.notes == ["answered from the cache, 7 s old, which saved 0.0002 USD"]
    assert call.trace.attempts == []


async def test_nobody_can_change_what_is_kept() -> None:
    """Neither the caller who was answered first nor one who was given it again."""
    world = Caching()
    world.provider.will_answer(tool_calls=[ToolCall("1", "find", {"q": ["x"]})], usage=USAGE)
    for mode in ("stream", "generate", "stream"):
        response, _ = await read(world.cached, world.call(mode))
        arguments: Any = response.tool_calls[0].arguments
        assert arguments == {"q": ["x"]}
        arguments["q"].append("spoilt")
        arguments["more"] = 1
        response.parts = ()
    assert world.sent == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "case", ["length", "content_filter", "refusal", "refusal-text", "other", "empty", "estimated", "error", "bad-tool"]
)
async def test_f103_what_is_not_whole_and_certain_is_never_kept(mode: str, case: str) -> None:
    """Truncated, filtered, refused, empty, estimated, failed, or with a tool call that cannot be read."""
    world = Caching()
    script = world.provider.script
    for _ in range(2):
        match case:
            case "length" | "content_filter" | "refusal" | "other":
                script.will_stream("text", finish=case, usage=USAGE)
            case "refusal-text":
                script.will_stream(RefusalDelta("no"), "text", usage=USAGE)
            case "empty":
                script.will_stream(ThinkingDelta("hm"), usage=USAGE)
            case "estimated":
                script.will_stream("text", UsageReport(Usage(1, output=1, estimated=True)))
            case "error":
                script.will_raise(an_error())
            case _:
                script.will_answer(tool_calls=[ToolCall.from_text("1", "find", "{broken")], usage=USAGE)
        try:
            await read(world.cached, world.call(mode))
        except ProviderError:
            assert case == "error"
    assert world.sent == 2
    assert len(world.store) == 0


async def test_f103_a_stream_that_breaks_or_is_left_is_not_kept() -> None:
    """Only a stream that was read to its end is an answer."""
    world = Caching()
    world.provider.will_stream("half", an_error())
    with pytest.raises(ProviderError):
        await read(world.cached, world.call("stream"))
    world.provider.will_stream("a", "b", usage=USAGE)
    reply = await world.cached(world.call("stream"))
    await reply.next()
    await reply.end("abandoned")
    assert len(world.store) == 0


@pytest.mark.parametrize(
    ("enabled", "said", "sent", "kept"),
    [
        (True, None, 1, 1),
        (True, True, 1, 1),
        (True, False, 2, 0),
        (True, "refresh", 2, 1),
        ("on_request", None, 2, 0),
        ("on_request", True, 1, 1),
        ("on_request", "refresh", 2, 1),
    ],
)
async def test_a_request_chooses_within_what_is_configured(enabled: Any, said: Any, sent: int, kept: int) -> None:
    """`cache` of the request: as configured, on, off, or asked anew and kept."""
    world = Caching(enabled=enabled)
    for text in ("one", "two"):
        world.provider.will_answer(text, usage=USAGE)
    for _ in range(2):
        last, _ = await read(world.cached, world.call(cache=said))
    assert world.sent == sent
    assert len(world.store) == kept
    if said == "refresh":
        again, _ = await read(world.cached, world.call(cache=True))
        assert (last.content, again.content) == ("two", "two")


async def test_a_request_for_the_cache_only_sends_nothing() -> None:
    """It is answered from the cache, or not at all."""
    world = Caching()
    with pytest.raises(NotCached):
        await read(world.cached, world.call(cache="only"))
    assert world.sent == 0
    world.provider.will_answer("kept", usage=USAGE)
    await read(world.cached, world.call())
    assert (await read(world.cached, world.call(cache="only")))[0].content == "kept"


async def test_an_answer_grows_too_old() -> None:
    """On the monotonic clock, whatever the calendar does; a shorter time in an edited configuration counts at once."""
    world = Caching(ttl=10)
    for _ in range(2):
        world.provider.will_answer("x", usage=USAGE)
    await read(world.cached, world.call())
    await world.clock.advance(9)
    await read(world.cached, world.call())
    assert world.sent == 1
    shorter = Caching(world.clock, ttl=5)
    shorter.store.put(*(await _entry(world)), world.clock.monotonic() - 6, 10.0)
    response, _ = await read(shorter.cached, shorter.call())
    assert (response.cached, shorter.sent) == (False, 1)
    await world.clock.advance(1)
    await read(world.cached, world.call())
    assert world.sent == 2


async def _entry(world: Caching) -> tuple[str, bytes]:
    key = next(iter(world.store._entries))
    stored = await world.store.get(key, world.clock.monotonic())
    assert stored is not None
    return key, stored.data


async def test_g23_a_damaged_or_foreign_entry_is_never_given() -> None:
    """Every changed byte is noticed, and so are an entry of another request and one of another form."""
    world = Caching()
    for _ in range(3):
        world.provider.will_answer("right", usage=USAGE)
    await read(world.cached, world.call())
    key, data = await _entry(world)
    for place in range(len(data)):
        assert unpacked(key, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) is None
    assert unpacked("another key", data) is None
    assert unpacked(key, data[:-1]) is None
    assert unpacked(key, b"") is None
    world.store.put(key, data[:-3] + b"xxx", world.clock.monotonic(), 100.0)
    response, _ = await read(world.cached, world.call())
    assert (response.content, response.cached, world.sent) == ("right", False, 2)


async def test_an_object_is_validated_anew_each_time() -> None:
    """By the class that this caller wants; its kept text is no promise."""
    world = Caching()
    world.provider.will_answer('{"x": 3}', usage=USAGE)
    objects = [(await read(world.cached, world.call(response_format=Point)))[0].object for _ in range(2)]
    assert objects == [Point(x=3), Point(x=3)]
    assert objects[0] is not objects[1]
    assert world.sent == 1


async def test_a_streamed_object_that_does_not_fit_is_not_kept() -> None:
    """It would fail again for as long as it is kept."""
    world = Caching()
    world.provider.will_stream('{"x": "none"}', usage=USAGE)
    await read(world.cached, world.call("stream", response_format=Point))
    assert len(world.store) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_guardrail_restores_is_not_kept(mode: str) -> None:
    """Two users whose requests differ in masked data only share an answer, and each reads his own data."""
    world = Caching()
    world.provider.will_answer("to [EMAIL_1]", usage=USAGE)
    handler = guardrails([PiiMasking()])[0](world.cached)
    for name in ("ada@b.de", "bob@c.de"):
        response, _ = await read(handler, world.call(mode, messages=f"write {name}"))
        assert response.content == f"to {name}"
    assert world.sent == 1
    assert b"@" not in (await _entry(world))[1]


def test_a_response_survives_its_way_through_bytes() -> None:
    """Everything that belongs to the answer; what belongs to one call does not."""
    response = an_answer("ünï\U0001f600", usage=Usage(1, 2, 3, 4, 5))
    response.parts = (
        ThinkingPart("hm", "sig", "red", "alpha"),
        *response.parts,
        ToolCall("1", "f", {"a": [None, 1.5]}),
    )
    response.cost = Cost(Decimal("0.10"), "EUR", "config", estimated=True)
    again = unpacked("k", packed("k", response, packed_parts(response.parts) or b""))
    assert again == response


async def test_what_json_cannot_hold_is_not_kept() -> None:
    """Half of a surrogate pair is a rare answer, and no reason to fail."""
    world = Caching()
    world.provider.will_answer("\ud83d", usage=USAGE)
    response, _ = await read(world.cached, world.call())
    assert response.content == "\ud83d"
    assert len(world.store) == 0
