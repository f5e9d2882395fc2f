"""Real servers: only where `make test-peers` says where they are installed, or a `llama-server` is."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.processes import KEY, LLAMA_SERVER, litellm_proxy, llama_server

VENV = os.environ.get("CORE_LLM_PEERS")
# Without the peers there is nothing to test: the proxy alone is 740 MB, and no part of the development environment.
collect_ignore_glob = ["test_peers.py"] if not VENV else []
# Nor is a llama-server: no package index has one.
collect_ignore_glob += [] if LLAMA_SERVER else ["test_router.py"]
_results: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="session")
def peers(pytestconfig: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Provider entries for both servers, which are started on a loop of their own."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, file=sys.stderr, flush=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack, folder = AsyncExitStack(), tmp_path_factory.mktemp("peers")

    async def start() -> tuple[str, str]:
        began = time.monotonic()
        llama = await stack.enter_async_context(llama_server(folder))
        say(f"  llama.cpp's server with the shipped model is up ({time.monotonic() - began:.1f} s); starting LiteLLM …")
        began = time.monotonic()
        proxy = await stack.enter_async_context(litellm_proxy(Path(VENV or ""), folder, llama))
        say(f"  the LiteLLM proxy in front of it is up ({time.monotonic() - began:.1f} s)")
        return llama, proxy

    def run(work: Any, seconds: float) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(seconds)

    try:
        llama, proxy = run(asyncio.wait_for(start(), 90), 100)
        yield _entries(llama, proxy)
    finally:
        run(stack.aclose(), 60)
        say("  both are stopped")
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def _entries(llama: str, proxy: str) -> dict[str, dict[str, Any]]:
    claude = {"type": "anthropic", "structured": "tool", "signatures": False}
    return {
        "llama.cpp chat": {"type": "openai_compatible", "base_url": f"{llama}/v1", "api_key": KEY, "preset": "llama_server"},
        "llama.cpp responses": {"type": "openai", "base_url": f"{llama}/v1", "api_key": KEY, "api": "responses"},
        "llama.cpp messages": {**claude, "base_url": llama, "api_key": KEY},
        "litellm chat": {"type": "openai_compatible", "base_url": f"{proxy}/v1", "api_key": KEY},
        "litellm responses": {"type": "openai", "base_url": f"{proxy}/v1", "api_key": KEY, "api": "responses"},
        "litellm messages": {**claude, "base_url": proxy, "api_key": KEY},
        "litellm gemini": {"type": "gemini", "base_url": proxy, "api_key": KEY},
        "litellm azure": {
            "type": "azure_openai", "base_url": proxy, "api_key": KEY, "api_version": "2024-10-21", "api": "chat",
        },
    }  # fmt: skip


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any) -> Iterator[None]:
    """Keep the outcome of each cell for the table at the end."""
    outcome: Any = yield
    report, call = outcome.get_result(), getattr(item, "callspec", None)
    if call is None or "peer" not in call.params or (report.when != "call" and report.passed):
        return
    feature = item.function.__name__.removeprefix("test_").replace("_", " ")
    limit = next((name for name, _ in item.user_properties if name == "limit"), None)
    _results[call.params["peer"], feature] = "FAILED" if report.failed else "limit" if limit else "ok"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What worked where: `limit` is a limit of the peer, which the test confirms."""
    if not _results:
        return
    peers = list(dict.fromkeys(peer for peer, _ in _results))
    terminalreporter.section("peers")
    for feature in dict.fromkeys(feature for _, feature in _results):
        terminalreporter.write_line(feature)
        for peer in peers:
            terminalreporter.write_line(f"    {peer:<22}{_results.get((peer, feature), '-')}")
