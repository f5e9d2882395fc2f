"""Decompression: exact, complete, and never larger than allowed."""

import gzip
import tracemalloc
import zlib

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.transport.http_encoding import Inflater, inflater

TEXT = b'{"answer": "' + bytes(range(97, 123)) * 200 + b'"}'


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("name", "packed"),
    [("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT)), ("deflate", zlib.compress(TEXT, wbits=-15))],
    ids=["gzip", "deflate", "raw-deflate"],
)
def test_any_cut_into_pieces_gives_the_same_text(name, packed, size):
    """Where the network cuts the body does not matter."""
    stream = inflater(name, 10**6, "here")
    assert b"".join(stream.feed(packed[at : at + size]) for at in range(0, len(packed), size)) == TEXT
    stream.end()


@pytest.mark.parametrize("name", [None, "", "identity", " Identity "])
def test_plain_bodies_need_nothing(name):
    """No encoding, no work."""
    assert inflater(name, 10, "here") is None


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, br", "x"])
def test_S32_other_encodings_are_refused(name):
    """We did not ask for them and cannot read them."""
    with pytest.raises(ProviderError, match="encoding"):
        inflater(name, 10, "here")


def test_a_bomb_is_never_unpacked():
    """Memory stays near the limit, not near what the bomb stands for."""
    bomb = gzip.compress(b"0" * 100_000_000)
    stream = Inflater(1_000_000, "here", gzip=True)
    tracemalloc.start()
    try:
        with pytest.raises(ProviderError) as caught:
            stream.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "too_large"
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"xx" + data],
    ids=["cut", "more", "garbled"],
)
def test_anything_but_one_whole_stream_is_an_error(damage):
    """A prefix is not an answer, and neither is an answer with something behind it."""
    stream = Inflater(10**6, "here", gzip=True)
    with pytest.raises(ProviderError) as caught:
        stream.feed(damage(gzip.compress(TEXT)))
        stream.end()
    assert caught.value.code == "encoding"


def test_an_empty_body_is_not_a_compressed_one():
    """A label alone does not make an answer."""
    with pytest.raises(ProviderError):
        Inflater(10, "here", gzip=False).end()
