"""Runs the Python blocks of one page, in a process of its own: `python -m tests.architecture.run_page < blocks.json`.

Each block runs in a fresh module named `__main__` and in a fresh folder that holds a copy of `config/`; nothing outside
this machine can be reached. Prints what each block raised, as JSON, in its last line.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import shutil
import sys
import tempfile
import traceback
import types
from pathlib import Path

from core.llm.testing import forbid_network

ROOT = Path(__file__).parents[2]


def run(parts: list[dict[str, object]]) -> str | None:
    """Run *parts*, one after the other in one module; the traceback of what they raise."""
    module = types.ModuleType("__main__")
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        with forbid_network(), contextlib.redirect_stdout(io.StringIO()):
            for part in parts:
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                code = compile(str(part["source"]), str(part["page"]), "exec", flags=flags, dont_inherit=True)
                if code.co_flags & inspect.CO_COROUTINE:
                    asyncio.run(types.FunctionType(code, module.__dict__)())
                else:
                    exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            return None
        return "".join(traceback.format_exception(error, limit=-6))
    finally:
        sys.modules["__main__"] = before
    return None


def main() -> None:
    """Read groups of blocks from standard input, run each, report."""
    failures: list[tuple[str, str]] = []
    for group in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as folder:
            if (ROOT / "config").is_dir():
                shutil.copytree(ROOT / "config", Path(folder) / "config")
            os.chdir(folder)
            error = run(group)
            os.chdir(ROOT)
        if error is not None:
            failures.append((group[-1]["place"], error))
    print()
    print(json.dumps(failures))


if __name__ == "__main__":
    main()
