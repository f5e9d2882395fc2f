"""Run a worker module without the rest of the library. A script: `python -P worker_start.py MODULE ARGUMENT…`.

Importing any module below `core.llm` imports `core.llm` first, and that means the whole service: half a second and tens
of megabytes which a worker has no use for. An empty package in its place lets only those modules in that are needed.
"""

import runpy
import sys
import types
from pathlib import Path

if __name__ == "__main__":
    package = types.ModuleType("core.llm")
    package.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["core.llm"] = package
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
