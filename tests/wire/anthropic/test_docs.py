"""The page about Anthropic is true: its configurations load, its table is the packaged data."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.llm.data.facts import table
from core.llm.providers.anthropic.config import AnthropicConfig

PAGE = (Path(__file__).parents[3] / "docs" / "providers" / "anthropic.md").read_text()


def examples() -> list[Any]:
    """Every provider of every YAML block."""
    return [
        pytest.param(fields, id=f"{number}-{name}")
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
        for name, fields in yaml.safe_load(block)["llm_service"]["providers"].items()
    ]


def row(name: str, facts: dict[str, Any]) -> str:
    """The line of the table for one model."""
    quirks = facts["quirks"]
    sampling = {"never": "no", "one": "one of temperature, top_p"}.get(quirks.get("sampling", ""), "without thinking")
    off = {"never": "no", "between_tools": "before the answer"}.get(quirks.get("thinking_off", ""), "yes")
    cells = [
        f"`{name}`",
        {"adaptive": "effort", "both": "effort or budget", "budget": "budget"}[quirks["thinking"]],
        "on" if quirks.get("default_thinking") else "off",
        off,
        sampling,
        "no" if quirks.get("forced_tools") is False else "yes",
        "yes" if quirks.get("mid_system") else "moved",
        "no" if quirks.get("prefill") is False else "yes",
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("fields", examples())
def test_every_example_is_accepted(fields: dict[str, Any]) -> None:
    """By the configuration class."""
    AnthropicConfig.model_validate(fields)


def test_the_table_of_models_is_the_packaged_data() -> None:
    """Row for row, in the same order."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| `claude-")]
    assert rows == [row(name, facts) for name, facts in table("anthropic")["models"].items()]


def test_every_setting_of_its_own_is_documented() -> None:
    """Those that other providers do not have."""
    own = AnthropicConfig.__annotations__.keys() - {"needs_key"}
    named = set(re.findall(r"`([a-z_]+)`", PAGE.split("| setting |")[1].split("\n\n")[0]))
    assert own <= named
