"""What the person sees: answers on standard output, everything about them on standard error."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from core.llm import ConfigApplied, ConfigRejected, Event, LLMResponse, ModelEvent, WatcherDegraded

# A model's output is not ours to trust: it must not move the cursor or change the title of the window.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIM, _PLAIN, _CLEAR_LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


class Screen:
    """Two text streams, and whether they are a terminal."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.interactive = self._err.isatty()
        self._line_open = False
        self._status_shown = False

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
        """A line about what happened."""
        self.clear_status()
        if self._line_open and self._out.isatty():
            self._out.write("\n")
            self._out.flush()
            self._line_open = False
        shown = "\n".join(_CONTROL.sub("", line) for line in message.split("\n"))
        self._err.write(f"{_DIM}{shown}{_PLAIN}\n" if self.interactive else f"{shown}\n")
        self._err.flush()

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
                self._model_progress(event)
            case ModelEvent(kind="crash"):
                self.note(f"{event.model}: {event.message or 'the worker process crashed'}")
            case WatcherDegraded():
                self.note(f"file events are not available ({event.reason}): edits are found by polling")
            case _:
                pass

    def _model_progress(self, event: ModelEvent) -> None:
        done = event.state in {"ready", "loaded", "success", "failed"}
        share = f" {event.completed / event.total:.0%}" if event.total and event.completed is not None else ""
        verb = "pulling" if event.kind == "pull" else "loading"
        text = f"{verb} {event.model}{share}: {event.state}" + (f", {event.message}" if event.message else "")
        if done or not self.interactive:
            self.note(text)
        else:
            self.status(text)


def summary(response: LLMResponse) -> str:
    """Model, tokens, cost and time of an answer, and what came before it."""
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
    if response.trace is not None:
        lines.extend(
            f"  {candidate.target if candidate.target.model else candidate.target.provider} was "
            f"{'passed over' if candidate.outcome == 'skipped' else 'tried'}: {candidate.reason}"
            for candidate in response.trace.candidates
            if candidate.outcome in {"skipped", "failed"}
        )
    return "\n".join(lines)


def _seconds(duration: float) -> str:
    return f"{duration:.1f} s" if duration >= 10 else f"{duration:.2f} s"


def _money(response: LLMResponse) -> str:
    cost = response.cost
    if cost is None:
        return "price unknown"
    if not cost.amount:
        return "free"
    return f"{'about ' if cost.estimated else ''}{cost.amount.normalize():f} {cost.currency}"
