"""Thinking between tags is told from text, wherever the pieces of a stream end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.dialects.think_tags import ThinkTagSplitter


def split(*pieces: str) -> tuple[str, str]:
    """All thinking and all text of a stream."""
    splitter = ThinkTagSplitter()
    found = [splitter.feed(piece) for piece in pieces] + [splitter.end()]
    return "".join(thinking for thinking, _ in found), "".join(text for _, text in found)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<think>hm</think>Hi", ("hm", "Hi")),
        ("\n <think>\nhm\n</think>\n\nHi\n", ("hm\n", "Hi\n")),
        ("<think></think>Hi", ("", "Hi")),
        ("<think>a < b </thin c</think>Hi", ("a < b </thin c", "Hi")),
        ("<think>never closed", ("never closed", "")),
        ("<think>cut </thi", ("cut </thi", "")),
        ("Hi <think>x</think>", ("", "Hi <think>x</think>")),
        ("<thin", ("", "<thin")),
        ("  Hi", ("", "  Hi")),
        ("", ("", "")),
        ("<think>a</think>b</think>c", ("a", "b</think>c")),
    ],
)
def test_every_cut_gives_the_same(text: str, wanted: tuple[str, str]) -> None:
    """Also inside a tag and between a tag and its newline."""
    assert split(text) == wanted
    assert split(*text) == wanted
    for cut in range(len(text)):
        assert split(text[:cut], text[cut:]) == wanted


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "think", ">", "\n", " ", "x"])))
def test_pieces_never_matter(pieces: list[str]) -> None:
    """For any text made of such pieces."""
    assert split(*pieces) == split("".join(pieces))
