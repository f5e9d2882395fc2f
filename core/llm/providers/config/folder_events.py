"""File events of a few folders, from watchdog's threads onto the event loop."""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from core.llm.common.files import identity

_log: Final = logging.getLogger("core.llm.config")
_IGNORED: Final = frozenset({"opened", "closed_no_write"})
_JOIN_PATIENCE: Final = 2.0
_TOO_LATE: Final = "InotifyEmitter.queue_events() called when the thread is inactive"


class NoFileEvents(Exception):
    """This system delivers no file events now; the message says why and what would help."""


class FolderEvents:
    """Calls *hint* on the event loop for every event in *folders*. Ends with `close`."""

    def __init__(self, folders: frozenset[Path], hint: Callable[[], None]) -> None:
        self.folders = folders
        self._loop = asyncio.get_running_loop()
        self._hint = hint
        self._inodes = {folder: identity(folder) for folder in folders}
        self._observer: Any = None

    def open(self) -> None:
        """Start watchdog's threads.

        Raises:
            NoFileEvents: events cannot be had; nothing is left behind.
            FileNotFoundError: a folder has gone; look again.
        """
        try:
            from watchdog.events import FileSystemEvent, FileSystemEventHandler  # noqa: PLC0415 - only who watches pays
            from watchdog.observers import Observer  # noqa: PLC0415
        except ImportError as error:
            raise NoFileEvents(f"watchdog cannot be imported: {error.name or 'unsupported system'}") from error
        events = self

        class Handler(FileSystemEventHandler):
            """Runs in watchdog's thread, which dies of any exception: it does nothing but wake the loop."""

            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type not in _IGNORED:
                    events._wake()

        # It is how watchdog's threads end when something is written at that moment, and no error of anybody.
        logging.getLogger("watchdog.observers.inotify").addFilter(_is_worth_a_line)
        try:
            self._observer = Observer()
            for folder in self.folders:
                self._observer.schedule(Handler(), str(folder), recursive=False)
            self._observer.start()
        except FileNotFoundError:
            self._abandon()
            raise
        except OSError as error:
            self._abandon()
            raise NoFileEvents(_reason(error)) from error

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(self._hint)

    @property
    def healthy(self) -> bool:
        """False once a thread has died or a folder is another one than at the start."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and all(emitter.is_alive() for emitter in observer.emitters)
            and all(identity(folder) == inode for folder, inode in self._inodes.items())
        )

    async def close(self) -> None:
        """Stop the threads and wait for them. Idempotent."""
        observer, self._observer = self._observer, None
        if observer is None:
            return
        ended = asyncio.Event()

        def end() -> None:
            try:
                observer.stop()
                if observer.is_alive():
                    observer.join(_JOIN_PATIENCE)
            except Exception as error:  # noqa: BLE001 - whatever watchdog has left open, nobody waits for it
                _log.warning("watchdog could not be stopped: %s", type(error).__name__)
            finally:
                with suppress(RuntimeError):  # the loop has closed: there is nobody left to tell
                    self._loop.call_soon_threadsafe(ended.set)

        # Stopping joins threads, which may take milliseconds that the event loop does not have.
        closer = threading.Thread(target=end, name="llm-config-watcher-close", daemon=True)
        closer.start()
        await ended.wait()
        closer.join(_JOIN_PATIENCE)

    def _abandon(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            # start() that failed half-way has left the threads of the folders before it running.
            observer.stop()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return record.msg != _TOO_LATE


def _reason(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        return "no inotify instance is left (EMFILE): raise the sysctl fs.inotify.max_user_instances"
    if error.errno == errno.ENOSPC:
        return "no inotify watch is left (ENOSPC): raise the sysctl fs.inotify.max_user_watches"
    return f"file events are not available: {error.strerror or type(error).__name__}"
