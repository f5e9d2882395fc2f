"""Log lines from events, and a set-up of loguru that cannot leak.

A failed attempt is one WARNING, a failed call one ERROR, a recovered call one INFO; an answered call is a DEBUG line.
Prompts, answers, headers and bodies are never logged.
"""

import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from core.llm.common.decisions import BudgetAlert, RefusalRoutedAround
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
    RequestAdjusted,
    RuntimeRetired,
    WatcherDegraded,
)
from core.llm.common.exceptions import BudgetExceeded, RateLimited
from core.llm.common.log import Level, log
from core.llm.common.secrets import one_line, redact
from core.llm.providers.config.models.service import LoggingOptions

_ORDER: Final = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARNING": 3, "ERROR": 4}
_LINE_LIMIT: Final = 600
_MOST_EARLY: Final = 1000
_MOST_ADJUSTMENTS: Final = 1000
"""So many different lines about adjusted requests are written per configuration."""
_WORTH_A_LINE: Final[tuple[type[Event], ...]] = (
    AttemptFailed,
    BudgetAlert,
    CallFailed,
    CallRecovered,
    ConfigApplied,
    ConfigRejected,
    ModelEvent,
    ProviderDisabled,
    ProviderStateChanged,
    RefusalRoutedAround,
    RequestAdjusted,
    RuntimeRetired,
    WatcherDegraded,
)


class EventLog:
    """Writes a line for each event that is worth one. A singleton of the container; its level follows the YAML."""

    def __init__(self, events: EventBus, options: Callable[[], LoggingOptions]) -> None:
        self._events = events
        self._options = options
        self._told: set[tuple[object, ...]] = set()
        # The first configuration, and who is off in it, is told before this is started.
        self._early: deque[Event] = deque(maxlen=_MOST_EARLY)
        self._subscription = events.subscribe(self._early.append, *_WORTH_A_LINE)

    async def start(self) -> None:
        """Write what was told so far, and listen. What is never started writes nothing."""
        self._listen()
        while self._early:
            self._on_event(self._early.popleft())
        if foreign_sink_leaks():
            log(
                "WARNING",
                "a loguru sink has diagnose on: it prints the values of variables, secrets included, in tracebacks. "
                "Add it with diagnose=False, or call core.llm.setup_logging()",
            )

    async def stop(self) -> None:
        """Listen no more."""
        self._subscription.close()

    def _listen(self) -> None:
        # Answered calls are worth a line at DEBUG only: at any other level nobody builds an event for them.
        every_call = _ORDER[self._options().level] <= _ORDER["DEBUG"]
        kinds = (*_WORTH_A_LINE, CallFinished) if every_call else _WORTH_A_LINE
        before, self._subscription = self._subscription, self._events.subscribe(self._on_event, *kinds)
        before.close()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ConfigApplied):
            self._listen()
            self._told.clear()
        elif isinstance(event, RequestAdjusted) and not self._is_new(event):
            return
        level, text, bound = _line(event)
        if text and _ORDER[level] >= _ORDER[self._options().level]:
            log(level, "{}", one_line(redact(text), _LINE_LIMIT), **bound)

    def _is_new(self, event: RequestAdjusted) -> bool:
        """Whether nothing was said yet about these parameters at this model: every call would say the same."""
        key = (event.target, *((one.code, one.parameter) for one in event.adjustments))
        if key in self._told or len(self._told) >= _MOST_ADJUSTMENTS:
            return False
        self._told.add(key)
        return True


def _line(event: Event) -> tuple[Level, str, dict[str, object]]:
    match event:
        case AttemptFailed(call_id, attempt):
            hint = f", asked to wait {attempt.retry_after:g} s" if attempt.retry_after else ""
            text = (
                f"{attempt.target}: attempt {attempt.number} failed after {attempt.duration:.3f} s: "
                f"{attempt.error_type}: {attempt.error}{hint}; next: {attempt.decision}"
            )
            return (
                # That our own limits pass calls on is no trouble, and at the limit there are many of them. That nothing
                # is sent to somebody was told when it began.
                "DEBUG" if attempt.error_type in _OUR_LIMITS or attempt.code in _NEVER_SENT else "WARNING",
                text,
                {"call_id": call_id, "request_id": attempt.request_id, "status": attempt.status_code},
            )
        case RequestAdjusted(call_id, target, adjustments):
            said = "; ".join(f"{one.parameter}: {one.code}: {one.message}" for one in adjustments)
            return "WARNING", f"{target}: {said}", {"call_id": call_id}
        case RefusalRoutedAround(call_id, refused_by, to):
            return "WARNING", f"{refused_by} would not answer: {to} is asked instead", {"call_id": call_id}
        case BudgetAlert(budget, threshold, spent, limit, currency, resets_at):
            what = "is used up" if threshold >= 1 else f"has reached {threshold:.0%}"
            text = (
                f"{budget} {what}: {spent:f} of {limit:f} {currency} spent; it begins anew at {resets_at.isoformat()}"
            )
            return "WARNING", text, {}
        case CallRecovered(call_id, target, attempts):
            return "INFO", f"{target}: answered at attempt {attempts}", {"call_id": call_id}
        case CallFinished(call_id, "failed", _, duration):
            trace = event.trace
            why = f": {event.error}" if isinstance(event, CallFailed) and event.error else ""
            count = f"{len(trace.attempts)} attempt{'' if len(trace.attempts) == 1 else 's'}"
            text = f"a call for {trace.requested or 'the default model'} failed after {duration:.3f} s and {count}{why}"
            return "ERROR", text, {"call_id": call_id}
        case CallFinished(call_id, outcome, target, duration, usage):
            tokens = f", {usage.total} tokens" if usage else ""
            return "DEBUG", f"{target}: {outcome} after {duration:.3f} s{tokens}", {"call_id": call_id}
        case ConfigApplied(generation, changes):
            return "INFO", f"configuration {generation} is live: {'; '.join(changes) or 'loaded'}", {}
        case ConfigRejected(issues, generation):
            return "ERROR", f"edit refused, configuration {generation} stays: {' | '.join(map(str, issues))}", {}
        case ProviderDisabled(provider, reason):
            return "INFO", f"provider {provider} is off: {reason}", {}
        case ProviderStateChanged(subject, state, reason):
            return _STATE_LEVELS.get(state, "WARNING"), f"{subject}: {state}: {reason}", {}
        case WatcherDegraded(reason):
            return "WARNING", f"file events are not available, polling instead: {reason}", {}
        case RuntimeRetired(generation, forced):
            return "DEBUG", f"configuration {generation} is disposed{', its last calls were cut' if forced else ''}", {}
        case ModelEvent(model, kind, state):
            level: Level = "ERROR" if kind == "crash" or state == "failed" else "INFO" if state == "ready" else "DEBUG"
            return level, f"{model}: {kind}: {state}{': ' + event.message if event.message else ''}", {}
        case _:
            return "DEBUG", "", {}


_OUR_LIMITS: Final = frozenset({RateLimited.__name__, BudgetExceeded.__name__})
_NEVER_SENT: Final = frozenset({"gated", "circuit_open", "key_refused", "next_key"})

# A refused key is told about once, and stays useless until somebody corrects it.
_STATE_LEVELS: Final[Mapping[str, Level]] = {
    **dict.fromkeys(("closed", "half_open", "healthy", "ready"), "INFO"),
    "quarantined": "ERROR",
}


def setup_logging(options: LoggingOptions | None = None, stream: TextIO | None = None) -> None:
    """Replace all loguru sinks by one that prints no variables and masks whatever looks like a secret.

    For hosts that do not set up loguru themselves. *stream* is standard error unless given.
    """
    from loguru import logger  # noqa: PLC0415 - see `core.llm.common.log`

    chosen = options or LoggingOptions()
    target = stream or sys.stderr

    def write(message: Any) -> None:
        target.write(redact(str(message)))

    logger.remove()
    logger.add(
        write,
        level=chosen.level,
        serialize=chosen.format == "json",
        diagnose=False,
        backtrace=False,
        format="{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {name}: {message}",
    )


def foreign_sink_leaks() -> bool:
    """True where a loguru sink would print the values of variables in tracebacks."""
    from loguru import logger  # noqa: PLC0415 - see `core.llm.common.log`

    core = getattr(logger, "_core", None)
    handlers = getattr(core, "handlers", {})
    return any(
        getattr(getattr(handler, "_exception_formatter", None), "_diagnose", False) for handler in handlers.values()
    )
