"""Fixtures that any test may use."""

from collections.abc import AsyncIterator

import pytest

from tests.leaks import Resources, assert_nothing_left


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "leakcheck: fail if the test leaves a task, thread, descriptor or child behind")


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
