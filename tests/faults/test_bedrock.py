"""F85: broken frames of AWS's binary event stream, through the whole service."""

import struct
from zlib import crc32

import pytest

from core.llm.dialects.aws_event_stream import MAX_FRAME_BYTES
from core.llm.testing.bedrock_frames import (
    EVENT_STREAM,
    bedrock_error,
    converse_answer,
    converse_stream,
    event_frame,
    exception_frame,
)
from core.llm.testing.wire_steps import Fin, Stall
from tests.faults.rig import KEY, SOON, TEXT, Dialect

OPENING = event_frame("messageStart", {"role": "assistant"})
BEDROCK = Dialect(
    "bedrock",
    {"type": "bedrock", "region": "us-east-1", "api_key": KEY},
    converse_answer,
    converse_stream,
    lambda message, **_: bedrock_error(message),
    EVENT_STREAM,
    event_frame("ping", {}),
    [OPENING],
)
LENGTHS = struct.pack(">II", MAX_FRAME_BYTES + 1, 0)
OVERSIZE = LENGTHS + struct.pack(">I", crc32(LENGTHS))
WRONG_CRC = OPENING[:-1] + bytes([OPENING[-1] ^ 1])
WRONG_PRELUDE = OPENING[:8] + bytes([OPENING[8] ^ 1]) + OPENING[9:]
BROKEN = {
    "bad crc": (WRONG_CRC, "checksum"),
    "bad prelude": (WRONG_PRELUDE, "checksum"),
    "oversize": (OVERSIZE, "too_large"),
}


@pytest.fixture
async def rig(make_rig):
    return await make_rig(BEDROCK)


def begun() -> list[bytes]:
    """Up to and including two pieces of the text."""
    return BEDROCK.frames(TEXT)[:3]


@pytest.mark.parametrize("name", BROKEN)
async def test_f85_a_broken_frame_before_output(rig, name):
    """Another candidate answers; a damaged frame is also tried again at the same place, an impossible one is not."""
    frame, code = BROKEN[name]
    rig.server.otherwise(BEDROCK.stream([frame]))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", code)
    assert rig.hits == (1 if code == "too_large" else 3)
    assert (await rig.stream("chain")).text == "spare"


@pytest.mark.parametrize("name", BROKEN)
async def test_f85_a_broken_frame_after_output(rig, name):
    """What was delivered stays delivered, nothing is repeated, and nobody else is asked."""
    frame, code = BROKEN[name]
    rig.server.otherwise(BEDROCK.stream([*begun(), frame, *BEDROCK.frames(TEXT)[3:]]))
    outcome = await rig.stream("chain")
    assert outcome.kind == ("protocol", code)
    assert outcome.text == outcome.error.partial.text == "The quick "
    assert outcome.billing == ["estimated"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


@pytest.mark.parametrize("size", [3, 11, 12, 40])
async def test_f85_a_cut_frame_at_a_clean_end(rig, size):
    """In the middle of the prelude, right behind it, in the middle of the frame."""
    rig.server.will(BEDROCK.stream([OPENING[:size]]), BEDROCK.stream())
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert [attempt.decision for attempt in outcome.attempts] == ["retry", "answered"]
    rig.server.will(BEDROCK.stream([*begun(), OPENING[:size]]))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "truncated")
    assert outcome.error.partial.text == "The quick "


async def test_f85_an_oversize_length_is_refused_at_once(rig):
    """Nobody waits for 24 megabytes that will never come."""
    rig.server.otherwise(BEDROCK.stream([OVERSIZE], end=False).then(Stall()))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "too_large")
    assert outcome.seconds < SOON


async def test_f66_an_exception_frame_is_an_error_never_text(rig):
    """Before output it is tried again, after output it ends the stream."""
    broken = exception_frame("modelStreamErrorException", "the model fell over")
    rig.server.will(BEDROCK.stream([OPENING, broken]), BEDROCK.stream())
    assert (await rig.stream()).text == TEXT
    rig.server.will(BEDROCK.stream([*begun(), broken]))
    outcome = await rig.stream("chain")
    assert outcome.kind == ("server_error", "modelStreamErrorException")
    assert outcome.text == "The quick "
    assert len(rig.spare.requests) == 0


async def test_f62_no_end_is_never_an_end(rig):
    """A clean end of the body without a reason to stop; with one, lost usage does no harm."""
    rig.server.otherwise(BEDROCK.stream(converse_stream(TEXT, finish=None, usage=False)))
    assert (await rig.stream()).kind == ("protocol", "truncated")
    rig.server.otherwise(BEDROCK.stream(converse_stream(TEXT, usage=False), end=False).then(Fin()))
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert outcome.response.usage.estimated


@pytest.mark.parametrize("size", [1, 7])
async def test_f85_whole_frames_in_small_pieces_are_fine(rig, size):
    """The network cuts where it likes."""
    rig.server.otherwise(BEDROCK.stream(slice=size))
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert outcome.response.usage.total == 11
