"""Host applications as processes: start them, read what they tell, and see them end."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


class Host:
    """A running host; `told` and `logged` are everything it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []
        self.logged = ""

    async def tells(self, kind: str, within: float = 200.0) -> dict[str, Any]:
        """Read on to the next line of that *kind*."""
        async with asyncio.timeout(within):
            while line := await self.process.stdout.readline():
                self.told.append(json.loads(line))
                if self.told[-1]["kind"] == kind:
                    return self.told[-1]
        raise AssertionError(f"the host ended without {kind!r}:\n{(await self.process.stderr.read()).decode()}")

    async def ended(self, within: float = 200.0) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        _, logged = await asyncio.wait_for(self.process.communicate(), within)
        self.logged = logged.decode()
        return self.process.returncode


@asynccontextmanager
async def host(module: str, *arguments: str, env: dict[str, str] | None = None) -> AsyncIterator[Host]:
    """A host that runs *module* with warnings shown and asyncio's debug mode off; killed if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "always::ResourceWarning",
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield Host(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def gone(pids: list[int], within: float = 20.0) -> None:
    """Fail unless every process of *pids* has ended after *within* seconds; a zombie has ended."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while left := [pid for pid in pids if runs(pid)]:
        assert loop.time() < deadline, f"processes {left} still run after {within} s"
        await asyncio.sleep(0.005)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
