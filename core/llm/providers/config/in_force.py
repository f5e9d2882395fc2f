"""What is in force, how it came to be, and what has been refused since."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.providers.config.changes import ConfigStatus, ReloadResult
from core.llm.providers.config.diff import ConfigDiff
from core.llm.providers.config.loader import LoadedConfig
from core.llm.providers.config.reading import Reading
from core.llm.providers.config.sources import WatchSet
from core.llm.providers.config.tree import find, parse_dotted
from core.llm.providers.config.truncation import TruncationGuard

_NO_DIFF: Final = ConfigDiff()
_CONFIRM_POLLS: Final = 3
"""Poll intervals after which a text that looks truncated is believed."""


class InForce:
    """The books of a configuration manager; reads nothing and tells nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.loaded: LoadedConfig | None = None
        self.generation = 0
        self.watch_set = WatchSet()
        """The files that matter: of what is in force, and of what was refused since."""
        self.seen = ""
        """The digest of what was read last, as long as it is in force."""
        self._notes: tuple[ConfigIssue, ...] = ()
        """Warnings of whoever applied it, by their paths."""
        self._applied_at = 0.0
        self._last_error: tuple[ConfigIssue, ...] = ()
        self._reloads = dict.fromkeys(("applied", "unchanged", "rejected"), 0)
        self._last_reload: datetime | None = None
        self.refused: tuple[str, tuple[ConfigIssue, ...]] | None = None
        """What was refused last, and why; `None` once something is in force again."""
        self._guard = TruncationGuard()

    def require(self) -> LoadedConfig:
        """What is in force.

        Raises:
            ConfigError: nothing has been loaded yet.
        """
        if self.loaded is None:
            message = "the configuration has not been loaded yet: start the container, or await load()"
            raise ConfigError([ConfigIssue(message)])
        return self.loaded

    @property
    def warnings(self) -> tuple[ConfigIssue, ...]:
        """What is said of the configuration in force, where it stands in the files of now."""
        if self.loaded is None:
            return ()
        return (*self.loaded.warnings, *(located(note, self.loaded) for note in self._notes))

    def put(self, read: Reading, loaded: LoadedConfig, notes: Sequence[ConfigIssue]) -> float:
        """Put *loaded* in force; returns how long that took since it was read."""
        self.loaded = loaded
        self._notes = tuple(notes)
        self.generation += 1
        self._applied_at = self._clock.monotonic()
        self._settle(read)
        return self._applied_at - read.started

    def keep(self, read: Reading, loaded: LoadedConfig) -> None:
        """What was read means what is in force."""
        self.loaded = loaded
        self._settle(read)

    def _settle(self, read: Reading) -> None:
        if read.beside_files:
            return
        self._last_error = ()
        self.refused = None
        self.seen = read.sources.digest()
        self.watch_set = read.sources.watch_set
        self._guard.accept(read.sources.texts, read.sources.secrets)

    def reject(self, read: Reading, errors: Sequence[ConfigIssue]) -> tuple[ConfigIssue, ...] | None:
        """Note that what was read is refused; returns why, the first time that this content is."""
        if read.beside_files:
            return tuple(errors)
        self._last_error = tuple(errors)
        self.seen = ""
        # A file that a broken edit names is watched as well: mending it there must be noticed.
        self.watch_set = self.watch_set.union(read.sources.watch_set)
        # What a program says need not name any file: it is told apart by what is wrong with it.
        before, self.refused = self.refused, (read.sources.digest(), self._last_error)
        return None if self.refused == before else self._last_error

    def doubt(self, read: Reading) -> tuple[ConfigIssue, float] | None:
        """Why what was read may be half of files that are being written, and after how long it is believed."""
        patience = _CONFIRM_POLLS * self.require().config.reload.poll_interval
        gone = read.sources.missed(self._guard.held)
        found = self._guard.check(read.sources.texts, read.sources.digest(), read.started, patience, gone)
        return None if found is None else (found, patience)

    def counted(self, result: ReloadResult) -> ReloadResult:
        """Count how a reload has ended."""
        self._reloads[result.status] += 1
        self._last_reload = self._clock.now()
        return result

    def result(
        self,
        status: Literal["applied", "unchanged", "rejected"],
        read: Reading,
        diff: ConfigDiff = _NO_DIFF,
        errors: tuple[ConfigIssue, ...] = (),
    ) -> ReloadResult:
        """How a reload ends now."""
        duration = self._clock.monotonic() - read.started
        return ReloadResult(status, self.generation, diff.changes, diff.restart_required, errors, duration)

    def status(self, watch_mode: str) -> ConfigStatus:
        """How the configuration is doing."""
        loaded = self.loaded
        return ConfigStatus(
            generation=self.generation,
            age=self._clock.monotonic() - self._applied_at if loaded else 0.0,
            stale=bool(self._last_error),
            last_error=self._last_error,
            warnings=self.warnings,
            disabled=loaded.disabled if loaded else {},
            watch_mode=watch_mode,
            sources=tuple(str(path) for path in self.watch_set.files if path.is_file()),
            reloads=dict(self._reloads),
            last_reload=self._last_reload,
        )


def located(issue: ConfigIssue, loaded: LoadedConfig) -> ConfigIssue:
    """*issue* with the place of its path, where whoever raised it knew the path only.

    What the file says in a shorter way (a list of names, a text for a mapping) has the place of what holds it.
    """
    path = issue.path if issue.file is None else ""
    node = None
    while path and node is None:
        steps = parse_dotted(loaded.tree, path)
        node = find(loaded.tree, steps) if steps else None
        path = path.rpartition(".")[0]
    if node is None:
        return issue
    return replace(issue, file=node.key_origin.layer, line=node.key_origin.line, column=node.key_origin.column)
