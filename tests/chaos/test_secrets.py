"""Five secrets in one host: they reach the servers they are meant for, and nothing else anywhere shows them."""

import json
from pathlib import Path

import pytest

from tests.chaos.hosting import host

pytestmark = pytest.mark.leakcheck


async def test_no_path_through_a_host_shows_a_secret(tmp_path: Path) -> None:
    """Answers, refusals that repeat the key, silence, cuts, bad edits, rotation, a worker: with all there is logged."""
    folder = tmp_path / "work"
    folder.mkdir()
    result = tmp_path / "result.json"
    async with host("tests.chaos.secret_host", str(folder), str(result)) as running:
        printed, logged = await running.process.communicate()
        assert running.process.returncode == 0, logged.decode()[-3000:]
    facts = json.loads(result.read_text())

    assert "expected" not in "; ".join(facts["steps"])
    assert facts["steps"].count("refused") == 4
    assert facts["leaks"] == []
    assert facts["sent"] == ["key", "header", "file"]
    assert b"unauthorised failed" in logged
    assert len(facts["forms"]) > 5 * 5
    written = {file.name: file.read_text() for file in folder.rglob("*") if file.is_file()}
    for where, text in {"stdout": printed.decode(), "stderr": logged.decode(), **written}.items():
        assert [form for form in facts["forms"] if form in text] == [], where
    assert "host.log" in written
