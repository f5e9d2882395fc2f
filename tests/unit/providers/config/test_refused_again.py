"""What is told of edits that are refused, and of secrets that cannot be used as they are."""

from pathlib import Path

import pytest

from core.llm.common.events import ConfigRejected
from core.llm.common.exceptions import ProviderError
from core.llm.providers.config.changes import ConfigChange
from tests.unit.providers.config.fake_types import issues_in, load_text
from tests.unit.providers.config.manager_rig import GOOD, Rig


async def test_the_same_mistake_made_again_later_is_told_again(rig: Rig) -> None:
    """Told once while it stands; once it was mended, it is news."""
    broken = GOOD + "  nonsense: 1\n"
    await rig.manager.load()
    for text in (broken, broken, GOOD, broken):
        rig.path.write_text(text)
        await rig.manager.reload()
    assert len(rig.of(ConfigRejected)) == 2


async def test_what_a_provider_cannot_be_built_from_is_said_in_its_own_words(rig: Rig) -> None:
    """An error of ours says what to do; only of foreign ones no more than the type is shown."""

    async def refuse(change: ConfigChange) -> None:
        raise ProviderError("invalid_request", "there is no region moon-1: choose another")

    await rig.manager.load()
    rig.manager.set_applier(refuse)
    rig.path.write_text(GOOD.replace("10s", "20s"))
    result = await rig.manager.reload()
    assert result.status == "rejected"
    assert "there is no region moon-1" in result.errors[0].message


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_line_break_that_ends_a_secret_file_is_no_slip(tmp_path: Path, ending: str) -> None:
    """Every editor writes one: it belongs to no secret, and nobody is warned of it."""
    for name, value in (("key", "from-file"), ("proxy", "http://user:pass@proxy:3128")):
        (tmp_path / name).write_bytes(f"{value}{ending}".encode())
        (tmp_path / name).chmod(0o600)
    loaded = load_text(tmp_path, "llm_service: {providers: {openai: {api_key: {file: key}, proxy: {file: proxy}}}}\n")
    provider = loaded.config.providers["openai"]
    assert provider.api_key is not None
    assert provider.api_key.get_secret_value() == "from-file"
    assert provider.proxy is not None
    assert provider.proxy.get_secret_value() == "http://user:pass@proxy:3128"
    assert loaded.warnings == ()


def test_f113_a_header_that_cannot_be_sent_is_refused_at_load(tmp_path: Path) -> None:
    """F113: not with the first call."""
    issue = issues_in(tmp_path, 'llm_service: {providers: {ollama: {headers: {X-Team: "Zürich"}}}}\n')[0]
    assert (issue.path, issue.line) == ("providers.ollama.headers.X-Team", 1)
    assert "a header cannot carry" in issue.message
    assert "Zürich" not in issue.message
