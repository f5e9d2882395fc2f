"""What the layers cost, for every set-up: the measurements, and the table of their medians."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.layers import SETTINGS
from scripts.bench.pinned import pinned


@dataclass(frozen=True)
class Column:
    """One way of measuring a set-up."""

    title: str
    concurrency: int
    count: int
    stream: bool = False

    def measured(self, setting: str) -> float:
        """Microseconds in *setting*, measured in a fresh process."""
        command = [sys.executable, "-m", "scripts.bench.layers", setting, "--count", str(self.count)]
        command += ["--concurrency", str(self.concurrency), *(["--stream"] if self.stream else [])]
        done = subprocess.run(pinned(command, 0), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"layers, {setting} failed:\n{done.stderr[-2000:]}")
        return float(json.loads(done.stdout.strip().splitlines()[-1])["cpu_us"])


COLUMNS = (
    Column("call, 1 at once", 1, 1280),
    Column("call, 64 at once", 64, 1280),
    Column("chunk, 1 stream", 1, 12, stream=True),
    Column("chunk, 64 streams", 64, 64, stream=True),
)
# What this library sets itself for a configuration that asks for nothing, in microseconds.
GOALS = {"call, 1 at once": 60.0, "call, 64 at once": 60.0, "chunk, 1 stream": 2.0, "chunk, 64 streams": 2.0}


@dataclass(frozen=True)
class LayerTable:
    """All figures: by set-up, by column, one value a round."""

    figures: dict[str, dict[str, list[float]]]

    def median(self, setting: str, column: str) -> float:
        """Median over the rounds."""
        return statistics.median(self.figures[setting][column])

    def text(self) -> str:
        """The table and the goals."""
        lines = [f"{'layers, CPU µs beside an instant provider':44}" + "".join(f"{one.title:>20}" for one in COLUMNS)]
        for setting, meaning in SETTINGS.items():
            cells = "".join(f"{self.median(setting, one.title):>20.2f}" for one in COLUMNS)
            lines.append(f"{setting:12}{meaning:32}{cells}")
        lines.append("")
        for column, limit in GOALS.items():
            reached = self.median("default", column)
            verdict = "reached" if reached <= limit else "MISSED"
            lines.append(f"layers by default, {column}: at most {limit:g} µs: {reached:.2f} µs, {verdict}")
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Keep the table and the raw figures."""
        folder.mkdir(exist_ok=True)
        (folder / "layers.txt").write_text(self.text() + "\n")
        (folder / "layers.json").write_text(json.dumps(self.figures, indent=1))


def measure(rounds: int, tell: Callable[[str], None]) -> LayerTable:
    """Measure every set-up *rounds* times, in turn; *tell* hears what is being measured."""
    figures: dict[str, dict[str, list[float]]] = {
        setting: {column.title: [] for column in COLUMNS} for setting in SETTINGS
    }
    for number, setting, column in _steps(rounds):
        tell(f"round {number + 1} layers {setting}, {column.title}")
        figures[setting][column.title].append(column.measured(setting))
    return LayerTable(figures)


def _steps(rounds: int) -> Iterator[tuple[int, str, Column]]:
    for number in range(rounds):
        for setting in SETTINGS:
            for column in COLUMNS:
                yield number, setting, column
