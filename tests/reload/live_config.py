"""A configuration in a real directory, followed by a real watcher with short times."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from core.llm.common.clock import SystemClock
from core.llm.common.events import ConfigApplied, ConfigRejected, Event, EventBus
from core.llm.providers.config.manager import ProviderConfigManager
from tests.unit.providers.config.fake_types import TYPES, resolve

QUICK = "  reload: {debounce: 40ms, poll_interval: 200ms}\n"


def config_text(version: int) -> str:
    """A valid configuration that can be told from others by its number."""
    return (
        f"# edited for the {version}th time\nllm_service:\n  default_model: m{version}\n"
        f"  models: {{m{version}: ollama/q{version}}}\n  providers: {{ollama: {{}}}}\n{QUICK}"
    )


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[tuple[ProviderConfigManager, list[Event]]]:
    """A started manager for *path*, and every event it publishes."""
    events: list[Event] = []
    bus = EventBus()
    bus.subscribe(events.append)
    manager = ProviderConfigManager(
        path, resolve=resolve, events=bus, clock=SystemClock(), env={}, known_types=lambda: TYPES
    )
    await manager.start()
    try:
        yield manager, events
    finally:
        await manager.stop()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return once *condition* holds; fail after *seconds*."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


def applied(events: list[Event]) -> list[ConfigApplied]:
    """The configurations that went live."""
    return [event for event in events if isinstance(event, ConfigApplied)]


def rejected(events: list[Event]) -> list[ConfigRejected]:
    """The edits that were refused."""
    return [event for event in events if isinstance(event, ConfigRejected)]


def save_in_place(path: Path, text: str) -> None:
    """Open, write, close."""
    path.write_text(text)


def save_atomically(path: Path, text: str) -> None:
    """Write beside it and rename, as most editors do."""
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    os.replace(beside, path)


def save_slowly(path: Path, text: str) -> None:
    """Truncate, then write in two parts."""
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.03)
        file.write(text[len(text) // 2 :])


def save_by_deleting(path: Path, text: str) -> None:
    """Delete, then create."""
    path.unlink()
    time.sleep(0.03)
    path.write_text(text)


def save_with_backup(path: Path, text: str) -> None:
    """Rename to a backup, create, delete the backup: vim with `backupcopy=no`."""
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def save_from_elsewhere(path: Path, text: str) -> None:
    """Move a file in from another directory."""
    other = path.parent.parent / "elsewhere.yaml"
    other.write_text(text)
    os.replace(other, path)


def save_by_swapping_folders(path: Path, text: str) -> None:
    """Rename the directory away and put a new one in its place."""
    folder = path.parent
    shutil.rmtree(folder.with_suffix(".old"), ignore_errors=True)
    folder.rename(folder.with_suffix(".old"))
    folder.mkdir()
    path.write_text(text)


STYLES: dict[str, Callable[[Path, str], None]] = {
    function.__name__: function
    for function in (
        save_in_place,
        save_atomically,
        save_slowly,
        save_by_deleting,
        save_with_backup,
        save_from_elsewhere,
        save_by_swapping_folders,
    )
}


def mount_version(folder: Path, version: int, text: str) -> None:
    """What Kubernetes does to a mounted ConfigMap: `llm.yaml -> ..data/llm.yaml`, `..data -> ..v<n>`, swapped by rename."""
    new = folder / f"..v{version}"
    new.mkdir(parents=True)
    (new / "llm.yaml").write_text(text)
    link, data = folder / "..data_tmp", folder / "..data"
    link.symlink_to(new.name)
    old = data.resolve() if data.is_symlink() else None
    os.rename(link, data)
    if old is not None:
        shutil.rmtree(old)
    name = folder / "llm.yaml"
    if not name.is_symlink():
        name.symlink_to("..data/llm.yaml")
