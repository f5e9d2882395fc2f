"""Room for a download on the disk of a server that runs on this machine."""

import asyncio
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from core.llm.common.exceptions import ProviderError
from core.llm.providers.ollama.models.catalogue import TransferProgress

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_USUAL: Final = (Path("~/.ollama/models"), Path("/usr/share/ollama/.ollama/models"))
_KEPT_FREE: Final = 64 * 2**20
"""Bytes that a download leaves: a server needs some room for its own files."""


class DiskCheck:
    """Compares what is still to come with what is free. Asks nothing where the disk of the server is not known."""

    def __init__(self, base_url: str, models_dir: str | None) -> None:
        self._places = _places(base_url, models_dir)
        self._seen: set[str] = set()

    async def look(self, model: str, line: TransferProgress) -> None:
        """Take one line of a pull into account; the disk is looked at once for each layer, before it fills.

        Raises:
            ProviderError: `server_error` with code `disk_full`, not retryable; has both numbers.
        """
        if not self._places or not line.digest or not line.total or line.digest in self._seen:
            return
        self._seen.add(line.digest)
        need = line.total - min(line.completed or 0, line.total)
        free = await asyncio.to_thread(_free, self._places)
        if free is not None and need + _KEPT_FREE > free:
            raise ProviderError(
                "server_error",
                f"{model!r} cannot be pulled: {need} bytes are still to come and {free} are free on the disk of the "
                "server. Delete a model there, or make room; what has arrived is kept",
                code="disk_full",
                retryable=False,
                scope="model",
            )


def _places(base_url: str, models_dir: str | None) -> tuple[Path, ...]:
    if models_dir:
        return (Path(models_dir).expanduser(),)
    return tuple(place.expanduser() for place in _USUAL) if urlsplit(base_url).hostname in _HERE else ()


def _free(places: tuple[Path, ...]) -> int | None:
    for place in places:
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None
