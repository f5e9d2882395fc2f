"""This library beside its peers: CPU per call and per streamed chunk, for the import, until the first answer; memory.

Tables of their own show its layers alone, and local models. Every figure is measured in a fresh process, in interleaved
rounds, and given as its ratio to bare aiohttp in the same round; what is printed is the median of the ratios. Machines
differ and are noisy: the ratios carry, the microseconds do not.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from scripts.bench import layer_table
from scripts.bench.local import table as local_table
from scripts.bench.pinned import pinned
from scripts.bench.report import Table, plot, write

CLIENTS = ["floor", "core-llm", "openai", "litellm"]
CALLS = {"floor": 6400, "core-llm": 6400, "openai": 1280, "litellm": 768}
STREAMS = {"floor": 48, "core-llm": 48, "openai": 8, "litellm": 4}
# What a program writes that is going to call a model.
IMPORTS = {
    "floor": "import aiohttp",
    "core-llm": "from core.container import Container\nfrom core.llm import LLMService, ProviderModule",
    "openai": "from openai import AsyncOpenAI",
    "litellm": "from litellm import acompletion",
}


def cell(client: str, url: str, mode: str, count: int, concurrency: int) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "scripts.bench.cell", client, url, "--mode", mode]
    command += ["--count", str(count), "--concurrency", str(concurrency)]
    done = subprocess.run(pinned(command, 0), capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        raise SystemExit(f"{client} {mode} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def environment() -> dict[str, str]:
    """The variables of a measured process.

    It may keep byte code: what was installed with pip has it, and a checkout that has to be compiled anew by every
    process would be compared with it.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def import_cost(statement: str) -> float:
    """CPU milliseconds of a fresh interpreter that runs *statement*, less those of one that imports nothing."""
    script = (
        "{0}\nimport resource\nu = resource.getrusage(resource.RUSAGE_SELF)\nprint((u.ru_utime + u.ru_stime) * 1000)"
    )

    def once(what: str) -> float:
        command = pinned([sys.executable, "-c", script.format(what)], 0)
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        return float(done.stdout.strip().splitlines()[-1])

    return once(statement) - once("pass")


def main() -> None:
    """Measure, print, write `bench-results/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", nargs="+", default=CLIENTS, choices=CLIENTS)
    parser.add_argument("--only", choices=["clients", "layers", "local"], help="one of the three tables")
    given = parser.parse_args()
    folder = Path("bench-results")
    if given.only in {None, "clients"}:
        compare(list(dict.fromkeys(["floor", *given.clients])), given.rounds, folder)
    if given.only in {None, "layers"}:
        table = layer_table.measure(max(1, given.rounds // 2), lambda what: print(what, file=sys.stderr))
        print(table.text())
        table.write(folder)
    if given.only in {None, "local"}:
        local = local_table(max(1, given.rounds // 2))
        print(local)
        folder.mkdir(exist_ok=True)
        (folder / "local.txt").write_text(local + "\n")


def compare(clients: list[str], rounds: int, folder: Path) -> None:
    """Measure this library beside *clients*, print, and write the figures into *folder*."""
    server = subprocess.Popen(
        pinned([sys.executable, "-m", "scripts.bench.upstream"], 1),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if server.stdin is None or server.stdout is None:
        raise SystemExit("the upstream has no pipes")
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    claimed, started = 0, time.perf_counter()
    steps, step = rounds * len(clients) * 4, 0
    for client in clients:
        import_cost(IMPORTS[client])  # once unmeasured: it writes the byte code
    for number in range(rounds):
        for client in clients:
            for what in ("call", "stream", "import", "first"):
                step += 1
                spent = time.perf_counter() - started
                print(
                    f"\r{step}/{steps} round {number + 1} {client} {what} ({spent:.0f} s)      ",
                    end="",
                    file=sys.stderr,
                )
                if what == "call":
                    result = cell(client, url, "call", CALLS[client], 64)
                    figures["call"][client].append(result["cpu_us"])
                    figures["rss"][client].append(result["rss_mb"])
                    claimed += int(result["done"]) + max(64, CALLS[client] // 10 // 64 * 64)
                elif what == "stream":
                    result = cell(client, url, "stream", STREAMS[client], 4)
                    figures["chunk"][client].append(result["cpu_us"])
                    claimed += int(result["done"]) + max(4, STREAMS[client] // 10 // 4 * 4)
                elif what == "first":
                    result = cell(client, url, "first", 1, 1)
                    figures["first"][client].append(result["cpu_ms"])
                    claimed += int(result["done"])
                else:
                    figures["import"][client].append(import_cost(IMPORTS[client]))
    print(file=sys.stderr)
    server.stdin.close()
    served = int(server.stdout.readline())
    server.wait()
    if served != claimed:
        raise SystemExit(
            f"the clients claim {claimed} answers, the upstream gave {served}: a client retried or lost some"
        )
    table = Table(clients, {what: dict(by_client) for what, by_client in figures.items()}, rounds)
    print(table.text())
    folder.mkdir(exist_ok=True)
    write(table, folder / "latest.txt", folder / "latest.json")
    plot(table, folder / "latest.png")
    print(f"written to {folder}/latest.txt, latest.json and latest.png")


if __name__ == "__main__":
    main()
