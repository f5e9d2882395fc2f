"""The pytest plugin, run as a host would run it: in test sessions of its own, without this project's conftest."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[3]

OFFLINE = """
    import socket
    import pytest


    def test_swallows_the_error():
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=0.01)
        except OSError:
            pass    # as a retry loop would

    @pytest.mark.allow_network
    def test_allows_all():
        assert "connect" not in vars(socket.socket)

    @pytest.mark.allow_network("192.0.2.1")
    def test_allows_another_host():
        with socket.socket() as stream, pytest.raises(OSError):
            stream.connect(("198.51.100.1", 80))

    def test_stays_here():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
"""

HOST = """
    import logging
    import socket
    import pytest
    from core.llm import CallFinished, ProviderError

    def test_untouched():
        assert "connect" not in vars(socket.socket)

    @pytest.mark.forbid_network
    def test_marked():
        with pytest.raises(OSError, match="only this machine"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.01)

    async def test_answer(llm, llm_script, event_recorder):
        llm_script.will_raise(ProviderError("overloaded", "busy"))
        llm_script.will_answer("Hello")

        response = await llm.generate("Say hello")

        assert response.content == "Hello"
        assert llm_script.prompts == ["Say hello", "Say hello"]
        assert (await event_recorder.wait_for(CallFinished)).outcome == "answered"

    async def test_fresh_script(llm, llm_script):
        assert llm_script.requests == []
        assert (await llm.generate("echo")).content == "echo"

    async def test_clock(fake_clock):
        await fake_clock.advance(5)
        assert fake_clock.elapsed() == 5

    def test_prints(secret_canary):
        print("using", secret_canary.secret)

    def test_logs(secret_canary):
        logging.getLogger("app").warning("key %s", secret_canary.secret)

    def test_writes(secret_canary, tmp_path):
        (tmp_path / "cache").write_text(secret_canary.secret)

    def test_is_careful(secret_canary, tmp_path):
        (tmp_path / "cache").write_text("***")
        print("using", secret_canary)
"""

CONTRACT = """
    import pytest
    import pytest_asyncio
    from core.llm.testing import ProviderContract
    from tests.contract.scripted_upstream import ScriptedUpstream, SteeredProvider

    class TestMine(ProviderContract):
        @pytest.fixture
        def upstream(self):
            return ScriptedUpstream()

        @pytest_asyncio.fixture
        async def provider(self, upstream):
            yield SteeredProvider(upstream)

    class TestForgotten(ProviderContract):
        pass
"""


def run(folder: Path, source: str, *options: str) -> dict[str, str]:
    """What became of each test of *source*: `passed`, or the message of its failure."""
    (folder / "test_it.py").write_text(dedent(source))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "core.llm.testing.pytest_plugin", "--strict-markers", *options]
    command += ["-o", "asyncio_default_fixture_loop_scope=function", "--junit-xml=report.xml"]
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    report = folder / "report.xml"
    assert report.is_file(), result.stdout + result.stderr
    outcomes: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}".removeprefix("test_it.")
        problems = [f"{child.tag}: {child.get('message')} {child.text}" for child in case if child.tag != "system-out"]
        outcomes[name] = "\n".join([outcomes.get(name, "").replace("passed", ""), *problems]).strip() or "passed"
    return outcomes


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A session in which the ini file forbids the network."""
    return run(tmp_path_factory.mktemp("offline"), OFFLINE, "-o", "forbid_network=true")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A session of a host that has asked for nothing."""
    return run(tmp_path_factory.mktemp("host"), HOST, "-o", "asyncio_mode=auto", "-W", "error")


def test_a_forbidden_connection_fails_the_test_even_if_the_error_was_swallowed(offline):
    """The test is told what it tried."""
    assert "network is forbidden, yet a test tried to connect to '192.0.2.1'" in offline["test_swallows_the_error"]


def test_a_mark_allows_one_host_or_all(offline):
    """The exception is named at the test that needs it; this machine needs none."""
    assert offline["test_allows_all"] == offline["test_stays_here"] == "passed"
    assert "198.51.100.1" in offline["test_allows_another_host"]


def test_it_changes_nothing_until_it_is_asked_to(host):
    """Installing the library does not change a host's tests."""
    assert host["test_untouched"] == "passed"


def test_the_mark_switches_the_guard_on_for_one_test(host):
    """Without the ini option, a test may ask for it; an attempt is a failure here too."""
    assert "yet a test tried to connect to '192.0.2.1'" in host["test_marked"]


@pytest.mark.parametrize("name", ["test_answer", "test_fresh_script", "test_clock"])
def test_a_host_tests_its_service_with_a_scripted_model(host, name):
    """The service, the script, what happened, and the time; each test has its own."""
    assert host[name] == "passed"


@pytest.mark.parametrize(
    ("name", "place"), [("test_prints", "Captured stdout"), ("test_logs", "Captured log"), ("test_writes", "cache")]
)
def test_a_leaked_secret_fails_the_test_that_leaked_it(host, name, place):
    """Output, log lines and files are searched after the test."""
    assert place in host[name]
    assert "secret" in host[name]


def test_a_careful_test_passes(host):
    """Nothing is found where nothing is."""
    assert host["test_is_careful"] == "passed"


def test_the_contract_runs_in_strict_mode(tmp_path):
    """A plugin author needs pytest-asyncio and one class; forgotten fixtures say what to write."""
    outcomes = run(tmp_path, CONTRACT)
    mine = {name: what for name, what in outcomes.items() if name.startswith("TestMine.")}
    forgotten = {name: what for name, what in outcomes.items() if name.startswith("TestForgotten.")}

    assert set(mine.values()) == {"passed"}
    assert len(mine) == len(forgotten) > 40
    assert all("override the fixture `upstream` of TestForgotten" in what for what in forgotten.values())
