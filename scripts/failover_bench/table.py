"""The result as a table."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from scripts.failover_bench.situations import SITUATIONS

MARKS = {"pass": "P", "partial": "p", "safe": "s", "fail": "F"}
Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
_FLAP = "S15"


def _mark(results: Results, client: str, situation: str) -> str:
    marks = []
    for mode in ("stream", "whole"):
        cell = results[client].get(f"{situation}/{mode}")
        marks.append("-" if cell is None else MARKS[cell["verdict"]])
    return " ".join(marks)


def _totals(cells: Mapping[str, Mapping[str, Any]]) -> str:
    count = Counter(cell["verdict"] for cell in cells.values())
    return "/".join(str(count[verdict]) for verdict in MARKS)


def _attempts(cells: Mapping[str, Mapping[str, Any]]) -> str:
    return " ".join(
        str(cells[key]["primary_requests"]) for mode in ("stream", "whole") if (key := f"{_FLAP}/{mode}") in cells
    )


def text_of(results: Results, versions: Mapping[str, str]) -> str:
    """Marks for streaming and whole answers, totals, and why a cell is no pass."""
    clients = list(results)
    ran = [one for one in SITUATIONS if any(one.id in key for cells in results.values() for key in cells)]
    width = max(len(one.title) for one in ran) + 2
    lines = [
        "Two marks for each cell: stream, whole answer.  P pass, p partial, s safe, F fail, - no such situation.",
        "",
    ]
    lines.append(" " * (width + 5) + "".join(f"{client:>12}" for client in clients))
    for one in ran:
        marks = "".join(f"{_mark(results, client, one.id):>12}" for client in clients)
        lines.append(f"{one.id}  {one.title:<{width}}{marks}")
    totals = "".join(f"{_totals(results[client]):>12}" for client in clients)
    lines.append(f"{'P/p/s/F':<{width + 5}}{totals}")
    attempts = "".join(f"{_attempts(results[client]):>12}" for client in clients)
    lines += [f"{'requests to the dead primary in ' + _FLAP:<{width + 5}}{attempts}", ""]
    lines += ["Not a pass, because:"]
    for client in clients:
        for key, cell in results[client].items():
            if cell["verdict"] != "pass":
                lines.append(f"  {client:<10} {key:<11} {cell['verdict']:<8} {'; '.join(cell['notes'])}")
    lines += ["", "Versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()), ""]
    return "\n".join(lines)
