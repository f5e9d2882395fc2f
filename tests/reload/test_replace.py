"""What a program puts in force over a file holds until the file is edited: no sooner, and no longer."""

from pathlib import Path
from typing import Any, Final

import pytest

from core.llm.providers.config import watcher as watcher_module
from core.llm.providers.config.manager import ProviderConfigManager
from tests.reload.live_config import config_text, following, rejected, save_atomically, until

pytestmark = pytest.mark.leakcheck

BY_CODE: Final[dict[str, Any]] = {
    "default_model": "by-code",
    "models": {"by-code": "ollama/q"},
    "providers": {"ollama": {}},
    "reload": {"debounce": "40ms", "poll_interval": "200ms"},
}
WRONG: Final[dict[str, Any]] = {"providers": {"ollama": {"nonsense": 1}}}


async def test_the_next_edit_of_the_file_wins(path: Path) -> None:
    """The file goes on being followed, although what is in force did not come from it."""
    async with following(path) as (manager, _):
        assert (await manager.replace(BY_CODE)).status == "applied"
        assert manager.current.default_model == "by-code"
        save_atomically(path, config_text(2))
        await until(lambda: manager.current.default_model == "m2")
        assert manager.status.sources == (str(path),)


async def test_a_file_that_was_broken_before_is_followed_until_it_is_mended(path: Path) -> None:
    """The refused edit is not forgotten over what a program says meanwhile."""
    async with following(path) as (manager, _):
        save_atomically(path, "llm_service: {retri: {}}\n")
        await until(lambda: manager.status.stale)
        assert (await manager.replace(BY_CODE)).status == "applied"
        assert manager.status.stale
        save_atomically(path, config_text(2))
        await until(lambda: manager.current.default_model == "m2")
        assert not manager.status.stale


async def test_nothing_but_an_edit_undoes_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither reading the file now and then, nor a further configuration that is refused."""
    monkeypatch.setattr(watcher_module, "FULL_CHECK", 0.2)
    reads = _counted_looks(monkeypatch)
    async with following(path) as (manager, events):
        await manager.replace(BY_CODE)
        assert (await manager.replace(WRONG)).status == "rejected"
        assert not manager.status.stale, "the file says nothing wrong"
        looked = len(reads)
        await until(lambda: len(reads) > looked + 1)
        assert manager.current.default_model == "by-code"
    assert len(rejected(events)) == 1


async def test_each_configuration_of_a_program_that_is_refused_is_told(path: Path) -> None:
    """None of them names a file, and they are told apart all the same."""
    async with following(path) as (manager, events):
        await manager.replace(WRONG)
        await manager.replace({"retri": {}})
    assert [issue.path for event in rejected(events) for issue in event.issues] == [
        "providers.ollama.nonsense",
        "retri",
    ]


def _counted_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows each time the watcher has had the files compared."""
    looks: list[int] = []
    real = ProviderConfigManager._files_moved

    async def counting(manager: ProviderConfigManager) -> None:
        await real(manager)
        looks.append(1)

    monkeypatch.setattr(ProviderConfigManager, "_files_moved", counting)
    return looks
