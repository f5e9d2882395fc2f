"""The state of a scripted Ollama server: installed models, models in memory with their expiry, uploaded blobs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.llm.common.clock import Clock
from core.llm.testing.ollama_script import OllamaModelSpec
from core.llm.testing.ollama_types import BadRequest, keep_alive_seconds

DEFAULT_KEEP_ALIVE: Final = 300.0
_LOAD_OPTIONS: Final = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "use_mlock")
_NEVER: Final = datetime(2318, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Load:
    """One time that a model was brought into memory."""

    model: str
    options: dict[str, Any]


@dataclass(slots=True)
class _Resident:
    spec: OllamaModelSpec
    options: dict[str, Any]
    keep: float
    idle_since: float
    users: int = 0
    leaving: bool = False


@dataclass(slots=True)
class OllamaStore:
    """Models by name; `name` means `name:latest`."""

    clock: Clock
    installed: dict[str, OllamaModelSpec] = field(default_factory=dict)
    modified: dict[str, datetime] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)
    """Size by digest; the bytes are not kept."""
    loads: list[Load] = field(default_factory=list)
    """Every load, in order: what a shared server had to do."""
    _resident: dict[str, _Resident] = field(default_factory=dict)

    def add(self, models: Iterable[OllamaModelSpec | str]) -> None:
        """Install *models*."""
        for model in models:
            given = OllamaModelSpec(model) if isinstance(model, str) else model
            name = full_name(given.name)
            # A copy: a test that changes it changes it for this server only.
            self.installed[name] = replace(given, name=name)
            self.modified[name] = self.clock.now() + timedelta(microseconds=len(self.modified))

    def find(self, name: str) -> OllamaModelSpec:
        """The installed model of that name; 404 where there is none."""
        spec = self.installed.get(full_name(name))
        if spec is None:
            raise BadRequest(f"model '{name}' not found", 404)
        return spec

    def remove(self, name: str) -> None:
        """Delete an installed model; it leaves memory as well."""
        spec = self.find(name)
        del self.installed[spec.name]
        self._resident.pop(spec.name, None)

    def acquire(self, spec: OllamaModelSpec, options: Mapping[str, Any] | None, keep_alive: Any) -> bool:
        """Bring *spec* into memory if needed; True where that was a load. `release` it afterwards."""
        self._sweep()
        wanted = {name: options[name] for name in _LOAD_OPTIONS if options and name in options}
        keep = DEFAULT_KEEP_ALIVE if keep_alive is None else keep_alive_seconds(keep_alive)
        resident = self._resident.get(spec.name)
        loads = resident is None or resident.options != wanted
        if resident is None or loads:
            self.loads.append(Load(spec.name, wanted))
            resident = self._resident[spec.name] = _Resident(spec, wanted, keep, self.clock.monotonic())
        resident.keep = keep
        resident.leaving = False
        resident.users += 1
        return loads

    def release(self, spec: OllamaModelSpec) -> None:
        """The request has ended: from now on the model is idle, or leaves."""
        resident = self._resident.get(spec.name)
        if resident is not None:
            resident.users = max(resident.users - 1, 0)
            resident.idle_since = self.clock.monotonic()
        self._sweep()

    def expire(self, spec: OllamaModelSpec) -> None:
        """Unload as soon as nobody uses it."""
        resident = self._resident.get(spec.name)
        if resident is not None:
            resident.leaving = True
        self._sweep()

    def unload_all(self) -> None:
        """Nothing is in memory any more, whoever uses it."""
        self._resident.clear()

    def resident(self) -> list[tuple[OllamaModelSpec, datetime, int]]:
        """Models in memory, when each expires, and with how much context."""
        self._sweep()
        now, wall = self.clock.monotonic(), self.clock.now()
        found = []
        for entry in self._resident.values():
            left = entry.keep - (now - entry.idle_since)
            expires = _NEVER if math.isinf(entry.keep) else wall + timedelta(seconds=left)
            found.append((entry.spec, expires, context_of(entry.spec, entry.options)))
        return found

    def _sweep(self) -> None:
        now = self.clock.monotonic()
        for name, entry in list(self._resident.items()):
            if entry.users == 0 and (entry.leaving or now - entry.idle_since >= entry.keep):
                del self._resident[name]


def full_name(name: str) -> str:
    """`name` is `name:latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def context_of(spec: OllamaModelSpec, options: Mapping[str, Any] | None) -> int:
    """Tokens of context with *options*."""
    wanted = (options or {}).get("num_ctx", spec.parameters.get("num_ctx", 4096))
    return min(int(wanted), spec.context_length)
