"""The leak check finds every kind of thing a container could leave behind, and a stopped container leaves none."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import aiohttp
import pytest
from injector import inject, singleton

from core.container import Container
from core.lifecycle import Lifecycle
from tests.leaks import Resources, assert_nothing_left


def _task() -> Callable[[], object]:
    task = asyncio.get_running_loop().create_task(asyncio.sleep(60), name="forgotten")
    return task.cancel


def _thread() -> Callable[[], object]:
    release = threading.Event()
    threading.Thread(target=release.wait, name="forgotten").start()
    return release.set


def _socket() -> Callable[[], object]:
    return socket.socket().close


def _child() -> Callable[[], object]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    return lambda: child.communicate(b"\n")


@pytest.mark.parametrize(
    ("leak", "named"),
    [(_task, "tasks: forgotten"), (_thread, "threads: forgotten"), (_socket, "socket:"), (_child, "children: .*input")],
    ids=["task", "thread", "socket", "child"],
)
async def test_lc_16_the_check_finds_what_is_left_and_accepts_what_is_gone(
    leak: Callable[[], Callable[[], object]], named: str
) -> None:
    before = Resources.now()
    undo = leak()
    with pytest.raises(AssertionError, match=named):
        await assert_nothing_left(before, within=0.05)
    undo()
    await assert_nothing_left(before)


@pytest.mark.leakcheck
async def test_lc_16_stopped_container_leaves_no_task_thread_client_or_child() -> None:
    """A component that holds one of each releases them in stop(); the container adds nothing of its own."""

    class Service:
        @inject
        def __init__(self, lifecycle: Lifecycle) -> None:
            self.lifecycle = lifecycle

        async def start(self) -> None:
            self.server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            self.client = aiohttp.ClientSession()
            self.child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
            self.release = threading.Event()
            self.thread = threading.Thread(target=self.release.wait)
            self.thread.start()
            self.lifecycle.spawn(lambda: asyncio.sleep(60), name="poll")

        async def stop(self) -> None:
            self.release.set()
            self.child.stdin.close()
            await self.child.wait()
            await self.client.close()
            self.server.close()
            await self.server.wait_closed()

    for _ in range(3):
        async with Container([lambda binder: binder.bind(Service, scope=singleton)]):
            assert any(task.get_name().startswith("lifecycle:") for task in asyncio.all_tasks())
        assert not any(task.get_name().startswith("lifecycle:") for task in asyncio.all_tasks())
