"""Texts that end an answer are found wherever the pieces are cut, and never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.providers.transformers.stops import StopMatcher


def shown(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    """What is shown of *pieces*, and the stop that ended them."""
    matcher = StopMatcher(stops)
    text = "".join(matcher.feed(piece) for piece in pieces)
    return text + matcher.end(), matcher.hit


@given(st.lists(st.text(alphabet="ab\n", max_size=4)), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4)))
def test_the_cut_does_not_depend_on_the_pieces(pieces: list[str], stops: list[str]) -> None:
    """The first place at which any of the stops is complete ends the answer."""
    text = "".join(pieces)
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    # Read one character at a time, the stop that is complete first wins; of those, the one that began first.
    expected = text[: min(ends)[1]] if ends else text

    assert shown(list(text), stops)[0] == expected


@pytest.mark.parametrize("pieces", [["one END two"], ["one E", "ND two"], list("one END two"), ["one EN", "D"]])
def test_nothing_of_a_stop_is_shown(pieces: list[str]) -> None:
    """Also where it comes in pieces."""
    assert shown(pieces, ["END"]) == ("one ", "END")


def test_what_only_looked_like_a_stop_is_shown() -> None:
    """As soon as that is clear, and at the latest when the answer ends."""
    matcher = StopMatcher(["END"])

    assert [matcher.feed("EN"), matcher.feed("T"), matcher.feed(" E"), matcher.end()] == ["", "ENT", " ", "E"]
    assert matcher.hit is None


def test_nothing_is_held_back_without_stops() -> None:
    """The common case costs nothing."""
    assert StopMatcher([]).feed("EN") == "EN"


def test_nothing_follows_a_stop() -> None:
    """Whatever the model goes on to say."""
    matcher = StopMatcher(["\n"])

    assert [matcher.feed("a\nb"), matcher.feed("c"), matcher.end()] == ["a", "", ""]
