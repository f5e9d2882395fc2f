"""Standard input, read without blocking the event loop."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.chat import keyboard

pytestmark = pytest.mark.leakcheck


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """The two ends of a pipe; set an end to -1 once it is closed."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        if end >= 0:
            os.close(end)


def close_writer(pipe: list[int]) -> None:
    """End of file."""
    os.close(pipe[1])
    pipe[1] = -1


async def test_lines_come_as_they_are_entered(pipe: list[int]) -> None:
    """Two in one read, one in two reads, Windows line ends, and a last one without an end."""
    seen = []
    os.write(pipe[1], b"one\r\ntwo\nth")
    async for line in keyboard.lines(pipe[0]):
        seen.append(line)
        if line == "two":
            os.write(pipe[1], "ree żó".encode()[:-1])
            os.write(pipe[1], "ó".encode()[-1:] + b"\nlast")
            close_writer(pipe)
    assert seen == ["one", "two", "three żó", "last"]


async def test_a_cancelled_wait_leaves_nothing_behind(pipe: list[int]) -> None:
    """No reader on the loop and no thread: an application that stops is not held up by a silent pipe."""
    for read in (keyboard.everything(pipe[0]), anext(keyboard.lines(pipe[0]))):
        task = asyncio.ensure_future(read)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
    assert not asyncio.get_running_loop().remove_reader(pipe[0])


async def test_everything_is_read_from_a_pipe(pipe: list[int]) -> None:
    """To its end, whatever its bytes."""
    os.write(pipe[1], b"a\nb\xff")
    close_writer(pipe)
    assert await keyboard.everything(pipe[0]) == "a\nb\ufffd"


async def test_everything_is_read_from_a_regular_file(tmp_path: Path) -> None:
    """Which cannot be waited for."""
    file = tmp_path / "question"
    file.write_text("hello\n" * 20_000)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert await keyboard.everything(descriptor) == file.read_text()
    finally:
        os.close(descriptor)


async def test_a_closed_standard_input_is_empty_and_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python calls it None."""
    monkeypatch.setattr("sys.stdin", None)
    assert await keyboard.everything() == ""
    assert not keyboard.is_terminal()
