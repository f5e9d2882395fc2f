"""What a worker process is: its module, its environment, its limits, its patience."""

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.llm.transport.process_restart import RestartPolicy

# What native libraries need to find their files and devices. No key, token or password is among them.
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_PASSED_ON_PREFIXES: Final = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "GGML_", "VK_")
_START: Final = str(Path(__file__).with_name("worker_start.py"))


@dataclass(frozen=True, slots=True)
class Setup:
    """The call that makes a fresh worker ready, such as loading its model."""

    method: str
    params: Mapping[str, Any]
    timeout: float = 300.0
    """Seconds; the worker is killed when they have passed."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How to start a worker and how to treat it."""

    name: str
    """For messages and the log."""
    module: str
    """Run as `__main__`; it calls `worker_main.serve`."""
    args: tuple[str, ...] = ()
    setup: Setup | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the small allow-listed environment. Nothing else of the host's environment is passed on."""
    rlimits: Mapping[str, int] = field(default_factory=dict)
    """`resource.RLIMIT_*` by lower-case name without the prefix: `{"data": 8 * 2**30, "nofile": 256}`."""
    slots: int = 1
    """Calls that may run at the same time."""
    max_waiting: int = 256
    """Calls that may wait for a slot; one more is refused as overloaded."""
    heartbeat: float = 3.0
    """Seconds between signs of life; a ready worker without one for three intervals is killed."""
    start_timeout: float = 60.0
    """Seconds from the start of the process to its first message."""
    cancel_timeout: float = 30.0
    """Seconds in which a cancelled call has to stop; a worker that does not manage is killed."""
    term_grace: float = 5.0
    """Seconds between SIGTERM and SIGKILL."""
    patience: float = 3.0
    """Seconds a call waits for a crashed worker's next start; if it takes longer, the call fails at once."""
    restart: RestartPolicy = field(default_factory=RestartPolicy)

    def command(self, channel: int, guard: int) -> list[str]:
        """The command line, given the descriptors that the child inherits."""
        if not sys.executable:
            raise FileNotFoundError(errno.ENOENT, "the interpreter does not know its own path, sys.executable is empty")
        limits = [f"--rlimit={name}={value}" for name, value in self.rlimits.items()]
        wiring = [f"--channel={channel}", f"--guard={guard}", f"--heartbeat={self.heartbeat}", *limits]
        # -P: modules come from where the host finds them, never from the current directory.
        return [sys.executable, "-P", _START, self.module, *wiring, *self.args]

    def environment(self, scratch: str) -> dict[str, str]:
        """The whole environment of the worker."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or (name.startswith(_PASSED_ON_PREFIXES) and not _looks_secret(name))
        }
        return {
            "OMP_NUM_THREADS": "1",
            **passed,
            "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": scratch,
            **self.env,
        }


def _looks_secret(name: str) -> bool:
    return any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"))
