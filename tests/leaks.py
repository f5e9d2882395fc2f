"""What a test must not leave behind: tasks, threads, file descriptors, child processes."""

import asyncio
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Resources:
    """What this process holds at one moment; every item reads well in a failure message."""

    tasks: frozenset[str]
    threads: frozenset[str]
    descriptors: frozenset[str]
    children: frozenset[str]

    @classmethod
    def now(cls) -> "Resources":
        return cls(_tasks(), _threads(), _descriptors(), _children())

    def beyond(self, before: "Resources") -> list[str]:
        """Name what is here and was not *before*."""
        kinds = ("tasks", "threads", "descriptors", "children")
        return sorted(f"{kind}: {item}" for kind in kinds for item in getattr(self, kind) - getattr(before, kind))


async def assert_nothing_left(before: Resources, *, within: float = 30.0) -> None:
    """Fail if something is held that was not held *before*.

    What ends by itself gets *within* seconds: sockets close one loop turn after their transport, threads end after
    their last line, children are reaped by their watcher.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while left := Resources.now().beyond(before):
        if loop.time() > deadline:
            raise AssertionError("left behind:\n  " + "\n  ".join(left))
        gc.collect()
        await asyncio.sleep(0.02)


def _tasks() -> frozenset[str]:
    # The task that looks is the fixture's own; it is another one before and after the test.
    return frozenset(
        f"{task.get_name()} {task.get_coro()!r}" for task in asyncio.all_tasks() if task is not asyncio.current_task()
    )


def _threads() -> frozenset[str]:
    # "asyncio_" threads are the loop's default executor, which lives as long as the loop.
    return frozenset(
        f"{thread.name} ({thread.ident})" for thread in threading.enumerate() if not thread.name.startswith("asyncio_")
    )


def _descriptors() -> frozenset[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} -> {os.readlink(link)}")
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return frozenset(found)


def _children() -> frozenset[str]:
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            found.add(f"{child.pid} {' '.join(child.cmdline()) or child.name()} [{child.status()}]")
        except psutil.NoSuchProcess:
            continue
    return frozenset(found)
