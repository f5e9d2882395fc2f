"""One answer while it is generated: its tokens, its text, and when it is over."""

import queue
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from core.llm.providers.transformers.detokenizer import Detokenizer
from core.llm.providers.transformers.sampling import Sampler
from core.llm.providers.transformers.stops import StopMatcher
from core.llm.transport.worker_main import EngineError, Job


class Constraint(Protocol):
    """What an answer is held to."""

    def mask(self, scores: Any) -> None:
        """Rule out the tokens that must not come next."""

    def take(self, token: int) -> None:
        """*token* was chosen."""


class Row:
    """Filled by the thread that computes its batch, emptied by the thread of its own call."""

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        job: Job,
        sampler: Sampler,
        decode: Callable[[list[int]], str],
        ends: Collection[int],
        stops: Sequence[str],
        max_tokens: int,
        constraint: Constraint | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.max_tokens = max_tokens
        self.generated = 0
        """Tokens so far, the one that ended the answer included."""
        self.finish = ""
        """Why it ended, in the words of the OpenAI format; empty while it goes on."""
        self.done = False
        self._job = job
        self._left = False
        self._sampler = sampler
        self._constraint = constraint
        self._text = Detokenizer(decode)
        self._ends = frozenset(ends)
        self._stops = StopMatcher(stops)
        self._out: queue.SimpleQueue[str | EngineError | None] = queue.SimpleQueue()

    def step(self, scores: Any) -> int:
        """Pick the next token and say what it adds to the answer."""
        try:
            token = self._sampler.pick(scores, self._constraint.mask if self._constraint is not None else None)
            self._take(token)
        except EngineError as error:
            self.fail(error)
            return 0
        return token

    def look_for_cancel(self) -> bool:
        """Whether nobody wants the rest; the row is over then."""
        if (self._job.cancelled or self._left) and not self.done:
            self.done = True
            self._out.put(None)
        return self.done

    def leave(self) -> None:
        """Nobody wants the rest, although the call goes on."""
        self._left = True

    def fail(self, error: EngineError) -> None:
        """End it with *error*."""
        if not self.done:
            self.done = True
            self._out.put(error)

    def next_text(self) -> str | None:
        """The next piece of the answer; `None` at its end. Waits for it.

        Raises:
            EngineError: it cannot go on.
        """
        item = self._out.get()
        if isinstance(item, EngineError):
            raise item
        return item

    def _take(self, token: int) -> None:
        self.generated += 1
        if token in self._ends:
            self._end("stop")
            return
        if self._constraint is not None:
            self._constraint.take(token)
        self._show(self._text.add(token))
        if self._stops.hit is not None:
            self._end("stop")
        elif self.generated >= self.max_tokens:
            self._end("length")

    def _end(self, why: str) -> None:
        if self._stops.hit is None:
            self._show(self._text.end())
        if self._stops.hit is not None:
            why = "stop"
        else:
            self._put(self._stops.end())
        self.finish, self.done = why, True
        self._out.put(None)

    def _show(self, text: str) -> None:
        self._put(self._stops.feed(text))

    def _put(self, text: str) -> None:
        if text:
            self._out.put(text)
