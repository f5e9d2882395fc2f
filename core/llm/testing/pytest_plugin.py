"""Fixtures and marks for pytest. Active wherever `core-llm` is installed; changes nothing until it is asked to.

- fixtures `llm`, `llm_script`, `fake_clock`, `event_recorder`, `secret_canary`, `no_network`
- mark `forbid_network`, or `forbid_network = true` in the ini file for all tests: nothing outside this machine
- mark `allow_network("host", …)`: the exception, for these hosts (for all, when none is named)
"""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from core.llm.service import LLMService
    from core.llm.testing.canary import SecretCanary
    from core.llm.testing.clock import FakeClock
    from core.llm.testing.recorder import EventRecorder
    from core.llm.testing.script import Script

# Everything of this library is imported inside the fixtures: pytest loads this file at every start of a host's tests.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini("forbid_network", "Refuse connections that leave this machine, in every test.", "bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "forbid_network: refuse connections that leave this machine")
    config.addinivalue_line("markers", "allow_network(*hosts): let this test reach these hosts, or any")


@pytest.fixture
def no_network(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Refuse every connection that leaves this machine, and fail the test that tried, even if it caught the error.

    The value is the list of what was refused; a test that provokes a refusal clears it.
    """
    from core.llm.testing.network import forbid_network  # noqa: PLC0415 - see the top of this file

    mark = request.node.get_closest_marker("allow_network")
    if mark is not None and not mark.args:
        yield []
        return
    with forbid_network(*(mark.args if mark else ())) as refused:
        yield refused
    if refused:
        pytest.fail("the network is forbidden, yet " + "; ".join(dict.fromkeys(refused)), pytrace=False)


@pytest.fixture(autouse=True)
def _forbid_network_where_asked(request: pytest.FixtureRequest) -> None:
    if request.config.getini("forbid_network") or request.node.get_closest_marker("forbid_network"):
        request.getfixturevalue("no_network")


@pytest.fixture
def fake_clock() -> "FakeClock":
    """A clock that stands still until the test moves it."""
    from core.llm.testing.clock import FakeClock  # noqa: PLC0415 - see the top of this file

    return FakeClock()


@pytest.fixture
def llm_script(request: pytest.FixtureRequest) -> "Script":
    """What the fixture `llm` answers, and what it was asked; echoes until told otherwise."""
    from core.llm.testing.script import Script  # noqa: PLC0415 - see the top of this file

    return Script.named(request.node.nodeid)


try:
    import pytest_asyncio
except ImportError:  # without an async plugin there are no async tests, and nobody to run these fixtures
    pass
else:

    @pytest_asyncio.fixture
    async def _llm_container(llm_script: "Script") -> AsyncIterator[Any]:
        from core.container import Container  # noqa: PLC0415 - see the top of this file
        from core.llm.module import ProviderModule  # noqa: PLC0415
        from core.llm.testing.provider import SCRIPTED  # noqa: PLC0415

        config = {
            "default_model": "scripted/test",
            "providers": {"scripted": {"script": llm_script.name, "models": ["test"]}},
            "retry": {"initial_delay": "1ms", "max_delay": "2ms"},
            "health_check": {"enabled": False},
        }
        module = ProviderModule({"llm_service": config}, watch=False, env={}, plugins=[SCRIPTED])
        async with Container([module]) as container:
            yield container

    @pytest_asyncio.fixture
    async def llm(_llm_container: Any) -> "LLMService":
        """A running `LLMService` on a scripted provider: everything is real but the model. See `llm_script`."""
        from core.llm.service import LLMService  # noqa: PLC0415 - see the top of this file

        service: LLMService = _llm_container.get(LLMService)
        return service

    @pytest_asyncio.fixture
    async def event_recorder(_llm_container: Any) -> AsyncIterator["EventRecorder"]:
        """What happens inside the service of the fixture `llm`."""
        from core.llm.common.events import EventBus  # noqa: PLC0415 - see the top of this file
        from core.llm.testing.recorder import EventRecorder  # noqa: PLC0415

        with EventRecorder(_llm_container.get(EventBus)) as recorder:
            yield recorder


@pytest.fixture
def secret_canary(request: pytest.FixtureRequest) -> Iterator["SecretCanary"]:
    """A unique secret; the test fails if it shows in its output, in its log, in `tmp_path`, or in what is watched."""
    from core.llm.testing.canary import SecretCanary  # noqa: PLC0415 - see the top of this file

    canary = SecretCanary()
    yield canary
    folder = request.node.funcargs.get("tmp_path")
    canary.check(*([folder] if isinstance(folder, Path) else []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Search what a test has printed and logged for its canary."""
    report = yield
    canary = getattr(item, "funcargs", {}).get("secret_canary")
    # The report of the teardown is the last, and holds what all phases have written.
    if canary is not None and report.when == "teardown" and report.passed:
        places = [title for title, text in report.sections if canary.find(text)]
        if places:
            report.outcome = "failed"
            report.longrepr = f"the secret of secret_canary shows in: {', '.join(places)}"
    return report
