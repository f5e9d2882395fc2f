"""Names of processes that last: one is told apart from a later one that happens to get the same number."""

import os
from pathlib import Path


def this_process() -> str:
    """A name of the running process that no later process on this machine will have."""
    return name_of(os.getpid())


def name_of(pid: int) -> str:
    """Such a name for the process with this number."""
    return f"{pid}:{_started(pid)}"


def is_alive(name: str) -> bool:
    """Whether the process that was given this name is still running."""
    number, _, started = name.partition(":")
    if not number.isdigit():
        return False
    pid = int(number)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(pid) == started


def _started(pid: int) -> str:
    """Start time in clock ticks where the system tells (Linux); else nothing, and the number alone has to do."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    # The name of the program stands in parentheses and may itself hold spaces and parentheses.
    return status.rpartition(")")[2].split()[19]
