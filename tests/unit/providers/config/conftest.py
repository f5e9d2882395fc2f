"""What the tests of the configuration manager share."""

from pathlib import Path

import pytest

from tests.unit.providers.config.manager_rig import GOOD, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A manager over a good file, not yet loaded."""
    path = tmp_path / "llm.yaml"
    path.write_text(GOOD)
    return Rig(path)
