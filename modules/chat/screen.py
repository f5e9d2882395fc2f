"""What the person sees: answers on standard output, everything about them on standard error."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TextIO

from core.llm import (
    CallTrace,
    ConfigApplied,
    ConfigRejected,
    Event,
    LLMResponse,
    ModelEvent,
    Progress,
    WatcherDegraded,
)
from modules.terminal.figures import printable, shortened
from modules.terminal.meter import Meter

_DIM, _PLAIN, _CLEAR_LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"
_REDRAW: Final = 0.2
"""Seconds between two states of a bar."""

_DONE: Final = frozenset({"ready", "loaded", "success", "pulled"})
ENDED: Final = _DONE | {"failed", "cancelled"}
"""States with which a load or a pull is over."""

Kind = Literal["load", "pull"]


class Screen:
    """Two text streams, and whether they are a terminal; *now* is a clock for the progress of loads and pulls."""

    def __init__(
        self, out: TextIO | None = None, err: TextIO | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.interactive = self._err.isatty()
        self._line_open = False
        self._status_shown = False
        self._prompted = False
        self._now = now
        self._answering = False
        """Whether an answer has begun to be shown."""
        self._held: list[str] = []
        """What is to be said once the answer is over: nothing is printed into it."""
        self._meters: dict[tuple[str, str], Meter] = {}
        self._working = False

    @property
    def width(self) -> int | None:
        """Columns that a line may take without wrapping; `None` where nobody looks."""
        if not self.interactive:
            return None
        try:
            found = os.get_terminal_size(self._err.fileno()).columns
        except (OSError, ValueError):
            found = 0
        return (found or 80) - 1

    def text(self, piece: str) -> None:
        """A piece of an answer."""
        self.clear_status()
        shown = printable(piece)
        if shown:
            self._out.write(shown)
            self._out.flush()
            self._line_open = not shown.endswith("\n")
            self._answering = True

    def end_answer(self) -> None:
        """The answer is over: the next line begins on the left."""
        self.clear_status()
        if self._line_open:
            self._out.write("\n")
            self._out.flush()
            self._line_open = False
        self._answering = False
        held, self._held = self._held, []
        for message in held:
            self.note(message)

    def note(self, message: str) -> None:
        """A line about what happened; what was being typed stays valid, the prompt is shown again."""
        self.clear_status()
        if self._line_open and self._out.isatty():
            self._out.write("\n")
            self._out.flush()
            self._line_open = False
        if self._prompted:
            self._err.write("\n")
        shown = printable(message)
        self._err.write(f"{_DIM}{shown}{_PLAIN}\n" if self.interactive else f"{shown}\n")
        self._err.flush()
        if self._prompted:
            self.prompt()

    def status(self, message: str) -> None:
        """What is being waited for, on one line that is overwritten; only on a terminal."""
        if self.interactive and not (self._answering or self._prompted):
            shown = printable(shortened(message, self.width or 79))
            self._err.write(f"{_CLEAR_LINE}{_DIM}{shown}{_PLAIN}")
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

    @contextmanager
    def work(self, kind: Kind, model: str) -> Iterator[Callable[[Progress], None]]:
        """While a load or a pull that was asked for goes on; tell it how far it is. Its events say nothing more."""
        meter = Meter(kind, model, self._now())
        task = asyncio.create_task(self._show(meter), name="chat:progress")
        self._working = True
        try:
            yield lambda progress: meter.tell(progress, self._now())
        finally:
            self._working = False
            task.cancel()
            self.clear_status()

    async def _show(self, meter: Meter) -> None:
        while True:
            self.status(meter.line(self._now(), self.width))
            await asyncio.sleep(_REDRAW)

    def on_event(self, event: Event) -> None:
        """Turn what happens inside into lines."""
        match event:
            case ConfigApplied(generation=1):
                pass
            case ConfigApplied():
                self._tell(f"configuration {event.generation} is live: " + ("; ".join(event.changes) or "no change"))
                for path in event.restart_required:
                    self._tell(f"  {path}: needs a restart")
            case ConfigRejected():
                self._tell(f"the edit was refused, configuration {event.generation} stays:")
                for issue in event.issues:
                    self._tell(f"  {issue}")
            case ModelEvent(kind="load" | "pull"):
                self._model_event(event)
            case ModelEvent(kind="crash"):
                self._tell(f"{event.model}: {event.message or 'the worker process crashed'}")
            case WatcherDegraded():
                self._tell(f"file events are not available ({event.reason}): edits are found by polling")
            case _:
                pass

    def _tell(self, message: str) -> None:
        """Say it now, or after the answer that is being shown."""
        if self._answering:
            self._held.append(message)
        else:
            self.note(message)

    def _model_event(self, event: ModelEvent) -> None:
        if event.state in ENDED:
            self._meters.pop((event.kind, event.model), None)
        if self._working:
            return
        verb = f"{event.kind}ed"
        if event.state in _DONE:
            self._tell(f"{event.model} is {verb}" + (f" ({event.message})" if event.message else ""))
        elif event.state == "failed":
            self._tell(f"{event.model} could not be {verb}: {event.message or 'no reason was given'}")
        elif event.state not in ENDED:
            self.status(self.progress(event))

    def progress(self, event: ModelEvent) -> str:
        """A load or a pull in one line, with a bar where the total is known."""
        now = self._now()
        kind: Kind = "pull" if event.kind == "pull" else "load"
        meter = self._meters.setdefault((kind, event.model), Meter(kind, event.model, now))
        meter.tell(Progress(event.message or event.state, event.completed, event.total), now)
        return meter.line(now, self.width)


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
