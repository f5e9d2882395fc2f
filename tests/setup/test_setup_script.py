"""`scripts/setup.sh`, on an interpreter that only says what a real one would say."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup.sh"
LOCK = "".join(f"pack{number}==1.0 \\\n    --hash=sha256:00\n" for number in range(3)) + (
    "colorama==0.4 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
)
PYTHON = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
    *version_info*) exit {too_old} ;;
    --version) echo Python 3.{minor} ;;
    "-m venv"*) mkdir -p {venv}/bin; cp "$0" {venv}/bin/python; touch {venv}/has_pip ;;
    "-m pip --version") test -f {venv}/has_pip ;;
    "-m pip install"*) cat {said} ;;
esac
"""
INSTALLS = """Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting pack0==1.0
Processing ./pack1-1.0.whl
Requirement already satisfied: pack2==1.0
Successfully installed pack0-1.0
"""


class Setup:
    """The script in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.venv, self.stamp, self.said = (folder / name for name in ("log", "venv", "stamp", "said"))
        (folder / "lock.txt").write_text(LOCK)
        self.said.write_text(INSTALLS)
        self.python = self.interpreter(folder / "python")

    def interpreter(self, file: Path, *, too_old: int = 0) -> Path:
        """An interpreter that is a shell script."""
        file.parent.mkdir(parents=True, exist_ok=True)
        minor = 10 if too_old else 12
        file.write_text(PYTHON.format(log=self.log, venv=self.venv, said=self.said, too_old=too_old, minor=minor))
        file.chmod(0o755)
        return file

    def run(self, python: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run it; what it prints goes to standard error."""
        arguments = [str(python or self.python), str(self.venv), str(self.folder / "lock.txt"), str(self.stamp)]
        return subprocess.run(["sh", str(SCRIPT), *arguments], check=False, capture_output=True, text=True, timeout=200)

    def made(self) -> int:
        """How often an environment was made."""
        return self.log.read_text().count("-m venv")


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_progress_counts_up_to_the_total(setup: Setup) -> None:
    """What another platform needs, and what is there already, counts too."""
    done = setup.run()
    assert done.returncode == 0, done.stderr
    assert "Installing 4 locked packages" in done.stderr
    counts = [line.strip() for line in done.stderr.replace("\r", "\n").splitlines() if " of " in line]
    assert counts == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert setup.stamp.exists()


def test_an_old_python_is_refused_with_the_way_to_name_another(setup: Setup) -> None:
    """Before anything is made."""
    done = setup.run(setup.interpreter(setup.folder / "old", too_old=1))
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.10" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not setup.venv.exists()


def test_an_environment_whose_making_was_interrupted_is_made_again(setup: Setup) -> None:
    """There is an interpreter in it, but no pip."""
    setup.interpreter(setup.venv / "bin" / "python")
    assert setup.run().returncode == 0
    assert setup.made() == 1


def test_an_environment_of_an_older_python_is_made_again(setup: Setup) -> None:
    """It has pip, and could not run a line of the project."""
    setup.interpreter(setup.venv / "bin" / "python", too_old=1)
    (setup.venv / "has_pip").touch()
    assert setup.run().returncode == 0
    assert setup.made() == 1


def test_a_whole_environment_is_kept(setup: Setup) -> None:
    """A second lock file is installed into the same one."""
    setup.run()
    setup.run()
    assert setup.made() == 1


def test_a_failed_installation_says_so_and_is_not_taken_for_done(setup: Setup) -> None:
    """Without a network, for example."""
    setup.said.write_text("Collecting pack0==1.0\nERROR: No matching distribution found for pack0==1.0\n")
    done = setup.run()
    assert done.returncode != 0
    assert "ERROR: No matching distribution" in done.stderr
    assert "The same command tries again" in done.stderr
    assert not setup.stamp.exists()
