"""Write config/llm.schema.json: `python -m scripts.generate_schema`, or `--check` to see whether it is current."""

import json
from pathlib import Path

from core.llm.factory.discovery import builtin_names, builtin_spec
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.schema import build_schema
from scripts.generated import bring_up_to_date

TARGET = Path(__file__).parent.parent / "config" / "llm.schema.json"


def builtin_types() -> dict[str, type[ProviderConfig]]:
    """The configuration class of every provider folder."""
    return {name: spec.config_class() for name in builtin_names() if (spec := builtin_spec(name)) is not None}


def schema_text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(build_schema(builtin_types()), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    raise SystemExit(bring_up_to_date(TARGET, schema_text(), "make schema"))
