"""An application in a terminal of its own: what is typed goes in, what a person would see comes out."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Ctrl-C is a signal only from the terminal that a session calls its own.
_START = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
_STYLE = re.compile(r"\x1b\[(?:2m|0m|K|J|\?25[lh]|\d+A)")


class Terminal:
    """Holds everything shown so far in `shown`, without our own styling; `raw` has it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.raw = b""
        self._master = master
        self._seen = 0

    @property
    def shown(self) -> str:
        return _STYLE.sub("", self.raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    def see(self, text: str, within: float = 60.0) -> str:
        """Wait for *text* after what was seen before; return what came up to its end."""
        deadline = time.monotonic() + within
        while (at := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"{text!r} was not shown after:\n{self.shown[self._seen :]}"
            if not self._read(0.05):
                raise AssertionError(f"it ended without {text!r}:\n{self.shown}")
        start, self._seen = self._seen, at + len(text)
        return self.shown[start : self._seen]

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def ended(self, within: float = 60.0) -> int:
        """Wait for the end; return the exit code."""
        deadline = time.monotonic() + within
        while self._read(0.05):
            assert time.monotonic() < deadline, f"it did not end:\n{self.shown}"
        return self.process.wait(within)

    def _read(self, timeout: float) -> bool:
        if not select.select([self._master], [], [], timeout)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the last one has left the terminal
            return False
        self.raw += data
        return bool(data)


def environment(**variables: str) -> dict[str, str]:
    """The host's environment without keys of its own."""
    clean = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY") and name != "OLLAMA_URL"
    }
    return {**clean, **variables}


@contextmanager
def terminal(module: str, *arguments: str, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """*module* with a terminal as its standard streams, and as the one that its signals come from."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    process = subprocess.Popen(
        [sys.executable, "-c", _START, module, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env=environment(TERM="xterm"),
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(master)


def chat_terminal(*arguments: str) -> AbstractContextManager[Terminal]:
    """The chat in a terminal."""
    return terminal("modules.chat", *arguments)
