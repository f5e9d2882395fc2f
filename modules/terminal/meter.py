"""How far a load or a pull is, in one line: share, amount, rate, time left."""

from collections import deque
from typing import Final, Literal

from core.llm import Progress
from modules.terminal.figures import one_line, shortened, size, span

_WINDOW: Final = 10.0
"""Seconds over which the rate is taken: long enough to be steady, short enough to follow a change."""
_SETTLED: Final = 0.5
"""Seconds after which a rate means something."""
_LONGEST_BAR: Final = 24
_SHORTEST_BAR: Final = 8
_FULL, _EMPTY = "█", "░"


class Meter:
    """Follows one load or pull; times are given, in seconds of one clock that does not jump."""

    def __init__(self, kind: Literal["load", "pull"], model: str, now: float) -> None:
        self.kind: Final = kind
        self.model: Final = one_line(model)
        self._began = now
        self._last = Progress("")
        self._seen: deque[tuple[float, float]] = deque()

    @property
    def share(self) -> float | None:
        """From 0 to 1; `None` where the total is not known."""
        done, total = self._last.completed, self._last.total
        return None if done is None or not total else min(done / total, 1.0)

    def tell(self, progress: Progress, now: float) -> None:
        """It has come this far."""
        self._last = progress
        if progress.completed is None:
            return
        if self._seen and progress.completed < self._seen[-1][1]:
            # Another part has begun to count anew.
            self._seen.clear()
        self._seen.append((now, progress.completed))
        while len(self._seen) > 2 and self._seen[0][0] < now - _WINDOW:
            self._seen.popleft()

    def line(self, now: float, width: int | None = None) -> str:
        """All of it in at most *width* columns, with a bar where there is room; without *width*, for a log."""
        head = f"{'pulling' if self.kind == 'pull' else 'loading'} {self.model}"
        facts = self._facts(now)
        if width is None:
            return f"{head}: {', '.join(facts)}"
        tail = "  ".join(facts)
        room = width - len(head) - len(tail) - 4
        share = self.share
        if share is not None and room >= _SHORTEST_BAR:
            return f"{head}  {_bar(share, min(room, _LONGEST_BAR))}  {tail}"
        while len(head) + 2 + len(tail) > width and len(facts) > 1:
            facts.pop()
            tail = "  ".join(facts)
        return shortened(f"{head}  {tail}", width)

    def _facts(self, now: float) -> list[str]:
        done, total, share = self._last.completed, self._last.total, self.share
        if done is None or share is None or total is None:
            state = one_line(self._last.message)
            told = [state] if state not in {"", "loading", "pulling"} else []
            return [span(now - self._began), *told]
        facts = [f"{share:.0%}", self._amount(done, total)]
        rate = self._rate(now)
        if rate is not None and share < 1:
            facts.append(f"{size(rate)}/s" if self.kind == "pull" else f"{rate:.1f}/s")
            facts.append(f"{span((total - done) / rate)} left" if rate > 0 else "stalled")
        return facts

    def _amount(self, done: float, total: float) -> str:
        return f"{size(done)} of {size(total)}" if self.kind == "pull" else f"{done:.0f} of {total:.0f}"

    def _rate(self, now: float) -> float | None:
        """Units per second; `None` while that cannot be said."""
        if not self._seen:
            return None
        (began, first), (_, last) = self._seen[0], self._seen[-1]
        elapsed = now - began
        return (last - first) / elapsed if elapsed >= _SETTLED else None


def _bar(share: float, width: int) -> str:
    full = round(share * width)
    return _FULL * full + _EMPTY * (width - full)
