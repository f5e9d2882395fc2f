"""A layer of limits before a handler that a test opens and closes."""

import asyncio
from typing import Any

from core.llm.common.events import EventBus
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import Usage
from core.llm.limiting.upstream import LimitsStatus
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.limits import limits
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.response import LLMResponse
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, a_target, an_answer


class LimitsRig:
    """One target with *rate_limits*, on a clock that stands still."""

    def __init__(
        self, models: dict[str, Any] | None = None, upstream: Upstream | None = None, **rate_limits: Any
    ) -> None:
        self.clock = FakeClock()
        self.events = EventBus()
        self.seen = EventRecorder(self.events)
        self.upstream = upstream or Upstream(self.clock.monotonic())
        self.inner = Scripted()
        self.gate = asyncio.Event()
        self.target = a_target(rate_limits=rate_limits, models=models or {})
        self.handler: Handler = limits(self.target, self.upstream, self.events)(self.inner)

    def call(self, **options: Any) -> Call:
        """A call with an attempt that has begun, as below the retry layer."""
        alternatives, key = options.pop("alternatives", False), options.pop("key", None)
        call = a_call(clock=self.clock, events=self.events, **options)
        call.attempt = AttemptTrace(1, ALPHA, 0.0, key_id=key)
        call.alternatives = lambda _: alternatives
        return call

    async def answer(self, call: Call | None = None, **options: Any) -> LLMResponse:
        """The whole answer to one call, its reply ended."""
        async with await self.handler(call or self.call(**options)) as reply:
            assert reply.response is not None
            return reply.response

    def send(self, call: Call | None = None, **options: Any) -> "asyncio.Task[LLMResponse]":
        """One call in a task of its own."""
        return asyncio.create_task(self.answer(call, **options))

    async def waiting(self, call: Call | None = None, **options: Any) -> "asyncio.Task[LLMResponse]":
        """One call that is known to wait in the queue."""
        before = self.status.queued
        task = self.send(call, **options)
        await self.clock.settle()
        assert self.status.queued == before + 1
        return task

    def hold(self) -> None:
        """Let the next call wait at the provider until `release`."""

        async def held(call: Call) -> Reply:
            await self.gate.wait()
            return Reply(call, response=an_answer())

        self.inner.outcomes.append(held)

    def release(self) -> None:
        """Let held calls be answered."""
        self.gate.set()

    def will_use(self, tokens: int, headers: dict[str, str] | None = None) -> None:
        """The next answer has so many tokens in all, and comes with *headers*."""

        def reply(call: Call) -> Reply:
            found = Reply(call, response=an_answer(usage=Usage(input=tokens - 1, output=1)))
            found.headers = headers
            return found

        self.inner.outcomes.append(reply)

    @property
    def status(self) -> LimitsStatus:
        """The counters now."""
        return self.upstream.limits.status(self.clock.monotonic())

    def left(self, name: str) -> float:
        """What is left of the limit of that name."""
        (found,) = [each for each in self.status.limits if each.name == name]
        return found.left
