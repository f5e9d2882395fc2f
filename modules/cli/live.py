"""A table of models that follows what happens, until it is interrupted or nobody looks any more."""

import asyncio
from typing import Final

from core.llm import Event, ModelEvent, ModelSurvey
from modules.cli.application import Application
from modules.cli.output import Output
from modules.terminal.model_table import LIVE, model_table

_LOOK: Final = 2.0
"""Seconds between two looks at the servers."""
_FRAME: Final = 0.1
"""Seconds between two drawings at least, whatever happens."""
_SECOND: Final = 1.0
"""Seconds after which idle times have changed."""


async def live_table(app: Application, output: Output, interval: float = _LOOK) -> None:
    """Show the models until Ctrl-C, which is how this ends, or until the reader of the output has gone."""
    table = _Live(app, output, interval)
    try:
        with output.block(), app.events.subscribe(table.on_event, ModelEvent):
            await table.run()
    except asyncio.CancelledError:
        # Nothing was left undone: this is how a person ends it.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


class _Live:
    def __init__(self, app: Application, output: Output, interval: float) -> None:
        self._app = app
        self._output = output
        self._interval = interval
        self._survey = ModelSurvey((), {})
        self._changed = asyncio.Event()
        self._shown: list[str] = []

    def on_event(self, _event: Event) -> None:
        """Something happens to a model: draw soon."""
        self._changed.set()

    async def run(self) -> None:
        """Draw until the reader has gone; cancelled, it ends at once."""
        await self._look()
        looking = asyncio.create_task(self._keep_looking(), name="cli:survey")
        try:
            while not self._output.reader_gone():
                self._changed.clear()
                self._draw()
                await self._app.clock.sleep(_FRAME)
                await self._something()
        finally:
            looking.cancel()
            await asyncio.wait([looking])

    async def _something(self) -> None:
        """Return when something has changed, and after a second in any case."""
        timer = self._app.clock.call_at(self._app.clock.monotonic() + _SECOND, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def _keep_looking(self) -> None:
        while True:
            await self._app.clock.sleep(self._interval)
            await self._look()
            self._changed.set()

    async def _look(self) -> None:
        self._survey = await self._app.models.survey(timeout=self._app.config.health_check.timeout)

    def _draw(self) -> None:
        app, output = self._app, self._output
        pinned = app.config.residency.pinned
        table = model_table(app.llm, app.models, self._survey, pinned=pinned, sees_workers=False, local_only=True)
        # A log has no use for seconds that pass.
        titles = LIVE if output.live_out else [title for title in LIVE if title != "IDLE"]
        width = output.width
        # One column stays free, so that no terminal wraps a full line.
        lines = table.lines(titles, width=None if width is None else width - 1)
        if lines != self._shown:
            output.draw(lines)
            self._shown = lines
