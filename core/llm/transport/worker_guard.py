"""What a worker process does first: see to it that it never outlives its host, and limit itself.

Three guards, because each has a gap. A thread waits for the end of a pipe that only the host holds: at once, but it
needs the interpreter lock, which a native loader may keep for the whole load. The kernel's parent-death signal needs no
lock, but exists on Linux only. A changed parent id catches a host whose forked child keeps the pipe open.
"""

import ctypes
import os
import resource
import select
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ORPHANED: Final = 4
"""Exit code of a worker whose host has gone."""
_PR_SET_PDEATHSIG: Final = 1
_PARENT_CHECK_MS: Final = 500


def guard_against_orphanage(pipe: int, scratch: Path) -> None:
    """End this process, and remove *scratch*, when the host that holds the other end of *pipe* is gone."""
    parent = os.getppid()
    threading.Thread(target=_wait_for_the_end, args=(pipe, parent, scratch), name="orphan-guard", daemon=True).start()
    if sys.platform == "linux":
        # The signal follows the thread that started this process: the host's event loop, without which we are useless.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_the_end(pipe: int, parent: int, scratch: Path) -> None:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while not poll.poll(_PARENT_CHECK_MS) and os.getppid() == parent:
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(ORPHANED)


def limit_resources(limits: Mapping[str, int]) -> None:
    """Apply *limits*: names of `resource.RLIMIT_*` without the prefix, in lower case. Core dumps are always off.

    A core dump would write prompts to the disk.
    """
    for name, value in {**limits, "core": 0}.items():
        kind = getattr(resource, f"RLIMIT_{name.upper()}")
        hard = resource.getrlimit(kind)[1]
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (ceiling, ceiling))


def be_the_first_to_go() -> None:
    """Ask the kernel to kill this process rather than the host when memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        return  # not Linux, or a sandbox without /proc: a preference, not a need
