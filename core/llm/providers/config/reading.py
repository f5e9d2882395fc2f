"""Read the sources until they hold still, in a thread where there is much to parse."""

import asyncio
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.providers.config.loader import LoadedConfig, Source, SourcesMoving, load_with
from core.llm.providers.config.resolving import ProviderTypes
from core.llm.providers.config.sources import SourceReader, WatchSet, file_mark

_OFF_LOOP_BYTES: Final = 64 * 1024
"""Sources larger than this are parsed in a thread; smaller ones are done before a thread would have started."""
_TRIES: Final = 3
_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pass over the sources gave: a configuration, or what is wrong."""

    started: float
    sources: SourceReader
    loaded: LoadedConfig | None
    errors: tuple[ConfigIssue, ...] = ()
    beside_files: bool = False
    """The program says it over files, which are as they were and go on being followed."""


class ConfigReader:
    """Loads sources; keeps nothing."""

    def __init__(
        self, types: ProviderTypes, clock: Clock, env: Mapping[str, str] | None, environment: str | None
    ) -> None:
        self._types = types
        self._clock = clock
        self._env = env
        self._environment = environment

    async def read(self, source: Source, watched: WatchSet) -> Reading:
        """Load *source*; *watched* are the files that the last load read, for an estimate of the work."""
        started = self._clock.monotonic()
        env = os.environ if self._env is None else self._env
        environment = self._environment or env.get("LLM_ENV") or None
        sources = SourceReader()
        for _ in range(_TRIES):
            sources = SourceReader()

            def work(sources: SourceReader = sources) -> LoadedConfig:
                return load_with(sources, source, env, self._types, environment=environment)

            try:
                loaded = await asyncio.to_thread(work) if _is_large(source, watched) else work()
            except SourcesMoving:
                await self._clock.sleep(_PAUSE)
            except ConfigError as error:
                return Reading(started, sources, None, error.issues)
            except Exception as error:  # noqa: BLE001 - a defect of ours must not end what follows the files
                # The text of a foreign error may hold a value of the configuration; its type and place do not.
                message = f"could not be read: {type(error).__name__} in {place_of(error)}"
                advice = "undo the last edit, and report this"
                issue = ConfigIssue(message, file=_name(source), suggestion=advice)
                return Reading(started, sources, None, (issue,))
            else:
                return Reading(started, sources, loaded)
        issue = ConfigIssue("the files are still being written", file=_name(source))
        return Reading(started, sources, None, (issue,))


def place_of(error: BaseException) -> str:
    """The line that raised *error*."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _name(source: Source) -> str | None:
    return str(source) if isinstance(source, Path) else None


def _is_large(source: Source, watched: WatchSet) -> bool:
    if not isinstance(source, Path):
        return False
    marks = (file_mark(path) for path in {source, *watched.files})
    return sum(mark[-1] for mark in marks if mark is not None) > _OFF_LOOP_BYTES
