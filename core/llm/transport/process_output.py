"""What a worker prints: to the log line by line, and the last lines kept for error messages."""

import asyncio
import logging
import os
from collections import deque
from typing import Final

from core.llm.common.secrets import one_line, redact

KEPT_LINES: Final = 50
MAX_LINE: Final = 500
"""Characters of a line that are kept; the rest of it is dropped."""

_log = logging.getLogger("core.llm.worker")


class WorkerOutput:
    """Reads the read end of the pipe that is a worker's stdout and stderr. Holds a bounded amount, whatever comes."""

    def __init__(self, pipe: int, name: str) -> None:
        os.set_blocking(pipe, False)
        self._pipe: int | None = pipe
        self._name = name
        self._pid = 0
        self._partial = b""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pipe, self._read)

    def belongs_to(self, pid: int) -> None:
        """Name the process in the log."""
        self._pid = pid

    @property
    def text(self) -> str:
        """The last lines."""
        return "\n".join(self._lines)

    def close(self) -> None:
        """Read what is left, then close the pipe. Idempotent."""
        for _ in range(16):  # a pipe holds 64 KiB; a grandchild may keep writing to it for ever
            if self._pipe is None or not self._read():
                break
        self._shut()
        if self._partial:
            self._add(self._partial)
            self._partial = b""

    def _read(self) -> bool:
        if self._pipe is None:
            return False
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._shut()
            return False
        *lines, rest = (self._partial + data).split(b"\n")
        for line in lines:
            self._add(line)
        self._partial = rest[: MAX_LINE * 4]
        return True

    def _shut(self) -> None:
        if self._pipe is not None:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _add(self, line: bytes) -> None:
        text = one_line(redact(line[: MAX_LINE * 4].decode(errors="replace").rstrip()), MAX_LINE)
        if text:
            self._lines.append(text)
            _log.debug("%s[%d] %s", self._name, self._pid, text)
