"""`core-llm`, and `python -m modules.cli`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        from modules.cli.program import run  # noqa: PLC0415 - Ctrl-C is no traceback while this is imported, either

        return run(arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
