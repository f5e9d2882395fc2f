"""However an editor or an orchestrator saves the file, the edit is noticed once, whole, and soon."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.reload.live_config import (
    STYLES,
    applied,
    config_text,
    following,
    mount_version,
    rejected,
    save_atomically,
    until,
)

pytestmark = pytest.mark.leakcheck


@pytest.mark.parametrize("style", STYLES)
async def test_f119_every_way_to_save_becomes_live_within_two_seconds(path: Path, style: str) -> None:
    """F119, HR-01: three edits in a row, each seen whole."""
    took = []
    async with following(path) as (manager, events):
        for version in (2, 3, 4):
            began = time.monotonic()
            STYLES[style](path, config_text(version))
            await until(lambda version=version: manager.current.default_model == f"m{version}")
            took.append(time.monotonic() - began)

    assert min(took) < 2.0  # a machine may stand still, but not three times
    assert [event.generation for event in applied(events)] == [1, 2, 3, 4]
    # In between, the file may have been missing: that is refused, once, and nothing else is.
    assert all("no such file" in issue.message for event in rejected(events) for issue in event.issues)


async def test_hr_01_an_edit_is_live_within_two_seconds_with_default_times(path: Path) -> None:
    """HR-01 with the debounce and poll interval that ship."""
    plain = "llm_service:\n  default_model: a\n  models: {a: ollama/x}\n  providers: {ollama: {}}\n"
    path.write_text(plain)
    took = []
    async with following(path) as (manager, _):
        for number in range(3):
            began = time.monotonic()
            save_atomically(path, plain.replace("default_model: a", f"default_model: b{number}").replace("{a:", "{b:"))
            path.write_text(plain.replace("ollama/x", f"ollama/y{number}"))
            await until(lambda number=number: manager.generation == 2 + number)
            took.append(time.monotonic() - began)
    assert min(took) < 2.0  # a machine may stand still, but not three times


async def test_f119_a_config_map_swap_is_noticed(tmp_path: Path) -> None:
    """F119, M17: no event ever names the file itself."""
    folder = tmp_path / "mounted"
    mount_version(folder, 1, config_text(1))
    async with following(folder / "llm.yaml") as (manager, events):
        for version in (2, 3):
            mount_version(folder, version, config_text(version))
            await until(lambda version=version: manager.current.default_model == f"m{version}")

    assert [event.generation for event in applied(events)] == [1, 2, 3]


async def test_hr_13_touching_the_file_or_its_comments_changes_nothing(path: Path) -> None:
    """HR-13: neither a new time nor a new comment is an edit."""
    async with following(path) as (manager, events):
        before = manager.current
        os.utime(path)
        await asyncio.sleep(0.3)
        path.write_text("# another comment\n" + config_text(1))
        await asyncio.sleep(0.4)
        assert manager.generation == 1
        assert before == manager.current

    assert len(applied(events)) == 1
    assert rejected(events) == []


async def test_reading_the_file_wakes_nobody(path: Path) -> None:
    """A reload that reads the file must not cause the next one."""
    async with following(path) as (manager, events):
        for _ in range(5):
            path.read_text()
            await asyncio.sleep(0.05)
        assert manager.generation == 1
    assert len(events) == 1


async def test_f118_a_thousand_saves_in_two_seconds_are_a_few_reloads(path: Path) -> None:
    """F118, HR-12: the last content wins."""
    began = time.monotonic()
    async with following(path) as (manager, events):
        for version in range(1000):
            save_atomically(path, config_text(version))
            await asyncio.sleep(0.001)
        await until(lambda: manager.current.default_model == "m999")

    # Where writing them takes longer, more of them are old when the next one comes.
    assert len(applied(events)) - 1 <= 5 * max(2.0, time.monotonic() - began)
    assert rejected(events) == []


async def test_f120_a_deleted_file_is_refused_once_and_the_last_good_one_stays(path: Path) -> None:
    """F120, HR-04."""
    async with following(path) as (manager, events):
        path.unlink()
        await until(lambda: manager.status.stale)
        await asyncio.sleep(0.6)
        assert manager.current.default_model == "m1"

        path.write_text(config_text(1))
        await until(lambda: not manager.status.stale)
        assert manager.generation == 1

    assert len(rejected(events)) == 1
    assert "there is no such file" in rejected(events)[0].issues[0].message


@pytest.mark.parametrize("empty", ["", "\n\n", "# only a comment\n"])
async def test_hr_04_an_emptied_file_is_refused(path: Path, empty: str) -> None:
    """HR-04: an empty file is not an empty configuration."""
    async with following(path) as (manager, events):
        path.write_text(empty)
        await until(lambda: manager.status.stale)
        assert manager.current.default_model == "m1"
    assert len(rejected(events)) == 1


async def test_f107_the_same_broken_content_is_reported_once(path: Path) -> None:
    """F107: one event per content, however often the file is saved."""
    async with following(path) as (manager, events):
        for _ in range(4):
            save_atomically(path, "llm_service: {retri: {}}\n")
            await asyncio.sleep(0.25)
        assert manager.status.stale
        assert "did you mean `retry`?" in str(manager.status.last_error[0])
        assert manager.status.reloads == {"applied": 0, "unchanged": 0, "rejected": 1}

    assert len(rejected(events)) == 1


async def test_what_moves_beside_a_broken_file_is_no_reload(path: Path) -> None:
    """A log that is written there would else be counted line by line."""
    async with following(path) as (manager, _):
        save_atomically(path, "llm_service: {retri: {}}\n")
        await until(lambda: manager.status.stale)
        for number in range(5):
            (path.parent / "app.log").write_text(f"line {number}\n")
            await asyncio.sleep(0.1)
        assert manager.status.reloads["rejected"] == 1


async def test_cf_09_layers_includes_and_secret_files_are_watched(path: Path, tmp_path: Path) -> None:
    """CF-09: also the layer that did not exist at the start."""
    folder = path.parent
    secret = tmp_path / "key"
    secret.write_text("first-key\n")
    path.write_text(
        "include: [more/*.yaml]\nllm_service:\n  reload: {debounce: 40ms, poll_interval: 200ms}\n"
        f"  providers: {{openai: {{api_key: {{file: {secret}}}}}}}\n"
    )
    (folder / "more").mkdir()
    async with following(path) as (manager, _):
        secret.write_text("second-key\n")
        await until(lambda: manager.generation == 2)
        assert manager.get_provider_config("openai").api_key.get_secret_value() == "second-key"

        (folder / "more" / "ollama.yaml").write_text("llm_service: {providers: {ollama: {}}}\n")
        await until(lambda: manager.generation == 3)
        assert {"openai", "ollama"} == set(manager.current.providers)

        (folder / "llm.local.yaml").write_text("llm_service: {retry: {max_retries: 7}}\n")
        await until(lambda: manager.generation == 4)
        assert manager.current.retry.max_retries == 7

        (folder / "llm.local.yaml").unlink()
        await until(lambda: manager.generation == 5)
        assert manager.current.retry.max_retries == 2
