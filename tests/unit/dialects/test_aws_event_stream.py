"""The binary event stream of AWS: frames whole, in pieces, damaged, oversized, random."""

import random
import struct
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID
from zlib import crc32

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.aws_event_stream import MAX_FRAME_BYTES, MAX_HEADER_BYTES, EventStreamSplitter
from core.llm.testing.bedrock_frames import encode_frame, event_frame

FRAMES = [event_frame("messageStart", {"role": "assistant"}), event_frame("x", {"text": "Grüße 👩"}), encode_frame({})]
STREAM = b"".join(FRAMES)


def payloads(*pieces: bytes) -> list[bytes]:
    splitter = EventStreamSplitter()
    return [frame.payload for piece in pieces for frame in splitter.feed(piece)]


def with_prelude(total: int, headers: int) -> bytes:
    """A prelude that claims these lengths, with the right checksum."""
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", crc32(lengths))


def test_frames_are_the_same_however_they_are_cut():
    """Network chunks mean nothing."""
    whole = payloads(STREAM)
    assert len(whole) == 3
    for cut in range(len(STREAM)):
        assert payloads(STREAM[:cut], STREAM[cut:]) == whole
    assert payloads(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == whole


def test_every_type_of_header_is_read():
    """AWS uses texts today; a frame with another type is no reason to fail."""
    when = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC)
    headers = {
        "yes": True, "no": False, "long": -(2**40), "bytes": b"\x00\xff", "text": "ü", "when": when,
        "id": UUID(int=2**127 + 5),
    }  # fmt: skip
    small = b"\x04byte\x02\xfe" + b"\x05short\x03\xff\x00" + b"\x03int\x04\x00\x00\x01\x00"
    [frame] = EventStreamSplitter().feed(encode_frame(headers, b"x"))
    assert frame.headers == headers
    assert frame.word("text") == "ü"
    assert frame.word("long") == frame.word("missing") == ""

    prelude = struct.pack(">II", 16 + len(small), len(small))
    message = prelude + struct.pack(">I", crc32(prelude)) + small
    [frame] = EventStreamSplitter().feed(message + struct.pack(">I", crc32(message)))
    assert frame.headers == {"byte": -2, "short": -256, "int": 256}


@pytest.mark.parametrize("at", range(len(FRAMES[1])))
def test_no_damaged_byte_goes_unnoticed(at):
    """Wherever a byte is changed, what came before is given out and nothing after it."""
    damaged = bytearray(STREAM)
    damaged[len(FRAMES[0]) + at] ^= 0x40
    splitter, seen = EventStreamSplitter(), []
    with pytest.raises(ProviderError) as caught:
        for frame in splitter.feed(bytes(damaged)):
            seen.append(frame.payload)
    assert caught.value.type == "protocol"
    assert caught.value.code == "checksum"
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("total", "headers", "code"),
    [
        (MAX_FRAME_BYTES + 1, 0, "too_large"),
        (2**32 - 1, 0, "too_large"),
        (2**20, MAX_HEADER_BYTES + 1, "too_large"),
        (15, 0, "headers"),
        (0, 0, "headers"),
        (20, 5, "headers"),
    ],
)
def test_impossible_lengths_are_refused_before_a_byte_of_the_frame(total, headers, code):
    """A length is believed only when it makes sense: nothing is set aside for four gigabytes."""
    splitter = EventStreamSplitter()
    with pytest.raises(ProviderError) as caught:
        list(splitter.feed(with_prelude(total, headers)))
    assert caught.value.code == code
    assert caught.value.retryable == (code != "too_large")


@pytest.mark.parametrize(
    "block",
    [b"\x01", b"\x00\x00", b"\x01a\x0a", b"\x01a\x07\x00\x05ab", b"\x01a\x07\x00\x01\xff", b"\x01a\x05\x00",
     b"\x01a\x08\x7f" + b"\xff" * 7, b"\x01a\x00\x01a\x00"],
    ids=["cut-name", "no-name", "unknown-type", "cut-text", "not-utf8", "cut-number", "year-292-million", "twice"],
)  # fmt: skip
def test_headers_that_cannot_be_read_are_a_protocol_error(block):
    """With both checksums right, as a broken sender would write them."""
    prelude = struct.pack(">II", 16 + len(block), len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block
    with pytest.raises(ProviderError) as caught:
        list(EventStreamSplitter().feed(message + struct.pack(">I", crc32(message))))
    assert caught.value.code == "headers"


def test_a_web_page_is_no_event_stream():
    """Whatever it is, its first twelve bytes give it away."""
    with pytest.raises(ProviderError) as caught:
        list(EventStreamSplitter().feed(b"<html><body>Sign in</body></html>"))
    assert caught.value.code == "checksum"


def test_random_bytes_never_raise_anything_else():
    """Seeded noise, changed frames and cut frames: frames, or a protocol error, and always an end."""
    rng = random.Random(85)
    for _ in range(100_000):
        data = bytearray(STREAM if rng.random() < 0.7 else rng.randbytes(rng.randrange(80)))
        for _ in range(rng.randrange(3)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(len(data) + 1) :]
        splitter = EventStreamSplitter()
        with suppress(ProviderError):
            while data:
                size = rng.randrange(1, 40)
                list(splitter.feed(bytes(data[:size])))
                del data[:size]


def test_an_unfinished_frame_is_kept_and_shown():
    """So that the end of the body can be told from a cut."""
    splitter = EventStreamSplitter()
    assert list(splitter.feed(STREAM[:-3])) != []
    assert splitter.rest == FRAMES[-1][:-3]
    assert len(list(splitter.feed(STREAM[-3:]))) == 1
    assert splitter.rest == b""


def test_frames_fit_what_botocore_reads():
    """Our test server's encoder and our decoder were not merely made for each other."""
    eventstream = pytest.importorskip("botocore.eventstream", reason="the extra `bedrock` is not installed")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(STREAM)
    assert [message.payload for message in buffer] == payloads(STREAM)
