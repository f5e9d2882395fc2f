"""Where results and progress are written: a terminal, a pipe, a file."""

import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from modules.terminal.figures import printable, shortened

_CLEAR_LINE: Final = "\r\x1b[K"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_BELOW: Final = "\x1b[J"


class Output:
    """Results on standard output, everything else on standard error."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        able = os.environ.get("TERM") != "dumb"
        self.live_out: Final = able and self._out.isatty()
        """Whether what was written on standard output can be overwritten."""
        self.live_err: Final = able and self._err.isatty()
        self._status_shown = False
        self._drawn = 0
        """Lines of the block that is shown, above the cursor."""

    @property
    def width(self) -> int | None:
        """Columns of standard output; `None` where it is no terminal."""
        return _dimensions(self._out)[0] if self.live_out else None

    @property
    def progress_width(self) -> int:
        """Columns of standard error."""
        return _dimensions(self._err)[0]

    def result(self, text: str) -> None:
        """A part of what was asked for."""
        self.clear_status()
        self._out.write(printable(text) + "\n")
        self._out.flush()

    def note(self, text: str) -> None:
        """Something about it."""
        self.clear_status()
        self._err.write(printable(text) + "\n")
        self._err.flush()

    def status(self, line: str) -> None:
        """How far it is, on a line that is overwritten; for terminals only. One column stays free: none wraps."""
        self._err.write(_CLEAR_LINE + printable(shortened(line, self.progress_width - 1)))
        self._err.flush()
        self._status_shown = True

    def clear_status(self) -> None:
        """Take that line away."""
        if self._status_shown:
            self._status_shown = False
            self._err.write(_CLEAR_LINE)
            self._err.flush()

    @contextmanager
    def block(self) -> Iterator[None]:
        """Around blocks that are drawn one over the other: the cursor is hidden, and back in the end."""
        if self.live_out:
            self._out.write(_HIDE_CURSOR)
        try:
            yield
        finally:
            self._drawn = 0
            if self.live_out:
                self._out.write(_SHOW_CURSOR)
                self._out.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Show *lines* in the place of those that were drawn before; in one write, so that nothing flickers.

        On a terminal only as many as fit; elsewhere the block is written again, after an empty line.
        """
        if not self.live_out:
            gap = "\n" if self._drawn else ""
            self._out.write(gap + "".join(f"{printable(line)}\n" for line in lines))
            self._drawn = 1
            self._out.flush()
            return
        width, height = _dimensions(self._out)
        if len(lines) > height - 1:
            lines = [*lines[: height - 2], f"… {len(lines) - height + 2} more lines"]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"\r{printable(shortened(line, width - 1))}\x1b[K\n" for line in lines)
        self._out.write(f"{up}{body}{_CLEAR_BELOW}")
        self._out.flush()
        self._drawn = len(lines)

    def reader_gone(self) -> bool:
        """Whether nobody reads standard output any more, as after `| head`; known without writing."""
        poll = select.poll()
        try:
            poll.register(self._out.fileno(), 0)
        except (OSError, ValueError):
            return False
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _dimensions(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a terminal; 80 by 24 where it does not say."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24
