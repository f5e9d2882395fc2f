"""Fixtures that any test may use."""

from collections.abc import AsyncIterator, Iterator
from importlib.metadata import entry_points

import pytest
from hypothesis import HealthCheck, settings
from loguru import logger

from tests.leaks import Resources, assert_nothing_left
from tests.ports import kept_port

# Where the project is installed, pytest has found the plugin of the test kit by its entry point already.
_INSTALLED = any(entry.name == "core_llm" for entry in entry_points(group="pytest11"))
pytest_plugins = [] if _INSTALLED else ["core.llm.testing.pytest_plugin"]

# The suite tries the same inputs each time, so that it fails where the code has changed; `make explore` tries new ones.
# A busy machine is slow, not wrong; and nothing is left in the working tree.
_CALM = settings(deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", _CALM, derandomize=True)
settings.register_profile("explore", _CALM)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "leakcheck: fail if the test leaves a task, thread, descriptor or child behind")


@pytest.fixture(autouse=True)
def _offline(no_network: list[str]) -> None:
    """No test reaches anything outside this machine."""


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail the test if it leaves a task, thread, descriptor or child behind."""
    before = Resources.now()
    yield
    await assert_nothing_left(before)


@pytest.fixture(autouse=True)
def _leakcheck(request: pytest.FixtureRequest) -> None:
    """Make ``no_leaks`` the outermost fixture of a test marked with ``leakcheck``."""
    if request.node.get_closest_marker("leakcheck"):
        request.getfixturevalue("no_leaks")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody will while the test runs."""
    with kept_port() as port:
        yield port


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Everything that is logged, as ``LEVEL text``."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message}", level="DEBUG")
    yield lines
    logger.remove(sink)
