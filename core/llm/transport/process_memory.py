"""Whether a process has died for lack of memory: what the kernel has counted, and what the engine has printed."""

import re
import signal
from pathlib import Path
from typing import Final

_SAID: Final = re.compile(
    r"out of (?:\w+ )?memory|outofmemory|cannot allocate|failed to allocate|unable to allocate|bad_alloc|memoryerror|"
    r"insufficient (?:gpu |system )?memory|requires more (?:system )?memory",
    re.IGNORECASE,
)
_COUNTED: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def says_out_of_memory(text: str) -> bool:
    """Whether *text*, an error or what an engine printed, says that memory did not suffice."""
    return _SAID.search(text) is not None


def memory_kills(root: Path = Path("/")) -> int | None:
    """How many processes of our control group the kernel has killed for lack of memory; `None`: it does not tell.

    A few small files of the kernel, which answers at once: nothing here waits for a disk.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    mounted = root / "sys/fs/cgroup"
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            places = [mounted / path.lstrip("/") / "memory.events", mounted / "memory.events"]
        elif "memory" in controllers.split(","):
            below = mounted / "memory"
            places = [below / path.lstrip("/") / "memory.oom_control", below / "memory.oom_control"]
        else:
            continue
        for place in places:
            try:
                counted = _COUNTED.search(place.read_text())
            except OSError:
                continue
            if counted is not None:
                return int(counted[1])
    return None


def died_of_memory(exit_code: int | None, output: str, kills_before: int | None, kills_now: int | None) -> bool:
    """Whether a process that nobody had asked to end ran out of memory: killed for it, or gone with words about it."""
    if exit_code == -signal.SIGKILL and kills_before is not None and kills_now is not None and kills_now > kills_before:
        return True
    return exit_code != 0 and says_out_of_memory(output)
