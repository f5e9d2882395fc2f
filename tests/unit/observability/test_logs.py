"""Log lines from events, and a set-up of loguru that cannot leak."""

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from core.llm.common.events import (
    AttemptFailed,
    CallFailed,
    CallFinished,
    CallRecovered,
    ConfigApplied,
    ConfigRejected,
    Event,
    EventBus,
    ModelEvent,
    ProviderDisabled,
    ProviderStateChanged,
    RuntimeRetired,
    WatcherDegraded,
)
from core.llm.common.exceptions import ConfigIssue
from core.llm.common.log import log
from core.llm.common.trace import AttemptTrace, CallTrace
from core.llm.common.types import ModelRef, Usage
from core.llm.observability.logs import EventLog, foreign_sink_leaks, setup_logging
from core.llm.providers.config.models.service import LoggingOptions
from core.llm.testing import SecretCanary

ALPHA = ModelRef("alpha", "m")
TRACE = CallTrace("c1", 1, "fast")


def attempt(**fields: Any) -> AttemptTrace:
    """A failed attempt."""
    given = {"duration": 1.5, "error_type": "rate_limit", "error": "slow down", "decision": "retry", **fields}
    return AttemptTrace(2, ALPHA, 0.25, **given)


@pytest.fixture
def log_level() -> list[str]:
    """The level of the YAML; a test may edit it."""
    return ["DEBUG"]


@pytest.fixture
async def bus(log_level: list[str]) -> Any:
    """A bus with an event log."""
    events = EventBus()
    writer = EventLog(events, lambda: LoggingOptions(level=log_level[-1]))
    await writer.start()
    yield events
    await writer.stop()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            AttemptFailed("c1", attempt(retry_after=7.2)),
            "WARNING alpha/m: attempt 2 failed after 1.500 s: rate_limit: slow down, asked to wait 7.2 s; next: retry",
        ),
        (CallRecovered("c1", ALPHA, 3), "INFO alpha/m: answered at attempt 3"),
        (
            CallFinished("c1", "failed", ALPHA, 2.0, None, TRACE),
            "ERROR a call for fast failed after 2.000 s and 0 attempts",
        ),
        (
            CallFailed("c1", "failed", ALPHA, 2.0, None, TRACE, "rate_limit: alpha/m: slow down"),
            "ERROR a call for fast failed after 2.000 s and 0 attempts: rate_limit: alpha/m: slow down",
        ),
        (
            AttemptFailed("c1", attempt(error="not sent: the provider asked to wait", code="gated")),
            "DEBUG alpha/m: attempt 2 failed after 1.500 s: rate_limit: not sent: the provider asked to wait; next: retry",
        ),
        (
            CallFinished("c1", "answered", ALPHA, 2.0, Usage(3, output=4), TRACE),
            "DEBUG alpha/m: answered after 2.000 s, 7 tokens",
        ),
        (CallFinished("c1", "cancelled", ALPHA, 2.0, None, TRACE), "DEBUG alpha/m: cancelled after 2.000 s"),
        (
            ConfigApplied(2, ("providers.a: changed", "models.b: added"), 0.1),
            "INFO configuration 2 is live: providers.a: changed; models.b: added",
        ),
        (ConfigApplied(1, (), 0.1), "INFO configuration 1 is live: loaded"),
        (
            ConfigRejected((ConfigIssue("is unknown", "retry.x", "llm.yaml", 3, 5),), 1),
            "ERROR edit refused, configuration 1 stays: llm.yaml:3:5: retry.x: is unknown",
        ),
        (ProviderDisabled("openai", "api_key is not set"), "INFO provider openai is off: api_key is not set"),
        (ProviderStateChanged("alpha", "open", "it failed", 5.0), "WARNING alpha: open: it failed"),
        (ProviderStateChanged("alpha", "closed", "probes answered"), "INFO alpha: closed: probes answered"),
        (WatcherDegraded("no inotify"), "WARNING file events are not available, polling instead: no inotify"),
        (RuntimeRetired(1, forced=False), "DEBUG configuration 1 is disposed"),
        (RuntimeRetired(1, forced=True), "DEBUG configuration 1 is disposed, its last calls were cut"),
        (ModelEvent("local/tiny", "crash", "failed", message="signal 9"), "ERROR local/tiny: crash: failed: signal 9"),
        (ModelEvent("local/tiny", "load", "ready"), "INFO local/tiny: load: ready"),
        (ModelEvent("local/tiny", "load", "loading"), "DEBUG local/tiny: load: loading"),
    ],
)
async def test_each_event_is_one_line_at_its_level(event: Event, line: str, bus: EventBus, logged: list[str]) -> None:
    """What is worth a WARNING and what is not is part of the contract."""
    bus.publish(event)
    assert logged == [f"{line}\n"]


async def test_the_level_follows_the_configuration(bus: EventBus, logged: list[str], log_level: list[str]) -> None:
    """An edit of the level holds for the next event."""
    log_level.append("WARNING")
    bus.publish(ProviderDisabled("a", "off"))
    bus.publish(WatcherDegraded("x"))
    log_level.append("ERROR")
    bus.publish(WatcherDegraded("y"))
    log_level.append("INFO")
    bus.publish(ProviderDisabled("b", "off"))
    assert [line.partition(" ")[0] for line in logged] == ["WARNING", "INFO"]


async def test_fields_are_bound_for_machines(bus: EventBus) -> None:
    """Call id, status and request id are fields of the record."""
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), format="{message}")
    bus.publish(AttemptFailed("c1", attempt(status_code=429, request_id="req-1")))
    logger.remove(sink)
    assert records[0]["extra"] == {"call_id": "c1", "request_id": "req-1", "status": 429}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{x.__class__} and {", id="S11-braces"),
        pytest.param("{0} {name} {{}}", id="S11-fields"),
        pytest.param("<red>tag</red>", id="S11-markup"),
    ],
)
async def test_S11_text_from_outside_is_never_a_template(text: str, bus: EventBus, logged: list[str]) -> None:
    """It appears as it is."""
    bus.publish(ProviderStateChanged("alpha", "open", text))
    assert logged == [f"WARNING alpha: open: {text}\n"]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\x00b", "a\u2028b", "a\x85b"])
async def test_S12_one_event_is_one_line_whatever_it_holds(text: str, bus: EventBus, logged: list[str]) -> None:
    """Control characters are escaped, and long texts cut."""
    bus.publish(ProviderStateChanged("alpha", "open", text))
    bus.publish(ProviderStateChanged("alpha", "open", "x" * 5000))
    assert len(logged[0].splitlines()) == 1
    assert "\x1b" not in logged[0]
    assert len(logged[1]) < 700


async def test_S10_S9_likely_secrets_are_masked_in_every_line(bus: EventBus, logged: list[str]) -> None:
    """Also where a provider quotes the key that it refuses."""
    canary = SecretCanary()
    bus.publish(AttemptFailed("c1", attempt(error=f"Incorrect API key provided: {canary.secret.partition('+')[0]}")))
    bus.publish(ProviderStateChanged("alpha", "open", f"Authorization: Bearer {canary.secret}"))
    canary.check(logged)
    assert all("***" in line for line in logged)


async def test_before_its_start_nothing_is_written_and_then_what_was_told(logged: list[str]) -> None:
    """A container that is not started, such as that of a command, has no log."""
    events = EventBus()
    writer = EventLog(events, LoggingOptions)
    events.publish(ProviderDisabled("openai", "it has no api_key"))
    assert logged == []
    await writer.start()
    assert logged[0] == "INFO provider openai is off: it has no api_key\n"
    await writer.stop()


async def test_after_its_stop_nothing_is_written(logged: list[str]) -> None:
    """The subscription is gone."""
    events = EventBus()
    writer = EventLog(events, LoggingOptions)
    await writer.start()
    await writer.stop()
    await writer.stop()
    logged.clear()
    events.publish(WatcherDegraded("x"))
    assert logged == []


@pytest.fixture
def fresh_loguru() -> Iterator[None]:
    """Take all sinks away, and put the default one back afterwards."""
    logger.remove()
    yield
    logger.remove()
    logger.add(sys.stderr)


@pytest.mark.usefixtures("fresh_loguru")
class TestSinks:
    """Sinks: the host's, and ours."""

    async def test_S4_the_library_adds_no_sink_and_warns_of_one_that_prints_variables(self) -> None:
        """A sink with diagnose on shows secrets in tracebacks."""
        lines: list[str] = []
        safe = logger.add(lines.append, format="{message}", diagnose=False)
        assert not foreign_sink_leaks()
        await EventLog(EventBus(), LoggingOptions).start()
        assert lines == []
        logger.add(io.StringIO(), diagnose=True)
        assert foreign_sink_leaks()
        await EventLog(EventBus(), LoggingOptions).start()
        assert "diagnose" in lines[0]
        logger.remove(safe)

    def test_S6_our_sink_masks_the_final_text_exceptions_included(self) -> None:
        """Neither a message nor a traceback nor a variable shows a key."""
        canary = SecretCanary()
        out = io.StringIO()
        setup_logging(stream=out)

        def fail(key: str) -> None:
            raise ValueError(f"refused {key.partition('+')[0]}")

        logger.info("using {}", canary.secret.partition("+")[0])
        try:
            fail(canary.secret)
        except ValueError:
            logger.exception("it failed")
        assert "it failed" in out.getvalue()
        assert "ValueError" in out.getvalue()
        canary.check(out)

    def test_text_is_for_people(self) -> None:
        """Time, level, place and message; below the level nothing."""
        out = io.StringIO()
        setup_logging(LoggingOptions(level="WARNING"), out)
        log("INFO", "not this")
        log("WARNING", "but {}", "this")
        (line,) = out.getvalue().splitlines()
        assert line.endswith("test_logs: but this")
        assert " WARNING " in line

    def test_json_is_one_object_a_line(self) -> None:
        """Masking keeps it valid JSON."""
        out = io.StringIO()
        setup_logging(LoggingOptions(format="json"), out)
        log("WARNING", "key {}", 'sk-abcdefgh12345"quoted"\nnext', call_id="c1")
        record = json.loads(out.getvalue())["record"]
        assert record["message"] == 'key ***"quoted"\nnext'
        assert record["extra"]["call_id"] == "c1"

    def test_setting_up_twice_writes_once(self) -> None:
        """It replaces what was there."""
        first, second = io.StringIO(), io.StringIO()
        setup_logging(stream=first)
        setup_logging(stream=second)
        log("WARNING", "once")
        assert first.getvalue() == ""
        assert second.getvalue().count("once") == 1
