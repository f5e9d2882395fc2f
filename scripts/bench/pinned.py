"""Keep what is measured and what it is measured against on processors of their own."""

import os


def pinned(command: list[str], core: int) -> list[str]:
    """*command* on one processor, where the system can do that."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return ["taskset", "-c", str(cores[core % len(cores)]), *command] if len(cores) > 1 else command
