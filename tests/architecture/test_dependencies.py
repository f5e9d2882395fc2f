"""What an installation brings along: few packages, pinned by hash, and nothing that runs by itself."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
VENDOR_SDKS = {"openai", "anthropic", "google-genai", "boto3", "litellm", "ollama", "mistralai", "cohere", "groq"}


def pinned(lock: Path) -> dict[str, str]:
    """Package and version of each entry."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_S43_a_lock_file_pins_every_package_with_hashes_and_names_no_index(lock: Path) -> None:
    """The same files from whatever index a user has."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text().strip())
    assert len(entries) >= len(pinned(lock)) > 10
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.\-\[\]]+==[^ ;]+", entry), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]
    assert "://" not in lock.read_text()
    assert "index" not in lock.read_text()


def test_S43_what_is_required_is_in_the_lock_file_and_no_vendors_sdk_is() -> None:
    """One owner of retries, timeouts and connections."""
    run = pinned(ROOT / "requirements" / "run.txt")
    required = {re.split(r"[<>=!~\[ ;]", name)[0] for name in PROJECT["project"]["dependencies"]}
    assert required <= run.keys()
    assert not VENDOR_SDKS & (run.keys() | required)


def test_S43_the_packages_that_can_break_us_have_an_upper_bound() -> None:
    """A new major version is taken by a change here, not by a Tuesday."""
    bounds = {re.split(r"[<>=]", name)[0]: name for name in PROJECT["project"]["dependencies"]}
    for name in ("injector", "pydantic", "aiohttp", "watchdog", "loguru"):
        assert "<" in bounds[name], bounds[name]


def test_S43_nothing_that_is_installed_runs_when_python_starts() -> None:
    """No `.pth` file in any of the packages, nor in this one."""
    found = []
    for name in pinned(ROOT / "requirements" / "run.txt"):
        try:
            files = metadata.distribution(name).files or ()
        except metadata.PackageNotFoundError:
            continue  # needed on another platform only
        found += [str(file) for file in files if file.suffix == ".pth"]
    assert found == []
    assert not list(ROOT.glob("core/**/*.pth")) + list(ROOT.glob("modules/**/*.pth"))
