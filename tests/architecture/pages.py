"""The code blocks of the documentation, each with the place where it stands.

A comment in the line above a block says how it is meant:

- `<!-- continues -->`: goes on from the block before it on the same page
- `<!-- not executed: REASON -->`: is compiled only
- `<!-- invalid -->`: a configuration that must be refused
"""

import re
from dataclasses import dataclass
from functools import cache

from tests.architecture.source import ROOT

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    """The line of its first line of code."""
    language: str
    text: str
    comment: str = ""

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.page}:{self.line}"

    @property
    def padded(self) -> str:
        """The text with so many empty lines before it that line numbers are those of the page."""
        return "\n" * (self.line - 1) + self.text


def blocks_in(page: str, text: str) -> list[Block]:
    """Every fenced block of *text*."""
    found: list[Block] = []
    lines = text.splitlines()
    comment, start, opening = "", 0, None
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if opening is None and fence is not None:
            opening, start = fence, number + 1
        elif opening is None and line.strip():
            note = _COMMENT.fullmatch(line.strip())
            comment = note[1] if note else ""
        elif (
            opening is not None
            and fence is not None
            and not fence["info"].strip()
            and len(fence["ticks"]) >= len(opening["ticks"])
        ):
            indent = len(opening["indent"])
            body = "\n".join(one[indent:] for one in lines[start - 1 : number - 1]) + "\n"
            found.append(Block(page, start, (opening["info"].split() or [""])[0], body, comment))
            comment, opening = "", None
    return found


@cache
def pages() -> dict[str, list[Block]]:
    """The blocks of every page of the documentation, by its path."""
    files = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.is_file()]
    files += sorted((ROOT / "docs").rglob("*.md"))
    return {
        str(path.relative_to(ROOT)): blocks_in(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in files
    }
