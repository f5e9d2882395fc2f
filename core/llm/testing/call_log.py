"""What callers got: every call with its text, its end and its trace, numbered so that servers can tell whose it was.

Each prompt ends with `[call 17]`; `FaultInjector` reads that number in what arrives.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.exceptions import LLMError, RateLimited
from core.llm.common.trace import AttemptTrace, CallTrace
from core.llm.providers.base.response import LLMResponse, StreamReset
from core.llm.service import LLMService


@dataclass(slots=True)
class CallRecord:
    """One call and how it ended."""

    number: int
    stream: bool
    began: float
    deadline: float = float("inf")
    """The moment by which it must have ended."""
    ended: float | None = None
    """`None` while it runs."""
    text: str = ""
    """What was delivered, after the last reset of a stream."""
    voided: list[str] = field(default_factory=list)
    """What was delivered before a reset said that it does not count."""
    first_output: float | None = None
    response: LLMResponse | None = None
    error: LLMError | None = None
    left: bool = False
    """Whether it was cancelled, or its stream was left."""

    @property
    def trace(self) -> CallTrace | None:
        """The library's own account; `None` for a call that was cancelled."""
        if self.response is not None:
            return self.response.trace
        return self.error.trace if self.error is not None else None

    def describe(self, origin: float = 0.0) -> str:
        """One line."""
        end = "still running" if self.ended is None else f"{self.ended - origin:.3f} s"
        how = "left" if self.left else f"{type(self.error).__name__}" if self.error is not None else "answered"
        words = len(self.text.split())
        return f"{self.began - origin:8.3f} s  [call {self.number}] until {end}: {how}, {words} words delivered"


class CallLog:
    """Makes calls through *llm* and keeps what became of each.

    With *users* each call is made for a user of its own, so that the rows of the usage ledger say whose they are: also
    those of calls that were cancelled, which leave no trace.
    """

    def __init__(self, llm: LLMService, *, clock: Clock | None = None, users: bool = False) -> None:
        self.llm = llm
        self.clock = clock or SystemClock()
        self.users = users
        self.calls: list[CallRecord] = []

    async def generate(self, prompt: str = "go", **options: Any) -> CallRecord:
        """One whole call; its error is kept, its cancellation is passed on."""
        record = self._new(stream=False, options=options)
        try:
            record.response = await self.llm.generate(f"{prompt} [call {record.number}]", **options)
            record.text = record.response.content
        except LLMError as error:
            record.error = error
        except asyncio.CancelledError:
            record.left = True
            raise
        finally:
            record.ended = self.clock.monotonic()
        return record

    async def stream(self, prompt: str = "go", *, leave_after: int | None = None, **options: Any) -> CallRecord:
        """One streamed call; with *leave_after* it is left after so many pieces."""
        record, pieces = self._new(stream=True, options=options), 0
        try:
            async with self.llm.stream(f"{prompt} [call {record.number}]", **options) as events:
                async for event in events:
                    if isinstance(event, StreamReset):
                        record.voided.append(record.text)
                        record.text = ""
                    elif event.text:
                        record.first_output = record.first_output or self.clock.monotonic()
                        record.text += event.text
                        pieces += 1
                        if pieces == leave_after:
                            record.left = True
                            return record
                record.response = await events.response()
        except LLMError as error:
            record.error = error
        except asyncio.CancelledError:
            record.left = True
            raise
        finally:
            record.ended = self.clock.monotonic()
        return record

    def _new(self, *, stream: bool, options: dict[str, Any]) -> CallRecord:
        now, timeout = self.clock.monotonic(), options.get("timeout")
        record = CallRecord(len(self.calls) + 1, stream, now)
        if timeout is not None:
            record.deadline = now + timeout
        if self.users:
            options["user"] = user_of(record.number)
        self.calls.append(record)
        return record


def user_of(number: int) -> str:
    """The user for whom the call of that *number* was made."""
    return f"call {number}"


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt of a call, as the library accounts for it."""

    call: int
    provider: str
    failed: bool
    sent: bool | None
    """Whether its request reached the wire; `None` where the library cannot know."""
    role: str = "first"


def attempts_of(record: CallRecord) -> Sequence[Sent]:
    """The attempts of *record*, from its trace."""
    return [_sent(record.number, attempt) for attempt in record.trace.attempts] if record.trace is not None else []


def _sent(call: int, attempt: AttemptTrace) -> Sent:
    failed = attempt.error_type is not None
    sent: bool | None = None
    if attempt.error_type == RateLimited.__name__ or (attempt.error or "").startswith("not sent"):
        sent = False
    elif attempt.status_code is not None or attempt.decision == "answered" or (failed and attempt.billing != "none"):
        sent = True
    return Sent(call, attempt.target.provider, failed, sent, attempt.role)
