"""The watcher goes on where file events fail, and leaves nothing behind."""

import asyncio
import errno
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import watchdog.observers

from core.llm.common.events import WatcherDegraded
from core.llm.providers.config import watcher as watcher_module
from core.llm.providers.config.folder_events import FolderEvents
from tests.leaks import Resources, assert_nothing_left
from tests.reload.live_config import applied, config_text, following, rejected, save_atomically, until

pytestmark = pytest.mark.leakcheck


@pytest.mark.parametrize(
    ("number", "where", "sysctl"),
    [
        (errno.EMFILE, "constructor", "fs.inotify.max_user_instances"),
        (errno.ENOSPC, "start", "fs.inotify.max_user_watches"),
    ],
)
async def test_f121_polling_takes_over_when_inotify_is_used_up(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str, sysctl: str
) -> None:
    """F121: one event that names the sysctl, and edits are still seen."""

    class Exhausted(watchdog.observers.Observer):  # type: ignore[misc, valid-type]  # chosen by watchdog at run time
        def __init__(self, *args: Any, **more: Any) -> None:
            if where == "constructor":
                raise OSError(number, "used up")
            super().__init__(*args, **more)

        def start(self) -> None:
            raise OSError(number, "used up")

    monkeypatch.setattr(watchdog.observers, "Observer", Exhausted)
    async with following(path) as (manager, events):
        save_atomically(path, config_text(2))
        await until(lambda: manager.generation == 2)
        assert manager.status.watch_mode.startswith("poll: ")

    degraded = [event for event in events if isinstance(event, WatcherDegraded)]
    assert len(degraded) == 1
    assert sysctl in degraded[0].reason


async def test_f121_a_dead_emitter_is_replaced(path: Path) -> None:
    """F121: `is_alive()` of the observer says nothing about its emitters."""
    async with following(path) as (manager, _):
        before = manager._watcher._folder_events
        for emitter in before._observer.emitters:
            emitter.stop()
        await until(lambda: manager._watcher._folder_events is not before)
        save_atomically(path, config_text(2))
        await until(lambda: manager.generation == 2)
        assert manager.status.watch_mode == "events+poll"


async def test_f121_a_dead_observer_is_replaced(path: Path) -> None:
    """F121: an observer thread that died of a handler is noticed at the next poll."""
    async with following(path) as (manager, _):
        before = manager._watcher._folder_events
        before._observer.event_queue.put(None)  # not an event: the dispatching thread dies of it
        threading.excepthook, hook = (lambda _: None), threading.excepthook
        try:
            await until(lambda: manager._watcher._folder_events is not before)
        finally:
            threading.excepthook = hook
        save_atomically(path, config_text(2))
        await until(lambda: manager.generation == 2)


async def test_a_directory_that_was_removed_and_made_again_is_watched_again(path: Path) -> None:
    """The watch on the old inode is deaf; polling finds the new directory."""
    async with following(path) as (manager, events):
        shutil.rmtree(path.parent)
        await until(lambda: manager.status.stale)
        path.parent.mkdir()
        path.write_text(config_text(2))
        await until(lambda: manager.generation == 2)
        save_atomically(path, config_text(3))
        await until(lambda: manager.generation == 3)
        assert manager.status.watch_mode == "events+poll"
    assert len(rejected(events)) == 1


async def test_an_edit_between_load_and_watch_is_not_lost(path: Path) -> None:
    """The baseline is what was applied, not what was there when watching began."""
    async with following(path) as (manager, _):
        await manager.stop()
        path.write_text(config_text(2))
        await manager.start()
        await until(lambda: manager.generation == 2)


async def test_an_edit_that_keeps_size_and_time_is_found_by_the_full_check(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blind spot of `stat` is closed by reading everything now and then."""
    import os

    monkeypatch.setattr(watcher_module, "FULL_CHECK", 0.5)

    class Deaf(watchdog.observers.Observer):  # type: ignore[misc, valid-type]  # chosen by watchdog at run time
        def start(self) -> None:
            raise OSError(errno.EMFILE, "used up")

    monkeypatch.setattr(watchdog.observers, "Observer", Deaf)
    async with following(path) as (manager, _):
        await asyncio.sleep(0.3)
        status = path.stat()
        text = config_text(1).replace("ollama/q1", "ollama/q7")
        with path.open("r+") as file:
            file.write(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        await until(lambda: manager.generation == 2)


async def test_hr_12_truncated_text_is_held_back_until_it_stays(path: Path) -> None:
    """F106: a beginning of the text in force is taken for an unfinished write, then for a deletion."""
    whole = config_text(1) + "  retry: {max_retries: 5}\n"
    path.write_text(whole)
    async with following(path) as (manager, events):
        path.write_text(config_text(1))
        await until(lambda: manager.status.stale)
        assert manager.current.retry.max_retries == 5
        assert "looks truncated" in str(manager.status.last_error[0])

        path.write_text(whole)
        await until(lambda: not manager.status.stale)
        assert manager.generation == 1

        path.write_text(config_text(1))
        await until(lambda: manager.generation == 2)
        assert manager.current.retry.max_retries == 2
        assert not manager.status.stale
    assert len(applied(events)) == 2


@pytest.mark.parametrize("how", ["removed", "emptied"])
async def test_hr_04_a_secret_that_is_gone_for_a_moment_switches_nothing_off(
    path: Path, tmp_path: Path, how: str
) -> None:
    """Whoever rotates a key by hand removes or empties the file first; a key that stays away is one that is revoked."""
    secret = tmp_path / "key"
    secret.write_text("first-key")
    path.write_text(
        "llm_service:\n  reload: {debounce: 40ms, poll_interval: 200ms}\n"
        f"  providers: {{openai: {{api_key: {{file: {secret}}}}}}}\n"
    )

    def take_away() -> None:
        secret.unlink() if how == "removed" else secret.write_text("")

    def key() -> str:
        found = manager.get_provider_config("openai").api_key
        return found.get_secret_value() if found else ""

    async with following(path) as (manager, _):
        take_away()
        await until(lambda: manager.status.stale)
        assert (key(), dict(manager.disabled)) == ("first-key", {})
        assert "gone or empty" in str(manager.status.last_error[0])

        secret.write_text("second-key")
        await until(lambda: key() == "second-key")
        assert not manager.status.stale

        take_away()
        await until(lambda: "openai" in manager.disabled)
        assert not manager.status.stale


@pytest.mark.parametrize(
    ("name", "how"), [("llm.local.yaml", "removed"), ("llm.local.yaml", "emptied"), ("more/retry.yaml", "removed")]
)
async def test_hr_04_a_layer_that_is_gone_for_a_moment_takes_nothing_away(path: Path, name: str, how: str) -> None:
    """Who saves by deleting first, or truncates, means what comes next: a layer or include need not be there at all."""
    layer = path.parent / name
    layer.parent.mkdir(exist_ok=True)
    path.write_text("include: [more/*.yaml]\n" + config_text(1))
    layer.write_text("llm_service: {retry: {max_retries: 5}}\n")

    def take_away() -> None:
        layer.unlink() if how == "removed" else layer.write_text("")

    async with following(path) as (manager, events):
        take_away()
        await until(lambda: manager.status.stale)
        assert manager.current.retry.max_retries == 5
        (issue,) = manager.status.last_error
        assert issue.file == str(layer)
        assert "gone or empty" in issue.message

        layer.write_text("llm_service: {retry: {max_retries: 7}}\n")
        await until(lambda: not manager.status.stale)
        assert manager.current.retry.max_retries == 7

        take_away()
        await until(lambda: manager.current.retry.max_retries == 2)
        assert not manager.status.stale
    assert [event.generation for event in applied(events)] == [1, 2, 3]


async def test_hr_12_a_file_that_is_not_named_any_more_may_go_at_once(path: Path) -> None:
    """Nobody waits for what the configuration does not ask for."""
    included = path.with_name("retry.yaml")
    included.write_text("llm_service: {retry: {max_retries: 5}}\n")
    path.write_text("include: retry.yaml\n" + config_text(1))
    async with following(path) as (manager, events):
        included.unlink()
        save_atomically(path, config_text(1))
        await until(lambda: manager.current.retry.max_retries == 2)
    assert not [issue for event in rejected(events) for issue in event.issues if "gone or empty" in issue.message]


async def test_hr_17_the_watcher_survives_what_its_callback_raises(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """HR-17: a bug while reloading does not end watching."""
    async with following(path) as (manager, _):
        real, calls = manager._watcher._changed, []

        async def failing() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise RuntimeError("a bug")
            await real()

        manager._watcher._changed = failing
        save_atomically(path, config_text(2))
        await until(lambda: manager.generation == 2)
    assert "watching the configuration failed with RuntimeError" in caplog.text


async def test_hr_18_nothing_is_left_after_stop(path: Path) -> None:
    """HR-18: twenty times around, no thread and no descriptor more."""
    async with following(path):
        pass
    before = Resources.now()
    for _ in range(20):
        async with following(path):
            pass
    await assert_nothing_left(before)


async def test_hr_18_a_late_event_after_the_loop_closed_raises_nothing(path: Path) -> None:
    """HR-18: watchdog's thread finds nobody, and lives on until it is stopped."""
    closed = asyncio.new_event_loop()
    closed.close()
    async with following(path) as (manager, _):
        watch = manager._watcher._folder_events
        loop, watch._loop = watch._loop, closed
        watch._wake()
        save_atomically(path, config_text(2))
        await asyncio.sleep(0.1)
        assert watch._observer.is_alive()
        watch._loop = loop


async def test_a_write_during_the_stop_is_no_error_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log file beside the configuration is written to while the application stops: watchdog calls that an error."""
    events = FolderEvents(frozenset({tmp_path}), lambda: None)
    events.open()
    (emitter,) = events._observer.emitters
    await events.close()

    emitter.queue_events(0.0)  # what its thread does when the last event comes too late

    assert caplog.records == []


async def test_a_watchdog_that_cannot_be_stopped_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The application goes on to stop, and its log says what was left open."""
    events = FolderEvents(frozenset({tmp_path}), lambda: None)
    events.open()
    observer = events._observer

    def fail() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(observer, "stop", fail)
        await asyncio.wait_for(events.close(), 10.0)
    await asyncio.to_thread(lambda: (observer.stop(), observer.join()))

    assert "watchdog could not be stopped: OSError" in caplog.text
