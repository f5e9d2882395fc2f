"""Columns of text."""

import textwrap
from collections.abc import Sequence
from typing import Final

from modules.terminal.figures import one_line, shortened

_GAP: Final = "  "
_NARROWEST: Final = 12
"""Columns that the first column keeps however narrow the terminal is."""


def columns(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None = None, right: Sequence[str] = ()
) -> list[str]:
    """One line for the titles and for each of *rows*.

    A column in which nothing stands is left out. Where the table is wider than *width*, its first column is cut, which
    holds names, and then each line.

    Args:
        titles: one for each column.
        rows: texts that may come from anywhere.
        width: columns of the terminal; `None`: as wide as it gets.
        right: titles of the columns that are aligned on the right.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    kept = [index for index in range(len(titles)) if index == 0 or any(row[index] for row in cells)]
    table = [[row[index] for index in kept] for row in ([*titles], *cells)]
    sizes = [max(len(row[index]) for row in table) for index in range(len(kept))]
    if width is not None:
        excess = sum(sizes) + len(_GAP) * (len(sizes) - 1) - width
        sizes[0] = max(min(sizes[0], _NARROWEST), sizes[0] - max(excess, 0))
    on_the_right = {index for index, old in enumerate(kept) if titles[old] in right}
    lines = [
        _GAP.join(
            shortened(cell, size).rjust(size) if index in on_the_right else shortened(cell, size).ljust(size)
            for index, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in table
    ]
    return lines if width is None else [shortened(line, width) for line in lines]


def wrapped(note: str, width: int | None) -> list[str]:
    """*note* in as many lines as it needs; on one where there is no *width*."""
    text = one_line(note)
    return [text] if width is None else textwrap.wrap(text, width, subsequent_indent="  ")
