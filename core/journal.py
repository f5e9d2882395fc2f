"""What the lifecycle writes to the log.

loguru is imported with the first line written, so that importing the container stays cheap. Tracebacks are formatted
here and not by loguru, whose default sink prints the values of local variables: secrets among them.
"""

import asyncio
import traceback
from collections.abc import Iterable
from typing import Any


def write(level: str, message: str, error: BaseException | None = None) -> None:
    """Log *message*, with the traceback of *error* below it."""
    from loguru import logger  # noqa: PLC0415 - see the module docstring

    if error is not None:
        message = f"{message}\n{''.join(traceback.format_exception(error)).rstrip()}"
    logger.opt(depth=1).log(level, "{}", message)


def await_chain(task: asyncio.Task[Any]) -> list[str]:
    """Say where a suspended task waits, outermost call first.

    ``Task.get_stack`` knows only the outermost frame of a suspended coroutine; the line of interest is the innermost.
    """
    places = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        places.append(f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return places


def slowest_first(durations: Iterable[tuple[str, float]]) -> str:
    """Tabulate hook names with their seconds, slowest first."""
    return "\n".join(
        f"  {seconds:8.3f} s  {name}" for name, seconds in sorted(durations, key=lambda row: row[1], reverse=True)
    )
