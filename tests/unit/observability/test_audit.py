"""The audit log: every call and edit is a line, prompts are digests, and whoever changes a line is found out."""

import asyncio
import hashlib
import json
import random
import threading
from pathlib import Path

import pytest

from core.container import Container
from core.llm import EventBus, LLMService, ProviderError, ProviderModule
from core.llm.observability import audit
from core.llm.observability.audit import verify_audit_log
from core.llm.observability.audit_chain import GENESIS, check, sealed
from core.llm.observability.audit_file import AuditFile
from core.llm.testing import SCRIPTED, EventRecorder

PROMPT = "tell me about the patient Smith"


def module(path: Path, **options: object) -> ProviderModule:
    """A service that answers twice and then fails."""
    config = {
        "default_model": "demo/m",
        "providers": {
            "demo": {"type": "scripted", "answers": ["one", "two", {"error": "server_error"}], "then": "fail"}
        },
        "retry": {"max_retries": 0},
        "audit": {"path": str(path), **options},
    }
    return ProviderModule({"llm_service": config}, plugins=[SCRIPTED])


async def written(path: Path, **options: object) -> list[dict[str, object]]:
    """What three calls leave in the file: one whole, one streamed, one failed."""
    async with Container([module(path, **options)]) as container:
        llm = container.get(LLMService)
        await llm.generate(PROMPT, user="ann")
        async with llm.stream(PROMPT) as stream:
            await stream.response()
        with pytest.raises(ProviderError):
            await llm.generate(PROMPT)
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_S18_a_call_is_a_line_with_digests_instead_of_content(tmp_path):
    lines = await written(tmp_path / "deep" / "audit.jsonl")
    calls = [line for line in lines if line["kind"] == "call"]
    assert [line["outcome"] for line in calls] == ["answered", "answered", "failed"]
    assert calls[0]["answer"] == {"sha256": hashlib.sha256(b"one").hexdigest(), "characters": 3}
    assert calls[1]["answer"]["characters"] == 3
    assert (calls[0]["user"], calls[0]["target"], calls[2]["error"]) == ("ann", "demo/m", "server_error")
    assert "Smith" not in json.dumps(lines)
    assert (tmp_path / "deep" / "audit.jsonl").stat().st_mode & 0o077 == 0


async def test_content_is_there_where_the_configuration_asks_for_it(tmp_path):
    lines = await written(tmp_path / "audit.jsonl", content=True)
    assert lines[-1]["prompt"]["text"] == f"user: {PROMPT}"
    assert lines[0]["kind"] == "config_applied" or lines[0]["answer"]["text"] == "one"


@pytest.mark.parametrize("key", [None, b"secret-key"])
def test_S18_flipping_any_byte_is_found(key):
    """Every byte of every line, one at a time."""
    lines, last = [], GENESIS
    for number in range(4):
        line, last = sealed({"kind": "call", "number": number, "user": "ä"}, last, key)
        lines.append(line + "\n")
    assert check(lines, key).intact
    whole = "".join(lines).encode()
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 1
        text = bytes(broken).decode("utf-8", errors="replace")
        assert not check(text.splitlines(keepends=True), key).intact, position


def test_S18_lines_that_are_missing_swapped_or_repeated_are_found():
    lines, last = [], GENESIS
    for number in range(6):
        line, last = sealed({"number": number}, last, b"k")
        lines.append(line + "\n")
    assert check(lines, b"k").lines == 6
    assert "missing" in (check(lines[1:], b"k").problem or "")
    assert check([lines[0], *lines[2:]], b"k").lines == 1
    assert check([lines[1], lines[0]], b"k").lines == 0
    assert check([*lines[:2], lines[1]], b"k").lines == 2
    shuffled = lines[:]
    random.Random(1).shuffle(shuffled)
    assert not check(shuffled, b"k").intact
    assert not check(lines, b"another key").intact


async def test_a_restart_goes_on_with_the_chain(tmp_path):
    path = tmp_path / "audit.jsonl"
    await written(path, key="k" * 16)
    await written(path, key="k" * 16)
    found = verify_audit_log(path, b"k" * 16)
    assert found.intact
    assert found.lines == len(path.read_text().splitlines()) >= 6


async def test_half_a_line_of_a_killed_process_is_removed(tmp_path):
    path = tmp_path / "audit.jsonl"
    await written(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"call","us')
    await written(path)
    assert path.read_bytes().startswith(whole)
    assert verify_audit_log(path).intact


async def test_a_file_that_was_tampered_with_is_put_aside(tmp_path):
    """It stays as it is, for whoever looks into it; the new one is genuine."""
    path = tmp_path / "audit.jsonl"
    await written(path)
    path.write_text(path.read_text().replace('"user":"ann"', '"user":"bob"'))
    await written(path)
    assert verify_audit_log(path).intact
    assert '"user":"bob"' in (tmp_path / "audit.damaged-1").read_text()


async def test_F133_a_disk_that_stands_still_delays_no_call(tmp_path, monkeypatch):
    """Records wait in a bounded queue; what does not fit is counted in the file."""
    go_on = threading.Event()
    real = AuditFile.append

    def stuck(self, record):
        go_on.wait(30)
        return real(self, record)

    monkeypatch.setattr(AuditFile, "append", stuck)
    monkeypatch.setattr(audit, "WAITING", 3)
    path = tmp_path / "audit.jsonl"
    config = {
        "default_model": "demo/m",
        "providers": {"demo": {"type": "scripted"}},
        "audit": {"path": str(path)},
    }
    async with Container([ProviderModule({"llm_service": config}, plugins=[SCRIPTED])]) as container:
        for _ in range(20):
            await asyncio.wait_for(container.get(LLMService).generate("hi"), 10)
        go_on.set()
    assert verify_audit_log(path).intact
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(line.get("left_out_before", 0) for line in lines) + sum(line["kind"] == "call" for line in lines) == 20


async def test_content_goes_to_nobody_who_did_not_ask_for_it(tmp_path):
    """A subscriber to all events sees no prompt, also while an audit log is written."""
    async with Container([module(tmp_path / "audit.jsonl")]) as container:
        everything = EventRecorder(container.get(EventBus))
        await container.get(LLMService).generate(PROMPT)
        assert "Smith" not in repr(everything.events)


async def test_no_secret_is_written(tmp_path):
    """Also not one that a prompt holds, where content is written."""
    path = tmp_path / "audit.jsonl"
    async with Container([module(path, content=True)]) as container:
        await container.get(LLMService).generate("my key is sk-proj-0123456789abcdef")
    assert "sk-proj-0123456789" not in path.read_text()
