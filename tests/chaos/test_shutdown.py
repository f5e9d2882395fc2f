"""A host with fifty open streams is told to stop: F127, F129, LC-12."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import openai_chunk, openai_stream
from core.llm.testing.wire_steps import End, Head, Send, Stall, WaitFor, WireScript
from tests.chaos.hosting import Host, gone, host

pytestmark = pytest.mark.leakcheck

STREAMS = 50
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
WHOLE = "these words are the whole answer"
CONFIG = """\
llm_service:
  default_model: short/m
  fallback_chain: []
  providers:
    short: {{type: openai_compatible, base_url: '{url}/short', models: [m]}}
    endless: {{type: openai_compatible, base_url: '{url}/endless', models: [m]}}
    local: {{type: llama_cpp, models: {{tiny: embedded}}}}
  health_check: {{enabled: false}}
  lifecycle: {{shutdown_timeout: {limit}}}
"""


SSE = Head(200, {"Content-Type": "text/event-stream"})


def endless() -> WireScript:
    """Nine words, and then nothing more."""
    frames = [openai_chunk({"content": f"word{number} "}) for number in range(9)]
    return WireScript((SSE, *map(Send, frames), Stall()))


def whole_after(event: asyncio.Event) -> WireScript:
    """The first word at once, the others when *event* is set."""
    role, first, *rest = map(Send, openai_stream(WHOLE))
    return WireScript((SSE, role, first, WaitFor(event), *rest, End()))


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    """Answers `/short` when `release` is set, and `/endless` never to the end."""
    async with WireServer() as running:
        running.release = asyncio.Event()
        running.when(lambda request: request.path.startswith("/short"), whole_after(running.release))
        running.otherwise(endless())
        yield running


async def ends_clean(running: Host, server: WireServer, children: list[int]) -> None:
    """No complaint of Python's, no connection, no child: nothing is left of the host."""
    for word in ("Warning", "Traceback", "was never", "Unclosed", "destroyed"):
        assert word not in running.logged, running.logged
    await gone(children)
    async with asyncio.timeout(20):
        for connection in server.connections:
            await connection.ended.wait()
    assert server.open_connections == 0


@SIGNALS
async def test_a_stopping_host_ends_its_streams_or_cuts_them_with_what_was_delivered_F127_F129(
    tmp_path: Path, server: WireServer, number: signal.Signals
) -> None:
    """New calls are refused with a reason, half of the streams end by themselves, the others at the limit."""
    config = tmp_path / "llm.yaml"
    config.write_text(CONFIG.format(url=server.url, limit="4s"))
    half = STREAMS // 2
    models = ["short/m", "endless/m"] * half
    async with host("tests.chaos.stream_host", str(config), *models) as running:
        await running.tells("streaming")
        assert server.open_connections >= STREAMS
        running.process.send_signal(number)
        stopping = await running.tells("stopping")
        server.release.set()
        report = await running.tells("report")
        assert await running.ended() == 0

    assert "stopping" in stopping["message"]
    assert "no new calls" in stopping["message"]
    assert [refused["type"] for refused in report["refused"]] == ["ServiceStopping"] * 5 + ["after the stop"]
    assert report["refused"][-1]["message"] == "the service has stopped"
    outcomes = report["outcomes"]
    assert len(outcomes) == STREAMS
    ended = [outcome for outcome in outcomes if outcome["model"] == "short/m"]
    cut = [outcome for outcome in outcomes if outcome["model"] == "endless/m"]
    assert [(one["finish"], one["text"]) for one in ended] == [("stop", WHOLE)] * half
    for one in cut:
        assert (one["error"], one["code"], one["retryable"]) == ("cancelled", "drained", False)
        assert one["text"].startswith("word0 ")
        assert one["partial"] == one["text"]
        assert "shut down" in one["message"]
    assert len(cut) == half
    assert 0.5 < report["seconds"] < 30
    assert (report["tasks"], report["threads"], report["sockets"], report["children"]) == ([], [], [], [])
    await ends_clean(running, server, [])


@SIGNALS
async def test_a_second_signal_ends_a_draining_host_at_once_LC12(
    tmp_path: Path, server: WireServer, number: signal.Signals
) -> None:
    """With thirty seconds left to drain; its worker process goes with it."""
    config = tmp_path / "llm.yaml"
    config.write_text(CONFIG.format(url=server.url, limit="30s"))
    async with host("tests.chaos.stream_host", str(config), "endless/m", "local/tiny", "endless/m") as running:
        children = (await running.tells("streaming"))["children"]
        assert len(children) == 1
        running.process.send_signal(number)
        await running.tells("stopping")
        running.process.send_signal(number)
        assert await running.ended(within=20) == -number
    await gone(children)
    await ends_clean(running, server, children)


async def test_a_stopping_host_takes_its_worker_down_while_it_generates(tmp_path: Path, server: WireServer) -> None:
    """The streams of a local model are cut at the limit like any other; its process is reaped."""
    config = tmp_path / "llm.yaml"
    config.write_text(CONFIG.format(url=server.url, limit="150ms"))
    async with host("tests.chaos.stream_host", str(config), *["local/tiny"] * 4) as running:
        children = (await running.tells("streaming"))["children"]
        running.process.send_signal(signal.SIGTERM)
        report = await running.tells("report")
        assert await running.ended() == 0
    for one in report["outcomes"]:
        assert one.get("partial", one["text"]) == one["text"]
        assert one["text"]
    assert report["children"] == []
    await ends_clean(running, server, children)


async def test_a_killed_host_takes_its_generating_worker_with_it_WK05_F145(tmp_path: Path, server: WireServer) -> None:
    """By itself, in the middle of four answers."""
    config = tmp_path / "llm.yaml"
    config.write_text(CONFIG.format(url=server.url, limit="15s"))
    async with host("tests.chaos.stream_host", str(config), *["local/tiny"] * 4) as running:
        children = (await running.tells("streaming"))["children"]
        assert len(children) == 1
        running.process.kill()
        await gone(children)
        assert await running.ended() == -signal.SIGKILL
