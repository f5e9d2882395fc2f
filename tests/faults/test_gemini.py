"""Faults in Gemini's way: hints in the body, quotas by the day, blocked prompts, errors in the middle of a stream."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from core.llm.testing.gemini_server import GeminiAnswer
from core.llm.testing.wire_steps import answer, stream
from tests.faults.rig import KEY, TEXT, Dialect, Rig, json_bytes

MODEL = "wire-model"


def body(text: str, **fields: Any) -> bytes:
    """A whole answer."""
    return json_bytes({**GeminiAnswer(text).whole(MODEL), **fields})


def frame(chunk: Any) -> bytes:
    """One event, with Google's line ends."""
    return b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"


def frames(text: str, **_: Any) -> list[bytes]:
    """A streamed answer, one event for each word."""
    return [frame(chunk) for chunk in GeminiAnswer(text).chunks(MODEL)]


def error(message: str, *, code: int = 500, word: str = "INTERNAL", details: list[Any] | None = None) -> bytes:
    """The body of an error."""
    inner: dict[str, Any] = {"code": code, "message": message, "status": word}
    return json_bytes({"error": {**inner, "details": details} if details else inner})


GEMINI = Dialect(
    "gemini", {"type": "gemini", "api_key": KEY}, body, frames, error, "text/event-stream", b": ping\r\n\r\n", []
)


def limited(delay: str, quota: str = "GenerateRequestsPerMinutePerProjectPerModel") -> bytes:
    """The body of a 429 as Google writes it."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    return error("You exceeded your current quota.", code=429, word="RESOURCE_EXHAUSTED", details=details)


@pytest.fixture
async def rig(make_rig) -> Rig:
    """A rig with Gemini's wire format."""
    return await make_rig(GEMINI)


async def test_a_healthy_upstream_answers(rig):
    """The rig speaks the format: whole, and streamed."""
    rig.server.will(GEMINI.answer(), GEMINI.stream())
    assert (await rig.generate()).text == TEXT
    assert (await rig.stream()).text == TEXT


async def test_f28_a_hint_only_in_the_body(rig):
    """The fraction is read; beyond patience the caller learns how long it would take, and the spare answers."""
    rig.server.otherwise(answer(limited("45.837906927s"), 429))
    alone = await rig.generate()
    assert alone.kind == ("rate_limit", "RESOURCE_EXHAUSTED")
    assert alone.error.retry_after == pytest.approx(45.837906927, abs=0.5)
    assert rig.hits == 1
    chained = await rig.generate("chain")
    assert chained.text == "spare"


async def test_f28_a_short_hint_in_the_body_is_waited_for(rig):
    """As long as told, and no longer."""
    rig.server.will(answer(limited("0.137906927s"), 429))
    rig.server.otherwise(GEMINI.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert rig.hits == 2
    assert 0.137 <= outcome.attempts[1].waited < 0.6
    assert outcome.seconds >= 0.137


async def test_f20_a_daily_quota_is_not_waited_for(rig):
    """Although its status is 429 and it names a delay."""
    rig.server.otherwise(answer(limited("0.1s", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"), 429))
    outcome = await rig.generate()
    assert outcome.kind[0] == "quota_exceeded"
    assert rig.hits == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_f52_a_blocked_prompt_is_neither_tried_again_nor_routed_around(rig, streamed):
    """A 200 without candidates."""
    blocked: Mapping[str, Any] = GeminiAnswer(block_reason="PROHIBITED_CONTENT").whole(MODEL)
    rig.server.otherwise(stream([frame(blocked)]) if streamed else answer(json_bytes(blocked)))
    outcome = await (rig.stream("chain") if streamed else rig.generate("chain"))
    assert outcome.kind == ("content_filter", "PROHIBITED_CONTENT")
    assert outcome.text == ""
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


@pytest.mark.parametrize("shape", ["object", "list", "bare"])
async def test_f66_an_error_before_output_is_tried_again(rig, shape):
    """By its inner status, in whatever shape it comes."""
    overloaded = json.loads(error("The model is overloaded.", code=503, word="UNAVAILABLE"))
    broken = {
        "object": frame(overloaded),
        "list": frame([overloaded]),
        "bare": json_bytes([overloaded]),
    }[shape]
    rig.server.will(stream([broken]), GEMINI.stream())
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert rig.hits == 2


@pytest.mark.parametrize("shape", ["object", "bare"])
async def test_f66_an_error_after_output_ends_the_stream(rig, shape):
    """Typed, with exactly what was delivered, and never as text."""
    inner = error("The model is overloaded.", code=503, word="UNAVAILABLE")
    rig.server.otherwise(stream([*frames(TEXT)[:2], frame(json.loads(inner)) if shape == "object" else inner]))
    outcome = await rig.stream("chain")
    assert outcome.kind[0] == "overloaded"
    assert outcome.text == "The quick "
    assert outcome.error.partial.text == "The quick "
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


async def test_f60_a_stream_without_its_finish_reason(rig):
    """The body ends in order, and yet it was cut: it is no success."""
    rig.server.otherwise(stream(frames(TEXT)[:2]))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "truncated")
    assert outcome.text == "The quick "


async def test_f17_a_wrong_key_is_not_tried_again(rig):
    """A 400 that is an authentication error."""
    reason = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    refused = error(f"API key not valid: {KEY}", code=400, word="INVALID_ARGUMENT", details=reason)
    rig.server.otherwise(answer(refused, 400))
    outcome = await rig.generate()
    assert outcome.kind == ("authentication", "API_KEY_INVALID")
    assert rig.hits == 1
