"""Write config/llm.schema.json: `python scripts/generate_schema.py`, or `--check` to see whether it is current."""

import json
import sys
from pathlib import Path

from core.llm.factory.discovery import builtin_names, builtin_spec
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.schema import build_schema

TARGET = Path(__file__).parent.parent / "config" / "llm.schema.json"


def builtin_types() -> dict[str, type[ProviderConfig]]:
    """The configuration class of every provider folder."""
    return {name: spec.config_class() for name in builtin_names() if (spec := builtin_spec(name)) is not None}


def schema_text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(build_schema(builtin_types()), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    text = schema_text()
    if "--check" in arguments:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} is not current: run python scripts/generate_schema.py")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
