"""Local files in messages become bytes before a provider sees them; providers do no file access."""

import asyncio
import mimetypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.llm.common.exceptions import RequestError
from core.llm.common.messages import MediaPart, Message, Part
from core.llm.common.secrets import one_line

MAX_FILE_BYTES = 20 * 2**20


def names_files(messages: Sequence[Message]) -> bool:
    """True where a part of *messages* is a local file."""
    for message in messages:
        if message.content.__class__ is not str:
            for part in message.content:
                if isinstance(part, MediaPart) and part.path is not None:
                    return True
    return False


async def with_files_loaded(messages: Sequence[Message]) -> tuple[Message, ...]:
    """*messages* with the bytes of every file in place of its path.

    Raises:
        RequestError: a file cannot be read or is larger than 20 MiB.
    """
    return await asyncio.to_thread(lambda: tuple(_loaded(message) for message in messages))


def _loaded(message: Message) -> Message:
    if isinstance(message.content, str):
        return message
    return replace(message, content=tuple(_loaded_part(part) for part in message.content))


def _loaded_part(part: Part) -> Part:
    if not isinstance(part, MediaPart) or part.path is None:
        return part
    path = Path(part.path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        # ValueError: a name that no file can have, such as one with a NUL in it.
        reason = error.strerror if isinstance(error, OSError) else "that is no file name"
        raise RequestError(f"cannot read {one_line(path.name)} for the message: {reason}. Check the path") from None
    if len(data) > MAX_FILE_BYTES:
        raise RequestError(f"{path.name} is larger than {MAX_FILE_BYTES // 2**20} MiB, too large for a message")
    media_type = part.media_type or mimetypes.guess_type(path.name)[0]
    loaded: Part = replace(part, path=None, data=data, media_type=media_type)
    return loaded
