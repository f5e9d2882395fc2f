"""The file of the audit log among other processes, rotations, full disks and hands that change it."""

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loguru import logger

from core.container import Container
from core.llm import ConfigError, LLMService, ProviderModule
from core.llm.observability import audit_file
from core.llm.observability.audit import verify_audit_log
from core.llm.observability.audit_chain import check, sealed
from core.llm.observability.audit_file import AuditFile
from core.llm.testing import SCRIPTED

KEY = b"a key of the tests"
LONE = "ann\ud800"

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from core.llm.observability.audit_file import AuditFile
file = AuditFile(Path(sys.argv[1]), b"a key of the tests", lambda: datetime(2026, 11, 20, tzinfo=UTC))
file.open()
for number in range(200):
    assert file.append({"kind": "call", "from": sys.argv[2], "number": number, "text": "x" * (number % 90)})
"""


def opened(path: Path) -> AuditFile:
    """A file that is ready to be written."""
    file = AuditFile(path, KEY, lambda: datetime(2026, 11, 20, tzinfo=UTC))
    file.open()
    return file


def lines(path: Path) -> list[dict[str, object]]:
    """What is in it."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    """Workers of one host share a configuration, and so its audit log: no line is lost, none looks tampered with."""
    path = tmp_path / "audit.jsonl"
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(one)]) for one in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    found = verify_audit_log(path, KEY)
    assert (found.problem, found.lines) == (None, 600)
    assert not list(tmp_path.glob("*.damaged*"))


def test_half_a_line_of_a_process_that_died_is_removed_by_the_next_that_writes(tmp_path: Path) -> None:
    """Another process was killed in the middle of its line while this one goes on."""
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    assert file.append({"kind": "call"})
    with path.open("ab") as other:
        other.write(b'{"kind":"call","us')
    assert file.append({"kind": "call"})
    assert verify_audit_log(path, KEY).lines == 2


@pytest.mark.parametrize("rotation", ["moved", "removed"])
def test_a_file_that_is_rotated_away_is_followed_by_one_that_says_what_it_follows(
    tmp_path: Path, rotation: str
) -> None:
    """The digest of the last line links the new file to the old one, so that neither can be swapped."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    file = opened(path)
    assert file.append({"kind": "call", "number": 1})
    last = verify_audit_log(path, KEY).last
    path.replace(old)
    if rotation == "removed":
        old.unlink()
    assert file.append({"kind": "call", "number": 2})
    assert [(line["kind"], line.get("after")) for line in lines(path)] == [("continued", last), ("call", None)]
    assert verify_audit_log(path, KEY).intact
    assert path.stat().st_mode & 0o077 == 0


def test_the_first_of_several_to_notice_a_rotation_links_the_last_line_of_all(tmp_path: Path) -> None:
    """The others may have written since it did."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    busy, quiet = opened(path), opened(path)
    for number in range(3):
        assert busy.append({"kind": "call", "number": number})
    path.replace(old)
    assert quiet.append({"kind": "call", "number": 3})
    assert busy.append({"kind": "call", "number": 4})
    assert [line["kind"] for line in lines(path)] == ["continued", "call", "call"]
    assert lines(path)[0]["after"] == verify_audit_log(old, KEY).last
    assert verify_audit_log(path, KEY).intact


@pytest.mark.parametrize("how", ["cut at a line", "emptied", "changed", "added to", "filled with rubbish"])
def test_what_is_done_to_the_file_while_it_is_written_is_noticed(tmp_path: Path, how: str) -> None:
    """A line that somebody takes out or puts in by night is in the log, and the file with it is kept."""
    path = tmp_path / "audit.jsonl"
    seen: list[str] = []
    sink = logger.add(seen.append)
    file = opened(path)
    for number in range(3):
        assert file.append({"kind": "call", "number": number})
    whole = path.read_bytes()
    match how:
        case "cut at a line":
            os.truncate(path, whole.index(b"\n") + 1)
        case "emptied":
            os.truncate(path, 0)
        case "changed":
            path.write_bytes(whole.replace(b'"number":2', b'"number":22'))
        case "added to":
            path.write_bytes(
                whole + sealed({"kind": "call", "number": 9}, "0" * 64, b"another key")[0].encode() + b"\n"
            )
        case _:
            path.write_bytes(whole + b"\xff\xfe\x00\n")
    assert file.append({"kind": "call", "number": 4})
    logger.remove(sink)
    assert (tmp_path / "audit.damaged-1").exists()
    assert [line["kind"] for line in lines(path)] == ["continued", "call"]
    assert verify_audit_log(path, KEY).intact
    assert any("put aside" in line for line in seen)


def test_a_seal_around_something_else_is_no_line(tmp_path: Path) -> None:
    """Without a key anybody can seal; what is no record of ours is still found."""
    path = tmp_path / "audit.jsonl"
    for record in ("[1]", "{}", "1", '{"previous": 5}', "{"):
        digest = hashlib.sha256(record.encode()).hexdigest()
        path.write_text(f'{record[:-1]},"seal":"{digest}"}}\n')
        assert not verify_audit_log(path).intact


def test_text_that_is_no_utf_8_is_written_as_its_escape(tmp_path: Path) -> None:
    """The name of a user comes from a request, so anybody may choose it."""
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    assert file.append({"kind": "call", "user": LONE})
    assert lines(path)[0]["user"] == LONE
    assert verify_audit_log(path, KEY).intact
    line, last = sealed({"user": LONE}, "0" * 64, None)
    assert check([line + "\n"]).last == last


def test_a_full_disk_leaves_no_half_a_line_and_is_tried_again(tmp_path: Path) -> None:
    """In a process of its own, which may write files of two kilobytes."""
    path = tmp_path / "audit.jsonl"
    limited = WRITER.split("for number", maxsplit=1)[0] + (
        "import resource\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))\n"
        "written = 0\n"
        "while file.append({'kind': 'call', 'text': 'x' * 100}): written += 1\n"
        "assert not file.append({'kind': 'call', 'text': 'x' * 100})\n"
        "assert Path(sys.argv[1]).read_bytes().endswith(b'\\n')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "assert file.append({'kind': 'call', 'text': 'after'})\n"
        "print(written)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, str(path), "x"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = verify_audit_log(path, KEY)
    assert (found.problem, found.lines) == (None, int(done.stdout) + 1)
    assert done.stderr.count("cannot be written") == 1
    assert "can be written again" in done.stderr


def test_a_folder_that_is_rotated_away_while_the_lock_is_waited_for_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be begun in its place yet, the record is tried again like one that a full disk refuses."""
    folder, lock = tmp_path / "logs", audit_file._lock
    file = opened(folder / "audit.jsonl")
    assert file.append({"kind": "call", "number": 1})
    last = verify_audit_log(folder / "audit.jsonl", KEY).last

    def rotated_meanwhile(fd: int) -> None:
        monkeypatch.setattr(audit_file, "_lock", lock)
        folder.rename(tmp_path / "old")
        folder.touch()
        lock(fd)

    monkeypatch.setattr(audit_file, "_lock", rotated_meanwhile)
    assert not file.append({"kind": "call", "number": 2})
    folder.unlink()
    assert file.append({"kind": "call", "number": 2})
    first, second = lines(folder / "audit.jsonl")
    assert (first["kind"], first["after"], second["number"]) == ("continued", last, 2)


def test_a_file_system_without_locks_has_an_audit_log_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems may have none."""

    def none_here(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", none_here)
    path = tmp_path / "audit.jsonl"
    file = opened(path)
    assert file.append({"kind": "call"})
    assert file.append({"kind": "call"})
    assert verify_audit_log(path, KEY).lines == 2


async def test_a_user_whose_name_is_no_text_has_a_line(tmp_path: Path) -> None:
    """Neither the digest of a prompt nor the line may fail on it."""
    path = tmp_path / "audit.jsonl"
    config = {"default_model": "demo/m", "providers": {"demo": {"type": "scripted"}}, "audit": {"path": str(path)}}
    async with Container([ProviderModule({"llm_service": config}, plugins=[SCRIPTED])]) as container:
        await container.get(LLMService).generate("hi " + LONE, user=LONE)
        await container.get(LLMService).generate("hi", user="ben")
    assert [line["user"] for line in lines(path) if line["kind"] == "call"] == [LONE, "ben"]


async def test_a_path_that_cannot_be_written_fails_the_start_with_its_place(tmp_path: Path) -> None:
    """Whoever asks for an audit log does not run without one."""
    config = {"providers": {"demo": {"type": "scripted"}}, "audit": {"path": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"audit\.path.*cannot be opened: Is a directory"):
        async with Container([ProviderModule({"llm_service": config}, plugins=[SCRIPTED])]):
            pass
