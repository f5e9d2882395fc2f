"""Words for how much to think, on a scale."""

from collections.abc import Collection, Sequence


def nearest(wanted: str, known: Collection[str], scale: Sequence[str]) -> str:
    """The word of *known* that is closest to *wanted* on *scale*; of two that are as close, the one that costs less."""
    place = scale.index(wanted)
    words = [word for word in scale if word in known]
    return min(words, key=lambda word: abs(scale.index(word) - place), default=wanted)
