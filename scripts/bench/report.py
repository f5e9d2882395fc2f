"""The figures as text, as JSON and as a plot."""

import json
import platform
import statistics
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

COLUMNS = {
    "call": "CPU per call",
    "chunk": "CPU per chunk",
    "import": "import CPU",
    "first": "first answer CPU",
    "rss": "memory",
}
UNITS = {"call": "µs", "chunk": "µs", "import": "ms", "first": "ms", "rss": "MB"}
# What this library sets itself, each as (figure, peer, at most).
GOALS = [("call", "floor", 1.5), ("call", "litellm", 0.1), ("chunk", "floor", 1.5), ("import", "openai", 0.5)]
NAMES = {"floor": "bare aiohttp + json", "core-llm": "core-llm", "openai": "openai SDK", "litellm": "LiteLLM"}


@dataclass(frozen=True)
class Table:
    """All figures: by column, by client, one value a round."""

    clients: list[str]
    figures: dict[str, dict[str, list[float]]]
    rounds: int

    def ratio(self, column: str, client: str, to: str) -> float:
        """Median over the rounds of *client* divided by *to*."""
        pairs = zip(self.figures[column][client], self.figures[column][to], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def median(self, column: str, client: str) -> float:
        """Median over the rounds."""
        return statistics.median(self.figures[column][client])

    def text(self) -> str:
        """The table, the goals, and what was measured."""
        lines = [f"{'':22}" + "".join(f"{title:>24}" for title in COLUMNS.values())]
        for client in self.clients:
            cells = "".join(
                f"{self.median(column, client):>12.1f} {UNITS[column]:2} {self.ratio(column, client, 'floor'):>6.2f} x"
                for column in COLUMNS
            )
            lines.append(f"{NAMES[client]:22}{cells}")
        lines.append("")
        for column, peer, limit in GOALS:
            if peer in self.clients and "core-llm" in self.clients:
                reached = self.ratio(column, "core-llm", peer)
                verdict = "reached" if reached <= limit else "MISSED"
                lines.append(f"{COLUMNS[column]} at most {limit:g} x {NAMES[peer]}: {reached:.3f} x, {verdict}")
        versions = ", ".join(
            f"{name} {metadata.version(name)}"
            for name in ("aiohttp", "pydantic", "openai", "litellm")
            if _installed(name)
        )
        lines.append(
            f"\n{self.rounds} interleaved rounds, 64 calls at once, medians of ratios within a round. "
            f"Python {platform.python_version()}, {versions}."
        )
        return "\n".join(lines)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def write(table: Table, text: Path, data: Path) -> None:
    """Keep the table and the raw figures."""
    text.write_text(table.text() + "\n")
    data.write_text(json.dumps(table.figures, indent=1))


def plot(table: Table, path: Path) -> None:
    """One panel a column: bars of the ratio to bare aiohttp."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(COLUMNS), figsize=(16, 3), sharey=True)
    for axis, (column, title) in zip(axes, COLUMNS.items(), strict=True):
        ratios = [table.ratio(column, client, "floor") for client in table.clients]
        colours = ["#2a9d8f" if client == "core-llm" else "#b0b7bf" for client in table.clients]
        bars = axis.barh([NAMES[client] for client in table.clients], ratios, color=colours)
        axis.bar_label(bars, fmt="%.2f x", padding=3)
        axis.set_xscale("log")
        axis.set_xlim(0.5, max(ratios) * 4)
        axis.set_title(f"{title}, bare aiohttp = 1")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
