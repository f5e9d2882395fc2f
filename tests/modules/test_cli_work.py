"""`core-llm load`, `unload`, `pull`: what they leave behind, what they say, how they are stopped."""

import re
import signal
import time
from pathlib import Path

import psutil

from core.llm.testing.ollama_script import OllamaDownload, OllamaModelSpec
from tests.modules.commands import Ollama, begun, core_llm, slow_download


def eventually(condition, seconds: float = 60.0) -> None:
    """Return once *condition* holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; one may go while it is looked at."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_model_of_a_server_stays_in_its_memory(mixed_config: Path, ollama: Ollama) -> None:
    """The command ends, the model does not; also where applications are told to unload at their end."""
    text = mixed_config.read_text()
    mixed_config.write_text(text.replace("models: [a, gone]", "models: [a, gone], unload_on_stop: true"))
    done = core_llm(mixed_config, "load", "ollama/a")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"ollama/a is loaded: \d+\.\d\d s, 1\.0 MB\n", done.stdout)
    assert ollama.in_memory() == {"a:latest"}
    done = core_llm(mixed_config, "unload", "smart")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ollama/a is not in memory\n", "")
    assert ollama.in_memory() == set()


def test_a_worker_model_is_loaded_checked_and_honestly_unloaded(mixed_config: Path) -> None:
    """It cannot outlive the command, which says so, with what it took and what to do instead."""
    done = core_llm(mixed_config, "load", "local/tiny")
    assert done.returncode == 0
    assert re.fullmatch(r"local/tiny can be loaded: \d+\.\d\d s, \d+ MB\n", done.stdout)
    assert done.stderr.startswith("It was unloaded again: it lives in a worker of the process that loads it")
    assert "residency.preload: [local/tiny]" in done.stderr
    assert "core-llm load local/tiny --stay" in done.stderr


def test_a_worker_model_of_another_process_cannot_be_unloaded(mixed_config: Path) -> None:
    """That would be a lie; it says who can."""
    done = core_llm(mixed_config, "unload", "tiny")
    assert (done.returncode, done.stdout) == (1, "")
    assert "local/tiny lives in a worker of the process that loaded it, which is not this one" in done.stderr


def test_stay_keeps_a_worker_model_until_ctrl_c(mixed_config: Path) -> None:
    """And shows it; then it is gone, and the exit code says that all is well."""
    with begun(mixed_config, "load", "local/tiny", "--stay") as process:
        seen = ""
        while "local/tiny" not in seen or "loaded" not in seen:
            seen = process.stdout.readline()
            assert seen, process.stderr.read()
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "Ctrl-C ends this and unloads it" in process.stderr.read()
        eventually(lambda: not any(lives(worker) for worker in workers))


def test_what_cannot_be_loaded_is_one_clear_line(mixed_config: Path, ollama: Ollama) -> None:
    """What, why, what to do; exit code 1."""
    for name, told in {
        "ollama/gone": "`ollama pull gone`",
        "acme/m": "does not load and unload models",
        "nonsense": "nothing is called 'nonsense'",
        "openai/gpt": "NO_SUCH_KEY",
    }.items():
        done = core_llm(mixed_config, "load", name)
        assert (done.returncode, done.stdout) == (1, ""), name
        assert done.stderr.startswith("core-llm load: ")
        assert done.stderr.count("\n") == 1
        assert told in done.stderr


def test_a_pull_ends_with_the_model_on_its_server(mixed_config: Path, ollama: Ollama) -> None:
    """And can be loaded then; a model that nobody offers is an error."""
    ollama.server.publish("new")
    done = core_llm(mixed_config, "pull", "ollama/new")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ollama/new is there: 1.0 MB\n", "")
    assert core_llm(mixed_config, "load", "ollama/new").returncode == 0
    done = core_llm(mixed_config, "pull", "ollama/nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "file does not exist" in done.stderr
    done = core_llm(mixed_config, "pull", "local/tiny")
    assert (done.returncode, done.stderr) == (1, "core-llm pull: provider 'local' cannot download models\n")


def test_a_log_gets_a_line_every_two_seconds(mixed_config: Path, ollama: Ollama) -> None:
    """With share, amount, rate and the time that is left; no escape sequence in it."""
    ollama.server.publish(slow_download("new"))
    done = core_llm(mixed_config, "pull", "ollama/new")
    assert (done.returncode, done.stdout) == (0, "ollama/new is there: 1.0 MB\n")
    line = r"pulling ollama/new: \d\d%, \d\.\d MB of 6\.0 MB, [\d.]+ [kM]B/s, \d+ s left\n"
    assert re.fullmatch(rf"(?:{line})+", done.stderr), done.stderr
    assert done.stderr.count("\n") <= 3


def test_ctrl_c_stops_a_pull_which_can_be_resumed(mixed_config: Path, ollama: Ollama) -> None:
    """Exit code 130, what to do, no traceback; the server sees it leave, and the next pull goes on from there."""
    download = slow_download("new", 400)
    ollama.server.publish(download)
    with begun(mixed_config, "pull", "ollama/new") as process:
        assert process.stderr.readline().startswith("pulling ollama/new: ")
        process.send_signal(signal.SIGINT)
        output, told = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert re.search(r"interrupted at \d\d%: the same command goes on from there", told)
    assert "Traceback" not in told
    eventually(lambda: ollama.server.library.pulls_cut == 1)
    kept = dict(download.done)
    assert all(kept.values())
    download.hold = None
    assert core_llm(mixed_config, "pull", "ollama/new").returncode == 0


def test_a_pull_that_is_cut_says_so_and_goes_on_the_next_time(mixed_config: Path, ollama: Ollama) -> None:
    """A connection that ends without a word is no success."""
    ollama.server.publish(OllamaDownload(OllamaModelSpec("new"), cut=True))
    done = core_llm(mixed_config, "pull", "ollama/new")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("core-llm pull: ")
    assert core_llm(mixed_config, "pull", "ollama/new").returncode == 0


def test_ctrl_c_stops_a_load_that_hangs(mixed_config: Path, ollama: Ollama) -> None:
    """Exit code 130 within moments."""
    ollama.server.store.installed["a:latest"].load_seconds = 60
    with begun(mixed_config, "load", "ollama/a") as process:
        assert process.stderr.readline().startswith("loading ollama/a: ")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: ollama/a was not loaded by this command" in told
    assert "Traceback" not in told


def test_a_termination_ends_it_as_well(mixed_config: Path, ollama: Ollama) -> None:
    """As under a service manager."""
    ollama.server.store.installed["a:latest"].load_seconds = 60
    with begun(mixed_config, "load", "ollama/a") as process:
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
