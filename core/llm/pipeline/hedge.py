"""Send a request to the next candidate as well when the first one is slow; the first output wins.

Only before the first output, only to another provider, at most once a call and for a bounded share of the calls, paid
for out of the retry budget of whoever is asked second. A request with tools is not sent twice unless the alias allows.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial

from core.llm.common.decisions import CallHedged, HedgeEnded
from core.llm.common.trace import CandidateTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.course import Course
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.hedge_timing import HedgeMemory
from core.llm.pipeline.race import Attempt, Race, Runner
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.models.streams import HedgeOptions


def hedge(config: LLMServiceConfig, candidates: Candidates, memory: HedgeMemory) -> Layer:
    """The layer for calls to aliases that are hedged; it tells the routing inside of it how to try a candidate."""
    hedged = {
        name: Hedging(name, alias.hedge, candidates, memory)
        for name, alias in config.models.items()
        if alias.hedge is not None
    }

    def layer(inner: Handler) -> Handler:
        if not hedged:
            return inner

        def handle(call: Call) -> Awaitable[Reply]:
            request = call.request
            # With a provider named, there is nobody else to ask.
            hedging = hedged.get(request.model or config.default_model or "") if request.provider is None else None
            if hedging is not None:
                hedging.budget.call(hedging.options.max_extra)
                if hedging.options.tools or not request.tools:
                    call.race = hedging
            return inner(call)

        return handle

    return layer


class Hedging:
    """How the calls to one alias are hedged."""

    __slots__ = ("_candidates", "_memory", "_tasks", "budget", "options")

    def __init__(self, alias: str, options: HedgeOptions, candidates: Candidates, memory: HedgeMemory) -> None:
        self.options = options
        self.budget = memory.budget(alias)
        self._candidates = candidates
        self._memory = memory
        # Held until they have ended: what was cut takes some turns of the event loop for it.
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, call: Call, course: Course, entry: CandidateTrace, attempt: Attempt) -> Reply | None:
        """The reply of *entry*, or of a second candidate that was faster; `None` where neither has one."""
        delay = self._delay(call, entry)
        if delay is None or len(course.entries) == 1 or call.deadline.remaining(call.clock) <= 2 * delay:
            before = len(call.trace.attempts)
            reply = await attempt(call, entry)
            if reply is not None and len(call.trace.attempts) == before + 1:
                self._learn(call)
            return reply
        return await self._raced(call, course, entry, attempt, delay)

    def _delay(self, call: Call, entry: CandidateTrace) -> float | None:
        after = self.options.after
        if after != "p95":
            return after
        target = self._candidates.target_now(entry.target)
        usual = None if target is None else self._memory.times(target.ref, call.mode).p95()
        # 5 % of healthy calls take longer than that: with little left to spend, it goes to the slow ones.
        return 2 * usual if usual is not None and self.budget.is_short else usual

    async def _raced(
        self, call: Call, course: Course, entry: CandidateTrace, attempt: Attempt, delay: float
    ) -> Reply | None:
        race = Race(call, attempt, self._tasks)
        late = call.clock.monotonic() + delay
        timer = call.clock.call_at(late, partial(self._begin_second, call, course, race, delay))
        try:
            await race.run(entry)
            if not race.over:
                with call.guard:
                    await race.wait()
        except BaseException as error:
            await race.stop(error)
            raise
        finally:
            timer.cancel()
        race.settle()
        if race.winner is None:
            await _raise_what_ends_the_call(race)
            return None
        self._ended(call, race, race.winner, delay)
        return race.reply

    def _begin_second(self, call: Call, course: Course, race: Race, delay: float) -> None:
        """The first has been waited for long enough."""
        first = race.runners[0]
        if (
            not self.budget.allows
            or call.attempts_left < 1
            or any(attempt.role == "hedge" for attempt in call.trace.attempts)
        ):
            return
        second = course.beside(call, first.entry)
        if second is None or not self._candidates.may_repeat(second.target):
            return
        self.budget.spend()
        course.take(second)
        race.begin(second)
        call.trace.notes.append(f"no output from {first.entry.target} in {delay:.3g} s: asked {second.target} as well")
        call.events.publish(CallHedged(call.id, first.entry.target, second.target, delay))

    def _ended(self, call: Call, race: Race, winner: Runner, delay: float) -> None:
        first = race.runners[0]
        loser = next((runner for runner in race.runners if runner is not winner), None)
        if self.options.after == "p95":
            if first.cut and first.entry.target.model:
                # It was slower than that; by how much nobody knows, and what was helped must not raise the delay.
                times = self._memory.times(first.entry.target, call.mode)
                times.learn(times.p95() or delay)
            self._learn(call)
        if loser is not None:
            race.cut(f"{winner.entry.target} was faster")
            call.events.publish(HedgeEnded(call.id, winner.entry.target, loser.entry.target))

    def _learn(self, call: Call) -> None:
        """Note how long the attempt took that *call* has come to; waiting between repetitions says nothing."""
        attempt = call.attempt
        if self.options.after == "p95" and attempt is not None and attempt.role != "retry":
            ref: ModelRef = attempt.target
            self._memory.times(ref, call.mode).learn(call.elapsed() - attempt.started)


async def _raise_what_ends_the_call(race: Race) -> None:
    """Nobody has answered: routing goes on with whoever is left, unless one of the two has ended the call."""
    for runner in race.runners:
        if runner.error is not None:
            await race.stop(runner.error)
            raise runner.error
