"""What is checked of JSON is what its escapes stand for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.llm.pipeline.json_window import JsonWindow
from core.llm.pipeline.stream_window import pieces

ESCAPED = st.lists(st.sampled_from(["a", "b", " ", '\\"', "\\\\", "\\n", "\\u0062", "\\u00e9", "\\/"]), max_size=60)
BROKEN = st.text('ab\\u0"', max_size=60)


def said(text: str) -> str:
    """What the escapes in *text* stand for."""
    for written, letter in (
        ("\\\\", "\0"),
        ('\\"', '"'),
        ("\\n", "\n"),
        ("\\u0062", "b"),
        ("\\u00e9", "é"),
        ("\\/", "/"),
    ):
        text = text.replace(written, letter)
    return text.replace("\0", "\\")


@given(ESCAPED, st.integers(1, 20), st.lists(st.integers(0, 200), max_size=8))
def test_the_pieces_are_those_of_what_is_said(units: list[str], width: int, places: list[int]) -> None:
    """However it is written, and wherever it is cut."""
    text = "".join(units)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    window = JsonWindow(width)
    found = [piece for a, b in pairwise(edges) for piece in window.add(text[a:b])]
    assert [*found, *window.end()] == list(pieces(said(text), width))
    assert window.cleared == window.length == len(text)


@given(ESCAPED, st.integers(1, 20))
def test_what_is_cleared_is_never_cut_in_an_escape(units: list[str], width: int) -> None:
    """And as far behind the end as in plain text, at least."""
    text = "".join(units)
    ends = {len("".join(units[:count])) for count in range(len(units) + 1)}
    window = JsonWindow(width)
    for letter in text:
        list(window.add(letter))
        assert window.cleared in ends
        assert len(said(text[: window.cleared])) <= max(0, len(said(text[: window.length])) - width + 1)


@given(BROKEN, st.integers(1, 20))
def test_what_is_no_json_is_checked_as_it_stands(text: str, width: int) -> None:
    """Nothing is lost, nothing hangs, and nothing is shown before its time."""
    window = JsonWindow(width)
    for letter in text:
        list(window.add(letter))
        assert 0 <= window.cleared <= window.length
    list(window.end())
    assert window.cleared == len(text)
