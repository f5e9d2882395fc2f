"""What the configuration manager hands out: changes, results, status, origins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.diff import ConfigDiff
from core.llm.providers.config.models.service import LLMServiceConfig


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A valid configuration on its way to becoming live, or just live."""

    old: LLMServiceConfig | None
    """None at the first load."""
    new: LLMServiceConfig
    generation: int
    """The number that `new` has, or will have once it is live."""
    diff: ConfigDiff
    disabled: Mapping[str, str] = field(default_factory=dict)
    """Providers of `new` that are off, with the reason."""
    notes: list[ConfigIssue] = field(default_factory=list)
    """Warnings of whoever applies the change; they join those of the loader."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """How a reload ended."""

    status: Literal["applied", "unchanged", "rejected"]
    generation: int
    """The generation in force afterwards."""
    changes: tuple[str, ...] = ()
    restart_required: tuple[str, ...] = ()
    errors: tuple[ConfigIssue, ...] = ()
    duration: float = 0.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """How the configuration is doing, for health reports."""

    generation: int
    age: float
    """Seconds since the configuration in force was applied."""
    stale: bool
    """True while the files say something that was refused."""
    last_error: tuple[ConfigIssue, ...]
    warnings: tuple[ConfigIssue, ...]
    disabled: Mapping[str, str]
    watch_mode: str
    sources: tuple[str, ...]
    """The files that were read."""
    reloads: Mapping[str, int] = field(default_factory=dict)
    """How many reloads ended `applied`, `unchanged` and `rejected`; the first load is none."""
    last_reload: datetime | None = None
    """When the last of them ended."""


@dataclass(frozen=True, slots=True)
class ValueOrigin:
    """One value of a setting and where it was written; masked where it is secret."""

    value: Any
    layer: str
    """File, environment variable, `code` or `default`."""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.layer, self.line, self.column) if part is not None)
        return f"{self.value}  ({place})"
