"""From the arguments to a command, and from what became of it to the exit code."""

import asyncio
import logging
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

from core.llm import ConfigError, LLMError, LoggingOptions, setup_logging
from modules.cli import configuration, looks, work
from modules.cli.arguments import parser
from modules.cli.output import Output
from modules.cli.swapping import swap

DONE: Final = 0
FAILED: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130

_COMMANDS: Final[Mapping[str, Callable[[Namespace, Output], Awaitable[bool]]]] = {
    "models": looks.models,
    "status": looks.status,
    "load": work.load,
    "unload": work.unload,
    "pull": work.pull,
    "swap": swap,
    "explain": configuration.explain,
    "check": configuration.check,
    "schema": configuration.schema,
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns the exit code."""
    given = parser().parse_args(arguments)
    # What a command has to say it says itself; warnings of the configuration belong to `check`.
    setup_logging(LoggingOptions(level="ERROR"))
    logging.getLogger("core.llm").setLevel(logging.ERROR)
    output = Output(_writable(sys.stdout), _writable(sys.stderr))
    try:
        return asyncio.run(_carried_out(given, output))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has.
        _write_no_more()
        return DONE
    except OSError as error:
        _write_no_more()
        output.note(f"core-llm {given.command}: {error.strerror or type(error).__name__}")
        return FAILED


def _writable(stream: TextIO | None) -> TextIO:
    """*stream*, where every character can be written to it; nothing where it was closed before the start."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def _write_no_more() -> None:
    """Let Python flush what is left into nothing as it exits, instead of complaining once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _carried_out(given: Namespace, output: Output) -> int:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return DONE if await _COMMANDS[given.command](given, output) else FAILED
    except asyncio.CancelledError:
        output.clear_status()
        return INTERRUPTED
    except ConfigError as error:
        output.note(f"the configuration cannot be used:\n{error}")
        return WRONG
    except LLMError as error:
        output.note(f"core-llm {given.command}: {error}")
        return FAILED
