"""Paths and addresses that lead nowhere, in circles, or to what is no file: refused with their place, never raised."""

from pathlib import Path

import pytest

from core.llm.common.clock import SystemClock
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ConfigError
from core.llm.providers.config.loader import SourcesMoving, load_config
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.providers.config.sources import MAX_FILE_BYTES, SourceReader
from tests.unit.providers.config.fake_types import PROVIDER_TYPES, TYPES, issues_in, load_text

PROVIDER = "llm_service:\n  providers:\n    p: {type: openai, %s}\n"


@pytest.mark.parametrize(
    ("field", "path", "message"),
    [
        ('api_key: k, ca_file: "a\\0b"', "providers.p.ca_file", "no such file"),
        ('api_key: k, ca_file: "~nobody-of-that-name/x"', "providers.p.ca_file", "no such file"),
        ('api_key: k, ca_file: "/"', "providers.p.ca_file", "no such file"),
        ('api_key: {file: "/"}', "providers.p.api_key", "not a regular file"),
        ('api_key: {file: "/dev/zero"}', "providers.p.api_key", "not a regular file"),
        ('api_key: k, proxy: "http://[::1"', "providers.p.proxy", "HTTP proxy"),
        ('api_key: k, proxy: "http://host:abc"', "providers.p.proxy", "HTTP proxy"),
    ],
)
def test_a_path_or_address_that_leads_nowhere_is_an_issue(tmp_path: Path, field: str, path: str, message: str) -> None:
    (issue,) = issues_in(tmp_path, PROVIDER % field)
    assert issue.path == path
    assert message in issue.message
    assert issue.line == 3


@pytest.mark.parametrize("name", ["a\\0b", "~nobody-of-that-name/key", "missing"])
def test_a_secret_file_that_cannot_be_switches_its_provider_off(tmp_path: Path, name: str) -> None:
    loaded = load_text(tmp_path, PROVIDER % f'api_key: {{file: "{name}"}}')
    assert "there is no file" in loaded.disabled["p"]


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("a\\0b", "there is no such file"),
        ("~nobody-of-that-name/x.yaml", "there is no such file"),
        ("/", "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ],
)
def test_an_include_of_what_is_no_file_is_an_issue(tmp_path: Path, include: str, message: str) -> None:
    (issue,) = issues_in(tmp_path, f'include: "{include}"\nllm_service: {{}}\n')
    assert message in issue.message


def test_links_that_lead_in_a_circle_are_an_issue(tmp_path: Path) -> None:
    (tmp_path / "llm.yaml").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "llm.yaml")
    with pytest.raises(ConfigError, match="symbolic links"):
        load_config(tmp_path / "llm.yaml", {}, PROVIDER_TYPES)


def test_a_secret_file_that_is_rotated_away_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orchestrator swaps the folder between our reading the file and our looking at who else may read it."""
    (tmp_path / "key").write_text("sk-1")
    read = SourceReader.read

    def rotated(self: SourceReader, path: Path, limit: int = MAX_FILE_BYTES, *, secret: bool = False) -> bytes | None:
        data = read(self, path, limit, secret=secret)
        if secret:
            path.unlink()
        return data

    monkeypatch.setattr(SourceReader, "read", rotated)
    with pytest.raises(SourcesMoving):
        load_text(tmp_path, PROVIDER % "api_key: {file: key}")


async def test_a_defect_of_the_loader_refuses_the_edit_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HR-02: whatever goes wrong in reading, the watcher lives on and the configuration in force stays."""
    path = tmp_path / "llm.yaml"
    path.write_text("llm_service: {timeout: 1m}\n")
    manager = ProviderConfigManager(
        path, resolve=TYPES.get, events=EventBus(), clock=SystemClock(), env={}, watch=False
    )
    await manager.load()
    path.write_text("llm_service: {timeout: 2m}\n")

    def broken(*_: object, **__: object) -> None:
        raise KeyError("sk-a-secret-that-slipped-in")

    monkeypatch.setattr("core.llm.providers.config.reading.load_with", broken)
    result = await manager.reload()
    assert (result.status, manager.current.timeout) == ("rejected", 60.0)
    assert "KeyError in test_hostile_paths.py" in str(result.errors[0])
    assert "sk-a" not in str(result.errors[0])
    monkeypatch.undo()
    assert (await manager.reload()).status == "applied"
