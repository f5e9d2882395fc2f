"""Event streams and lines are cut where the standard says, whatever the network did to them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.framing import LineSplitter, SSESplitter

# The cases of the WHATWG standard and of its test suite, each with the data it dispatches.
CASES = {
    b"data: a\n\n": [b"a"],
    b"data:a\n\n": [b"a"],
    b"data:  a\n\n": [b" a"],
    b"data: a\r\n\r\n": [b"a"],
    b"data: a\r\r": [b"a"],
    b"data: a\n\ndata: b\n\n": [b"a", b"b"],
    b"data: a\r\n\ndata: b\n\r\n": [b"a", b"b"],
    b"data: a\ndata: b\n\n": [b"a\nb"],
    b"data: a\rdata: b\r\r": [b"a\nb"],
    b"data\n\n": [b""],
    b"data\ndata\n\n": [b"\n"],
    b"data:\n\n": [b""],
    b"\n\n\ndata: a\n\n\n\n": [b"a"],
    b": comment\n\ndata: a\n\n": [b"a"],
    b"data: a\n: comment\ndata: b\n\n": [b"a\nb"],
    b":\n:\n\n": [],
    b"event: x\n\n": [],
    b"id: 1\nretry: 1000\ndata: a\n\n": [b"a"],
    b"unknown: z\ndata: a\n\n": [b"a"],
    b"Data: a\n\n": [],
    b"\xef\xbb\xbfdata: a\n\n": [b"a"],
    b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n": [],
    b"data: a\xef\xbb\xbf\n\n": [b"a\xef\xbb\xbf"],
    "data: a\u2028b\u0085c\x0bd\n\n".encode(): ["a\u2028b\u0085c\x0bd".encode()],
    "data: 😀é\n\n".encode(): ["😀é".encode()],
    b"data: half": [],
    b"data: half\n": [],
    b"": [],
}


def split(*pieces: bytes) -> list[bytes]:
    """The data of all events."""
    splitter = SSESplitter()
    return [data for piece in pieces for _, data in splitter.feed(piece)]


@pytest.mark.parametrize("body", list(CASES), ids=repr)
def test_f69_every_case_of_the_standard_at_every_cut(body: bytes) -> None:
    """F69: line ends, comments, a byte order mark, several data lines, line separators inside data."""
    wanted = CASES[body]
    assert split(body) == wanted
    assert split(*(body[at : at + 1] for at in range(len(body)))) == wanted
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            assert split(body[:first], body[first:second], body[second:]) == wanted


@given(
    st.lists(st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b":c", b"event: e", "é".encode(), b"data"])), st.data()
)
def test_f68_any_cut_gives_the_same_events(parts: list[bytes], data: st.DataObject) -> None:
    """F68: also in the middle of a character or of a line end."""
    body = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    edges = [0, *cuts, len(body)]
    assert split(*(body[a:b] for a, b in pairwise(edges))) == split(body)


def test_an_event_keeps_its_name() -> None:
    """The last name before the blank line counts."""
    assert SSESplitter().feed(b"event: a\nevent: error\ndata: x\n\n") == [(b"error", b"x")]


def test_f67_half_an_event_stays_behind() -> None:
    """F67: what is not complete is never handed out."""
    splitter = SSESplitter()
    assert splitter.feed(b'data: {"a"') == []
    assert splitter.rest == b'data: {"a"'


def test_f70_a_line_of_nine_megabytes_passes() -> None:
    """F70: in the pieces of a network, without reading it over and over."""
    line = b"data: " + b"x" * 9_000_000 + b"\n\n"
    assert split(*(line[at : at + 65536] for at in range(0, len(line), 65536))) == [b"x" * 9_000_000]


@pytest.mark.parametrize("make", [SSESplitter, LineSplitter])
def test_f71_a_line_without_end_is_refused(make: type[SSESplitter | LineSplitter]) -> None:
    """F71: memory is bounded by the largest event."""
    splitter = make(max_event=1000)
    with pytest.raises(ProviderError) as caught:
        for _ in range(2000):
            splitter.feed(b"x")
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("protocol", "too_large", False)


def test_lines_are_cut_at_newlines_only() -> None:
    """Blank lines are skipped, carriage returns belong to the line end, the last line may lack its newline."""
    body = '{"a":1}\r\n\n{"b":"\u2028é"}\n{"c":3}'.encode()
    for size in range(1, len(body) + 1):
        splitter = LineSplitter()
        lines = [line for at in range(0, len(body), size) for line in splitter.feed(body[at : at + size])]
        assert lines + splitter.end() == [b'{"a":1}', '{"b":"\u2028é"}'.encode(), b'{"c":3}']
    assert LineSplitter().end() == []
