"""What may be shown of a growing text, and what is checked before."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.llm.pipeline.stream_window import StreamWindow, pieces

TEXTS = st.text("abc ", max_size=120)
WIDTHS = st.integers(1, 40)


def cut(text: str, places: list[int]) -> list[str]:
    """*text* in pieces."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@given(TEXTS, WIDTHS, st.lists(st.integers(0, 200), max_size=8))
def test_pieces_depend_on_the_text_only(text: str, width: int, places: list[int]) -> None:
    """However the network cuts a text, the same pieces are checked."""
    window = StreamWindow(width)
    found = [piece for part in cut(text, places) for piece in window.add(part)]
    assert [*found, *window.end()] == list(pieces(text, width))
    assert window.cleared == window.length == len(text)


@given(TEXTS, WIDTHS, st.data())
def test_everything_as_long_as_the_window_is_seen_whole(text: str, width: int, data: st.DataObject) -> None:
    """A phrase of at most *width* characters stands whole in a piece, with the letter before it."""
    if not text:
        assert list(pieces(text, width)) == []
        return
    start = data.draw(st.integers(0, len(text) - 1))
    phrase = text[start : start + data.draw(st.integers(1, width))]
    with_one_more = text[max(0, start - 1) : start + len(phrase)]
    assert any(with_one_more in piece for piece in pieces(text, width))


@given(TEXTS, WIDTHS)
def test_what_is_cleared_cannot_begin_something_that_is_not_seen_yet(text: str, width: int) -> None:
    """A phrase that is still to be completed is not shown in part."""
    window = StreamWindow(width)
    for letter in text:
        list(window.add(letter))
        assert window.cleared <= max(0, window.length - width + 1)
