"""The examples in the documentation are configurations that work."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.llm.providers.gemini.config import GeminiConfig, VertexOptions

PAGE = (Path(__file__).parents[3] / "docs" / "providers" / "gemini.md").read_text()


def examples() -> list[Any]:
    """Every provider of every YAML block."""
    return [
        pytest.param(fields, id=f"{number}-{name}")
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
        for name, fields in yaml.safe_load(block)["llm_service"]["providers"].items()
    ]


@pytest.mark.parametrize("fields", examples())
def test_every_example_is_accepted(fields: dict[str, Any]) -> None:
    """By the configuration."""
    GeminiConfig.model_validate(fields)


def test_every_setting_of_its_own_is_documented() -> None:
    """And nothing that does not exist."""
    table = PAGE.split("| setting |")[1].split("```yaml")[0]
    named = set(re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    own = GeminiConfig.model_fields.keys() - GeminiConfig.__mro__[1].model_fields.keys() - {"vertex"}
    assert named >= own | {f"vertex.{name}" for name in VertexOptions.model_fields}
    assert {name for name in named if "." not in name} <= GeminiConfig.model_fields.keys()
