"""One door to loguru, opened when something is logged: importing the library costs nothing for a silent host.

The library adds no sink of its own; where log lines go is the host's decision (see `core.llm.observability.logs`).
"""

from typing import Literal

Level = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"]


def log(level: Level, template: str, *values: object, **bound: object) -> None:
    """Log *template* with *values* in its `{}` places and *bound* as fields of the record.

    The template is always a constant of the code: text from users, models and servers goes into the values only.
    """
    from loguru import logger  # noqa: PLC0415 - loguru costs more to import than the rest of the pipeline

    logger.bind(**bound).opt(depth=1).log(level, template, *values)
