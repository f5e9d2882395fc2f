"""The chat in a script: a prompt as argument or from a pipe, the answer on standard output, the rest beside it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import openai_error, openai_stream
from core.llm.testing.wire_steps import Head, Send, Stall, WireScript, answer
from tests.modules.terminal import ROOT, environment

SSE = Head(200, {"Content-Type": "text/event-stream"})
COMMAND = [sys.executable, "-m", "modules.chat"]


def chat(config: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*COMMAND, "--config", str(config), *arguments],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=90,
        check=False,
    )


def test_one_question_as_arguments(config: Path, server: WireServer) -> None:
    """The answer alone is on standard output; who gave it is on standard error."""
    done = chat(config, "what", "do containers do?")
    assert (done.returncode, done.stdout) == (0, "Containers build objects.\n")
    assert "— acme/wire-model · 10 tokens" in done.stderr
    assert server.requests[0].json()["messages"] == [{"role": "user", "content": "what do containers do?"}]


def test_one_question_from_a_pipe(config: Path, server: WireServer) -> None:
    """All of it is one question, however many lines it has; the options apply."""
    done = chat(config, "--model", "acme/m", "--system", "Be brief.", given="first line\nsecond line\n")
    assert (done.returncode, done.stdout) == (0, "Containers build objects.\n")
    instructions, question = server.requests[0].json()["messages"]
    assert instructions == {"role": "system", "content": "Be brief."}
    assert question == {"role": "user", "content": "first line\nsecond line"}


def test_no_answer_exits_1_and_lists_every_candidate(config: Path, server: WireServer) -> None:
    """With the reason of each."""
    server.otherwise(answer(openai_error("the machine is on fire"), 500))
    done = chat(config, "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert "openai/gpt: skipped" in done.stderr
    assert "NO_SUCH_KEY" in done.stderr
    assert "the machine is on fire (HTTP 500)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_configuration_exits_2_with_its_place(config: Path) -> None:
    """Every mistake with file, line and column; no traceback."""
    config.write_text(config.read_text().replace("api_key", "api_kye").replace("base_url", "base_ulr"))
    done = chat(config, "hello")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{config}:5:14: providers.openai.api_kye: unknown key" in done.stderr
    assert f"{config}:6:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_configuration_exits_2_and_names_the_path(tmp_path: Path) -> None:
    """And what to do."""
    done = chat(tmp_path / "none.yaml", "hello")
    assert done.returncode == 2
    assert f"{tmp_path / 'none.yaml'}: there is no such file (check the path, or create it)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_gets_one_line_about_a_long_wait(config: Path, server: WireServer) -> None:
    """A line that is overwritten every second would fill it."""
    server.otherwise(WireScript((SSE, Stall(2.4), *map(Send, openai_stream("At last.")))))
    done = chat(config, "hello")
    assert done.stdout == "At last.\n"
    assert done.stderr.count("waiting for acme/m …") == 1
    assert "\x1b" not in done.stderr


def test_ctrl_c_while_a_pipe_is_silent_ends_it_with_exit_code_0(config: Path) -> None:
    """LC-12. Nothing is left that waits for the pipe."""
    reading, writing = os.pipe()
    command = [*COMMAND, "--config", str(config)]
    process = subprocess.Popen(command, stdin=reading, stderr=subprocess.PIPE, cwd=ROOT, env=environment())
    try:
        os.close(reading)
        while not _handles(process.pid, signal.SIGTERM):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, logged = process.communicate(timeout=60)
        assert process.returncode == 0
        assert b"Traceback" not in logged
    finally:
        process.kill()
        process.wait()
        os.close(writing)


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_a_reader_that_leaves_ends_it_quietly(config: Path, server: WireServer) -> None:
    """As with `| head -1`."""
    frames = openai_stream(" ".join(["word"] * 200))
    server.otherwise(WireScript((SSE, *[Send(frame, gap=0.005) for frame in frames])))
    command = [*COMMAND, "--config", str(config), "hello"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdout.read(4) == b"word"
        process.stdout.close()
        assert process.wait(60) == 1
        assert b"Traceback" not in process.stderr.read()


def test_a_closed_standard_input_is_no_question(config: Path) -> None:
    """As under a service manager."""
    done = subprocess.run(
        f"exec {sys.executable} -m modules.chat --config {config} <&-",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no question" in done.stderr
    assert "Traceback" not in done.stderr
