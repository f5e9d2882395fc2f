"""Load time, speed and memory of local models, by engine: `python -m scripts.bench.local`, and a part of `make bench`.

Each engine runs the same small shape of a model (1.8 million weights) on one thread; what differs is the engine. An
engine that no environment of this checkout has is left out and named.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ENGINES = {"llama_cpp": ("llama.cpp", "xllamacpp"), "transformers": ("Transformers", "transformers")}
"""How each is called, and the package it needs."""
_PYTHONS = (sys.executable, ".venv/bin/python", ".tf-venv/bin/python")
_COLUMNS = {
    "load_s": ("load", "s", 2),
    "first_ms": ("first text", "ms", 1),
    "per_second": ("one stream", "tok/s", 0),
    "together": ("four at once", "tok/s", 0),
    "memory_mb": ("worker", "MB", 0),
}
_WIDTH = 16


def interpreter_with(package: str) -> str | None:
    """An interpreter of this checkout that has *package*."""
    script = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    for python in _PYTHONS:
        if Path(python).exists() and subprocess.run([python, "-c", script], check=False).returncode == 0:
            return python
    return None


def cell(python: str, engine: str) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [python, "-m", "scripts.bench.local_cell", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def version_of(python: str, package: str) -> str:
    """Its version there."""
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def table(rounds: int) -> str:
    """Medians over *rounds* fresh processes of each engine, as text."""
    lines = [f"{'local models':16}" + "".join(f"{title:>{_WIDTH}}" for title, _, _ in _COLUMNS.values())]
    notes = []
    for engine, (name, package) in ENGINES.items():
        python = interpreter_with(package)
        if python is None:
            notes.append(f"{name}: left out, {package} is installed in no environment of this checkout")
            continue
        results = []
        for number in range(rounds):
            print(f"\r{name} {number + 1}/{rounds}      ", end="", file=sys.stderr)
            results.append(cell(python, engine))
        cells = (
            f"{statistics.median(result[column] for result in results):.{digits}f} {unit}"
            for column, (_, unit, digits) in _COLUMNS.items()
        )
        lines.append(f"{name:16}" + "".join(f"{text:>{_WIDTH}}" for text in cells))
        notes.append(f"{package} {version_of(python, package)}")
    print(file=sys.stderr)
    notes.append(f"{rounds} fresh processes each, medians; Python {platform.python_version()}, {platform.machine()}.")
    return "\n".join([*lines, "", ", ".join(notes)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    print(table(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
