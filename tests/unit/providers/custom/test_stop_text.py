"""Where a text ends, however it comes in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.providers.custom.stop_text import StopText


def shown(pieces, stops):
    """What is shown of *pieces*."""
    text = StopText(stops)
    return "".join([*(text.add(piece) for piece in pieces), text.end()]), text.ended


@given(st.text("ab", max_size=12), st.lists(st.text("ab", max_size=3), max_size=3), st.data())
def test_every_cut_of_a_text_ends_at_the_same_place(whole, stops, data):
    """The first stop text that is complete ends it."""
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=6)) | {0, len(whole)})
    pieces = [whole[begin:end] for begin, end in pairwise(places)]
    ends = [(whole.find(stop) + len(stop), whole.find(stop)) for stop in stops if stop and stop in whole]
    got, ended = shown(pieces, stops)
    if not ends:
        assert (got, ended) == (whole, False)
    else:
        assert ended
        assert whole.startswith(got)
        assert not any(stop and stop in got for stop in stops)
        assert len(got) in {begin for _, begin in ends}


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["one", " two"], [], "one two"),
        (["on", "e END of"], ["END"], "one "),
        (["a<|", "en", "d|>b"], ["<|end|>"], "a"),
        (["a<|", "en"], ["<|end|>"], "a<|en"),
        (["aXbY"], ["Y", "X"], "a"),
    ],
)
def test_examples(pieces, stops, expected):
    """Nothing of a stop text is shown; what only began like one is."""
    assert shown(pieces, stops)[0] == expected
