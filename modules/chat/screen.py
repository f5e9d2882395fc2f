"""What the person sees: answers on standard output, everything about them on standard error."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from core.llm import CallTrace, ConfigApplied, ConfigRejected, Event, LLMResponse, ModelEvent, WatcherDegraded

# A model's output is not ours to trust: it must not move the cursor, change the title of the window, or turn the order
# of the letters around.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_DIM, _PLAIN, _CLEAR_LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


class Screen:
    """Two text streams, and whether they are a terminal."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.interactive = self._err.isatty()
        self._line_open = False
        self._status_shown = False
        self._prompted = False

    def text(self, piece: str) -> None:
        """A piece of an answer."""
        self.clear_status()
        shown = _CONTROL.sub("", piece)
        if shown:
            self._out.write(shown)
            self._out.flush()
            self._line_open = not shown.endswith("\n")

    def end_answer(self) -> None:
        """The answer is over: the next line begins on the left."""
        self.clear_status()
        if self._line_open:
            self._out.write("\n")
            self._out.flush()
            self._line_open = False

    def note(self, message: str) -> None:
        """A line about what happened; what was being typed stays valid, the prompt is shown again."""
        self.clear_status()
        if self._line_open and self._out.isatty():
            self._out.write("\n")
            self._out.flush()
            self._line_open = False
        if self._prompted:
            self._err.write("\n")
        shown = "\n".join(_CONTROL.sub("", line) for line in message.split("\n"))
        self._err.write(f"{_DIM}{shown}{_PLAIN}\n" if self.interactive else f"{shown}\n")
        self._err.flush()
        if self._prompted:
            self.prompt()

    def status(self, message: str) -> None:
        """What is being waited for, on one line that is overwritten; only on a terminal."""
        if self.interactive and not self._line_open:
            self._err.write(f"{_CLEAR_LINE}{_DIM}{message}{_PLAIN}")
            self._err.flush()
            self._status_shown = True

    def clear_status(self) -> None:
        """Take the status line away."""
        if self._status_shown:
            self._err.write(_CLEAR_LINE)
            self._err.flush()
            self._status_shown = False

    def prompt(self) -> None:
        """Ask for the next line."""
        self.clear_status()
        self._err.write("\n> " if self.interactive else "")
        self._err.flush()
        self._prompted = self.interactive

    def entered(self) -> None:
        """The line was entered: the prompt is over."""
        self._prompted = False

    def leave(self) -> None:
        """The conversation is over: the shell's prompt begins on a line of its own, after Ctrl-D and Ctrl-C as well."""
        if self._prompted:
            self._err.write("\n")
            self._err.flush()
            self._prompted = False

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Around one answer."""
        try:
            yield
        finally:
            self.end_answer()

    def on_event(self, event: Event) -> None:
        """Turn what happens inside into lines."""
        match event:
            case ConfigApplied(generation=1):
                pass
            case ConfigApplied():
                self.note(f"configuration {event.generation} is live: " + ("; ".join(event.changes) or "no change"))
                for path in event.restart_required:
                    self.note(f"  {path}: needs a restart")
            case ConfigRejected():
                self.note(f"the edit was refused, configuration {event.generation} stays:")
                for issue in event.issues:
                    self.note(f"  {issue}")
            case ModelEvent(kind="load" | "pull"):
                self._model_event(event)
            case ModelEvent(kind="crash"):
                self.note(f"{event.model}: {event.message or 'the worker process crashed'}")
            case WatcherDegraded():
                self.note(f"file events are not available ({event.reason}): edits are found by polling")
            case _:
                pass

    def _model_event(self, event: ModelEvent) -> None:
        verb = "pulled" if event.kind == "pull" else "loaded"
        if event.state in {"ready", "loaded", "success"}:
            self.note(f"{event.model} is {verb}" + (f" ({event.message})" if event.message else ""))
        elif event.state == "failed":
            self.note(f"{event.model} could not be {verb}: {event.message or 'no reason was given'}")
        else:
            self.status(progress(event))


def progress(event: ModelEvent) -> str:
    """A load or a pull in one line."""
    share = f" {event.completed / event.total:.0%}" if event.total and event.completed is not None else ""
    if event.kind == "load":
        return f"loading {event.model}{share}"
    return f"pulling {event.model}{share}" + (f" ({event.state})" if event.state else "")


def summary(response: LLMResponse) -> str:
    """Model, tokens, cost and time of an answer."""
    usage = response.usage
    about = "about " if usage.estimated else ""
    parts = [
        f"{response.provider}/{response.model}",
        f"{about}{usage.total} tokens ({usage.input_total} in, {usage.output_total} out)",
        _money(response),
        _seconds(response.duration),
    ]
    if response.time_to_first_token is not None:
        parts[-1] += f" (first output {_seconds(response.time_to_first_token)})"
    if response.finish_reason.unified != "stop":
        parts.append(f"ended by {response.finish_reason.unified}")
    lines = ["— " + " · ".join(parts)]
    lines.extend(f"  {warning.message}" for warning in response.warnings)
    return "\n".join(lines)


def passed_over(trace: CallTrace) -> str:
    """Why the candidates before the one that answered did not; a reason that several share is said once."""
    reasons: dict[str, list[str]] = {}
    for candidate in trace.candidates:
        if candidate.outcome in {"skipped", "failed"}:
            name = str(candidate.target) if candidate.target.model else candidate.target.provider
            word = "not asked" if candidate.outcome == "skipped" else "failed"
            reasons.setdefault(f"{word}: {candidate.reason}", []).append(name)
    return "\n".join(f"  {', '.join(names)} {reason}" for reason, names in reasons.items())


def _seconds(duration: float) -> str:
    return f"{duration:.1f} s" if duration >= 10 else f"{duration:.2f} s"


def _money(response: LLMResponse) -> str:
    cost = response.cost
    if cost is None:
        return "price unknown"
    if not cost.amount:
        return "free"
    return f"{'about ' if cost.estimated else ''}{cost.amount.normalize():f} {cost.currency}"
