"""The examples in the documentation are configurations that work."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai_compatible.config import OpenAICompatibleConfig
from core.llm.providers.openai_compatible.presets import preset_names

DOCS = Path(__file__).parents[3] / "docs" / "providers"
KINDS: dict[str, type[AzureOpenAIConfig | OpenAIConfig | OpenAICompatibleConfig]] = {
    "azure_openai": AzureOpenAIConfig,
    "openai": OpenAIConfig,
    "openai_compatible": OpenAICompatibleConfig,
}


def examples() -> list[Any]:
    """Every provider of every YAML block."""
    found: list[Any] = []
    for page in ("azure-openai.md", "openai.md", "openai-compatible.md"):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)):
            for name, fields in yaml.safe_load(block)["llm_service"]["providers"].items():
                found.append(pytest.param(name, fields, id=f"{page}-{number}-{name}"))
    return found


@pytest.mark.parametrize(("name", "fields"), examples())
def test_every_example_is_accepted(name: str, fields: dict[str, Any]) -> None:
    """By the configuration of its kind."""
    KINDS[fields.get("type", name)].model_validate(fields)


def test_every_preset_and_quirk_is_documented() -> None:
    """And nothing that does not exist."""
    text = (DOCS / "openai-compatible.md").read_text()
    rows = set(re.findall(r"^\| `([a-z_]+)` \| (?:`http|yours)", text, re.MULTILINE))
    assert rows == set(preset_names())
    quirks = text.split("## Quirks")[1].split("```yaml")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", quirks, re.MULTILINE)
        for name in re.findall(r"`([a-z_0-9]+)`", row)
    }
    assert named == set(OpenAIQuirks.__dataclass_fields__)
