"""How much two answers have in common."""

import pytest

from core.llm.pipeline.shadow import similarity


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("", "", 1.0),
        ("a", "", 0.0),
        ("a b", "b a", 1.0),
        ("A b", "a B", 1.0),
        ("a a b", "a b b", 2 / 3),
        ("a b", "c d", 0.0),
    ],
)
def test_texts_are_compared_by_their_words(one: str, other: str, found: float) -> None:
    """Order and case do not matter, and how often a word stands there does."""
    assert similarity(one, other) == pytest.approx(found)


def test_S63_long_texts_are_compared_by_their_beginning() -> None:
    """A comparison is never more than a moment's work."""
    assert similarity("a " * 50_000 + "b " * 10**6, "a " * 50_000 + "c " * 10**6) == 1.0
