"""Files that are made from the code: written, or with `--check` compared with what they would be."""

import sys
from pathlib import Path


def bring_up_to_date(target: Path, text: str, command: str) -> int:
    """Make *target* hold *text*, or say whether it does and which *command* makes it; the exit code."""
    if "--check" in sys.argv[1:]:
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            return 0
        print(f"{target.name} is not current: run `{command}`")
        return 1
    target.write_text(text, encoding="utf-8")
    print(f"wrote {target}")
    return 0
