"""Commands that do something to a model, with their progress: `load`, `unload`, `pull`."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from core.llm import ModelStatus, Progress
from modules.cli.application import Application, opened
from modules.cli.live import live_table
from modules.cli.output import Output
from modules.terminal.figures import one_line, size
from modules.terminal.meter import Meter

_REDRAW: Final = 0.2
"""Seconds between two states of a bar."""
_LINE: Final = 2.0
"""Seconds between two lines, where a line cannot be overwritten."""


async def load(given: Namespace, output: Output) -> bool:
    """`core-llm load NAME [--stay]`."""
    async with opened(given.config, keeps=True) as app:
        try:
            async with shown(app, output, "load", given.name) as tell:
                status = await app.models.load(given.name, tell)
        except asyncio.CancelledError:
            output.note(f"interrupted: {given.name} was not loaded by this command; a server may still be at it")
            raise
        worker = _worker_model(app)
        if given.stay:
            output.note(f"{given.name} is loaded; Ctrl-C ends this" + (" and unloads it" if worker else ""))
            await live_table(app, output)
            return True
        if worker is None:
            output.result(_loaded(given.name, status, "is loaded"))
            return True
        output.result(_loaded(worker, status, "can be loaded"))
        await app.models.unload(given.name)
        output.note(
            f"It was unloaded again: it lives in a worker of the process that loads it, and this one ends now. Your "
            f"application loads it with its first call, or at its start with `residency.preload: [{worker}]`; "
            f"`core-llm load {given.name} --stay` keeps it here until Ctrl-C."
        )
        return True


async def unload(given: Namespace, output: Output) -> bool:
    """`core-llm unload NAME`."""
    async with opened(given.config) as app:
        workers = {one.model for one in app.models.list() if one.owned}
        name = resolved(app, given.name)
        if name in workers:
            output.note(
                f"core-llm unload: {name} lives in a worker of the process that loaded it, which is not this one: that "
                f"application unloads it, by `unload_model`, when it is idle (`residency.idle_ttl`), or as it stops"
            )
            return False
        await app.models.unload(given.name)
        output.result(f"{name} is not in memory")
        return True


async def pull(given: Namespace, output: Output) -> bool:
    """`core-llm pull NAME`."""
    async with opened(given.config) as app:
        meter: Meter | None = None
        try:
            async with shown(app, output, "pull", given.name) as tell:
                meter = tell.meter
                found = await app.models.pull(given.name, tell)
        except asyncio.CancelledError:
            share = meter.share if meter is not None else None
            where = f" at {share:.0%}" if share is not None else ""
            output.note(f"interrupted{where}: the same command goes on from there, where the server keeps what it has")
            raise
        of_size = f": {size(found.size_bytes)}" if found.size_bytes is not None else ""
        output.result(f"{resolved(app, given.name)} is there{of_size}")
        return True


def resolved(app: Application, name: str) -> str:
    """What *name* stands for first, as `provider/model`, as far as the configuration says."""
    known = app.llm.get_available_models()
    for one in known:
        if one.name == name:
            return one.targets[0] if one.targets else name
    matches = [one.name for one in known if one.kind == "model" and one.name.partition("/")[2] == name]
    return matches[0] if matches else name


def _worker_model(app: Application) -> str | None:
    """The model that this process has in a worker of its own, if it has one."""
    there = [one.model for one in app.models.list() if one.owned and one.state in {"ready", "in_use"}]
    return there[0] if there else None


def _loaded(name: str, status: ModelStatus, how: str) -> str:
    facts = [
        f"{status.load_seconds:.2f} s" if status.load_seconds is not None else "",
        size(status.memory_bytes) if status.memory_bytes is not None else "",
        one_line(status.detail),
    ]
    told = ", ".join(filter(None, facts))
    return f"{name} {how}" + (f": {told}" if told else "")


class _Tell:
    """Takes the progress of one load or pull."""

    def __init__(self, meter: Meter, app: Application) -> None:
        self.meter = meter
        self._clock = app.clock

    def __call__(self, progress: Progress) -> None:
        self.meter.tell(progress, self._clock.monotonic())


@asynccontextmanager
async def shown(app: Application, output: Output, kind: Literal["load", "pull"], name: str) -> AsyncIterator[_Tell]:
    """While inside, the progress is shown: as a bar on a terminal, as a line every two seconds elsewhere."""
    meter = Meter(kind, resolved(app, name), app.clock.monotonic())

    async def show() -> None:
        while True:
            if output.live_err:
                output.status(meter.line(app.clock.monotonic(), output.progress_width - 1))
                await app.clock.sleep(_REDRAW)
            else:
                await app.clock.sleep(_LINE)
                output.note(meter.line(app.clock.monotonic()))

    task = asyncio.create_task(show(), name="cli:progress")
    try:
        yield _Tell(meter, app)
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody reads what is written: whoever writes next learns it as well
        output.clear_status()
