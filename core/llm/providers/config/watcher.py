"""Notices that a file may have changed. Whether it has, is for whoever reads it to say.

File events are a hint only: bind mounts, ConfigMaps and network file systems deliver none, and a watch on a folder that
was replaced is deaf without saying so. So the files are compared by `stat` at an interval as well, watches that died
are armed again, and where no events can be had at all, polling goes on alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from core.llm.common.clock import Clock
from core.llm.common.events import EventBus, WatcherDegraded
from core.llm.providers.config.folder_events import FolderEvents, NoFileEvents
from core.llm.providers.config.models.service import ReloadOptions
from core.llm.providers.config.sources import WatchSet

_log: Final = logging.getLogger("core.llm.config")
FULL_CHECK: Final = 60.0
"""Seconds after which the files are read even if `stat` saw nothing: an edit can keep size and time."""
LONGEST_DEBOUNCE: Final = 20
"""In units of the debounce: an editor that never pauses does not hold a reload back for ever."""


class ConfigWatcher:
    """Calls *changed* after the watched files have come to rest. Start and stop it on the event loop."""

    def __init__(
        self,
        watched: Callable[[], WatchSet],
        changed: Callable[[], Awaitable[None]],
        options: Callable[[], ReloadOptions],
        *,
        clock: Clock,
        events: EventBus,
    ) -> None:
        self._watched = watched
        self._changed = changed
        self._options = options
        self._clock = clock
        self._events = events
        self._wake = asyncio.Event()
        self._hinted = False
        self._task: asyncio.Task[None] | None = None
        self._folder_events: FolderEvents | None = None
        self._degraded = ""
        self._arm_again_at = 0.0
        self._look_again_at: float | None = None

    @property
    def mode(self) -> str:
        """`events+poll`, `poll` with the reason, or `off`."""
        if self._task is None:
            return "off"
        return f"poll: {self._degraded}" if self._degraded else "events+poll"

    async def start(self) -> None:
        """Begin to watch. Idempotent."""
        if self._task is None:
            self._arm()
            self._task = asyncio.create_task(self._run(), name="llm-config-watcher")

    async def stop(self) -> None:
        """Stop watching; afterwards no thread and no file descriptor is left. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._disarm()

    def look_again_in(self, seconds: float) -> None:
        """Call back once more after *seconds*, even if nothing has moved."""
        self._look_again_at = self._clock.monotonic() + seconds
        self._wake.set()

    async def _run(self) -> None:
        # No mark yet: the first round reads the files once, in case one was edited after it was loaded.
        mark: tuple[object, ...] | None = None
        checked = self._clock.monotonic()
        while True:
            try:
                await self._wait()
                now = self._clock.monotonic()
                if self._is_due(now) or self._hinted or now - checked >= FULL_CHECK or self._watched().mark() != mark:
                    mark = await self._come_to_rest()
                    checked = self._clock.monotonic()
                    await self._changed()
                    # What was read may have been written again meanwhile, or other files may have to be watched now.
                    mark = mark if self._watched().mark() == mark else None
                await self._rearm()
            except Exception as error:  # noqa: BLE001 - a watcher that dies leaves edits unnoticed for ever
                _log.error("watching the configuration failed with %s; it goes on", type(error).__name__)
                mark = None
                await self._clock.sleep(self._options().poll_interval)

    def _is_due(self, now: float) -> bool:
        if self._look_again_at is None or now < self._look_again_at:
            return False
        self._look_again_at = None
        return True

    async def _wait(self) -> None:
        """Until the next poll, or the next hint."""
        at = self._clock.monotonic() + self._options().poll_interval
        if self._look_again_at is not None:
            at = min(at, self._look_again_at)
        timer = self._clock.call_at(at, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    async def _come_to_rest(self) -> tuple[object, ...]:
        """The mark of the files once they have been quiet for the debounce time."""
        debounce = self._options().debounce
        end = self._clock.monotonic() + debounce * LONGEST_DEBOUNCE
        while True:
            self._hinted = False
            before = self._watched().mark()
            await self._clock.sleep(debounce)
            if self._clock.monotonic() >= end or (not self._hinted and self._watched().mark() == before):
                return before

    def _hint(self) -> None:
        self._hinted = True
        self._wake.set()

    def _arm(self) -> None:
        watch = FolderEvents(self._watched().folders(), self._hint)
        try:
            watch.open()
        except FileNotFoundError:
            return  # a folder went away just now; the next round looks for what is there instead
        except NoFileEvents as problem:
            self._arm_again_at = self._clock.monotonic() + FULL_CHECK
            if not self._degraded:
                self._degraded = str(problem)
                self._events.publish(WatcherDegraded(self._degraded))
            return
        self._folder_events, self._degraded = watch, ""

    async def _disarm(self) -> None:
        watch, self._folder_events = self._folder_events, None
        if watch is not None:
            await watch.close()

    async def _rearm(self) -> None:
        watch = self._folder_events
        if watch is None:
            if not self._degraded or self._clock.monotonic() >= self._arm_again_at:
                self._arm()
        elif not watch.healthy or watch.folders != self._watched().folders():
            await self._disarm()
            self._arm()
            # Whatever happened while nobody listened is found by reading once more.
            self._hint()
