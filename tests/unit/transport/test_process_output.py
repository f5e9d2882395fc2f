"""What a worker prints is kept in bounds (WK-07)."""

import logging
import os

import pytest

from core.llm.transport.process_output import MAX_LINE, WorkerOutput


@pytest.fixture
async def pipe():
    """A pipe and who reads it."""
    read, write = os.pipe()
    output = WorkerOutput(read, "tiny")
    output.belongs_to(42)
    with os.fdopen(write, "wb", buffering=0) as file:
        yield output, file
    output.close()


async def test_the_last_fifty_lines_are_kept_WK07(pipe):
    """Older ones are forgotten."""
    output, file = pipe
    file.write(b"".join(b"line %d\n" % number for number in range(1000)))
    file.close()
    output.close()
    assert output.text.split("\n") == [f"line {number}" for number in range(950, 1000)]


async def test_a_line_without_end_costs_no_memory(pipe):
    """Only its beginning is kept."""
    output, file = pipe
    for _ in range(8):
        file.write(b"x" * 65536)
        output._read()
    file.write(b"\nnext\n")
    file.close()
    output.close()
    first, second = output.text.split("\n")
    assert len(first) == MAX_LINE
    assert second == "next"


async def test_control_characters_and_secrets_do_not_reach_the_log(pipe, caplog):
    """A worker's output cannot forge log lines or colour a terminal."""
    output, file = pipe
    with caplog.at_level(logging.DEBUG, "core.llm.worker"):
        file.write(b"\x1b[31mred\rforged key sk-abcdefghijklmnop \xff\n")
        file.close()
        output.close()
    assert output.text == "\\x1b[31mred\\rforged key *** \N{REPLACEMENT CHARACTER}"
    assert caplog.messages == [f"tiny[42] {output.text}"]
