"""Messages between host and worker survive any cut; what is no message is refused before it costs memory."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.transport.frames import MAX_FRAME, FrameError, FrameReader, encode_frame, read_frame

MESSAGES = [{"id": 1, "item": "größe ✓"}, {"beat": 1}, {"id": 2, "result": [0.5, None, {"a": []}]}]


def test_messages_come_out_the_same_at_every_cut():
    """A message may arrive in any two pieces."""
    wire = b"".join(encode_frame(message) for message in MESSAGES)
    for cut in range(len(wire) + 1):
        reader = FrameReader()
        got = reader.feed(wire[:cut]) + reader.feed(wire[cut:])
        assert [message for message, _ in got] == MESSAGES
        assert reader.pending == 0


def test_a_length_of_4_gib_is_refused_before_a_byte_is_stored_F146():
    """A worker that writes garbage cannot make the host allocate."""
    reader = FrameReader()
    with pytest.raises(FrameError, match="4294967295 bytes"):
        reader.feed(b"\xff\xff\xff\xff")
    assert reader.pending <= 4


@pytest.mark.parametrize("body", [b"[]", b"12", b'"x"', b"{]", b"\xff\xfe", b'{"a":1'])
def test_what_is_not_a_json_object_is_refused_S47(body):
    """Only objects are messages; nothing is unpickled or guessed."""
    with pytest.raises(FrameError):
        FrameReader().feed(len(body).to_bytes(4) + body)


def test_a_message_over_the_cap_is_not_sent():
    """The sender learns it, not the other side."""
    with pytest.raises(FrameError, match="over the limit"):
        encode_frame({"text": "x" * MAX_FRAME})


@pytest.mark.parametrize("value", ["\ud800", object()])
def test_what_is_not_json_is_not_sent(value):
    """A lone surrogate or a foreign object is an error with a name, not a crash of the serialiser."""
    with pytest.raises(FrameError, match="not JSON"):
        encode_frame({"value": value})


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_frame_errors(data):
    """Worker output is untrusted (S49)."""
    reader = FrameReader()
    try:
        reader.feed(data)
    except FrameError:
        return
    assert reader.pending <= len(data)


def test_the_blocking_side_reads_what_the_other_side_wrote_and_sees_its_end():
    """`None` is the end of the connection; an end inside a message is an error."""
    left, right = socket.socketpair()
    with left, right:
        big = {"text": "x" * 300_000}
        writer = threading.Thread(target=left.sendall, args=(encode_frame(big) + encode_frame({"beat": 1}),))
        writer.start()
        assert read_frame(right) == big
        assert read_frame(right) == {"beat": 1}
        writer.join()
        left.sendall(b"\x00\x00\x00\x09{")
        left.close()
        with pytest.raises(FrameError, match="inside a message"):
            read_frame(right)
        assert read_frame(right) is None
