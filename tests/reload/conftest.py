"""What the tests of the watcher share."""

from pathlib import Path

import pytest

from tests.reload.live_config import config_text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration in a directory of its own, which a test may replace."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "llm.yaml").write_text(config_text(1))
    return folder / "llm.yaml"
