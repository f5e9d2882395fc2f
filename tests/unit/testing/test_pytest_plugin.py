"""The pytest plugin, run as a host would run it: in a test session of its own."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file in a fresh process that has the plugin and nothing of this project's own conftest."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def run(source: str, *options: str, ini: str = ""):
        pytester.makeini(f"[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n{ini}\n")
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "core.llm.testing.pytest_plugin", "--strict-markers", *options)

    return run


REACHES_OUT = """
    import socket

    def test_reaches_out():
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=0.01)
        except OSError:
            pass    # swallowed, as a retry loop would
"""


def test_a_forbidden_connection_fails_the_test_even_if_the_error_was_swallowed(run):
    """Switched on for all tests by the ini file."""
    result = run(REACHES_OUT, ini="forbid_network = true")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the network is forbidden, yet a test tried to connect to '192.0.2.1'*"])


def test_the_mark_switches_it_on_for_one_test(run):
    """Without the ini option, a test may ask for it."""
    result = run("import pytest\npytestmark = pytest.mark.forbid_network\n" + _dedent(REACHES_OUT))

    result.assert_outcomes(passed=1, errors=1)


def test_it_changes_nothing_until_it_is_asked_to(run):
    """Installing the library does not change a host's tests."""
    result = run(
        """
        import socket

        def test_untouched():
            assert socket.socket.connect.__qualname__ == "socket.connect"
            assert "connect" not in vars(socket.socket)
        """
    )

    result.assert_outcomes(passed=1)


def test_a_mark_allows_one_host_or_all(run):
    """The exception is named at the test that needs it."""
    result = run(
        """
        import socket, pytest
        real = socket.getaddrinfo

        @pytest.mark.allow_network
        def test_all():
            assert socket.getaddrinfo is real

        @pytest.mark.allow_network("192.0.2.1")
        def test_one():
            with socket.socket() as stream, pytest.raises(OSError):
                stream.connect(("198.51.100.1", 80))
        """,
        ini="forbid_network = true",
    )

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*198.51.100.1*"])


def test_a_host_tests_its_service_with_a_scripted_model(run):
    """Three fixtures are enough: the service, the script, and what happened."""
    result = run(
        """
        from core.llm import CallFinished, ProviderError

        async def test_answer(llm, llm_script, event_recorder):
            llm_script.will_raise(ProviderError("overloaded", "busy"))
            llm_script.will_answer("Hello")

            response = await llm.generate("Say hello")

            assert response.content == "Hello"
            assert llm_script.prompts == ["Say hello", "Say hello"]
            assert (await event_recorder.wait_for(CallFinished)).outcome == "answered"

        async def test_each_test_has_a_fresh_script(llm, llm_script):
            assert llm_script.requests == []
            assert (await llm.generate("echo")).content == "echo"

        async def test_the_clock(fake_clock):
            await fake_clock.advance(5)
            assert fake_clock.elapsed() == 5
        """,
        "-W",
        "error",
    )

    result.assert_outcomes(passed=3)


def test_a_leaked_secret_fails_the_test_that_leaked_it(run):
    """Output, log lines and files are searched after the test; a careful test passes."""
    result = run(
        """
        import logging

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
    )

    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines(["*test_prints*", "*the secret of secret_canary shows in: Captured stdout call*"])


def test_the_contract_runs_without_an_ini_file(pytester, monkeypatch):
    """A plugin author needs pytest-asyncio and one class; strict mode is fine."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    pytester.makepyfile(
        """
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
    )

    result = pytester.runpytest_subprocess("-q")

    counts = result.parseoutcomes()
    assert counts["passed"] == counts["errors"] > 35
    assert "failed" not in counts
    result.stdout.fnmatch_lines(["*override the fixture `upstream` of TestForgotten: return a ContractUpstream*"])


def _dedent(source: str) -> str:
    return "\n".join(line[4:] for line in source.splitlines())
