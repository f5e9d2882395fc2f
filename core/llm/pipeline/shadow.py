"""Send a copy of some calls to another model once the answer has begun, and compare. The caller never notices.

A copy is one attempt: it is never repeated and goes nowhere else. It has a lease of its own on the configuration it
runs on, so it is drained with the calls; at shutdown it is cut at once.
"""

import asyncio
import math
from collections import Counter
from functools import partial
from typing import Final, Literal, Protocol

from core.llm.common.clock import Deadline
from core.llm.common.decisions import ShadowEnded
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.log import log
from core.llm.common.types import Cost, ModelRef, Usage
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.preflight import prepared, unfit
from core.llm.pipeline.request_limits import bound
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.experiments import ShadowOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.references import References

_COMPARED: Final = 100_000
"""Characters of each text that are compared."""

CopyOutcome = Literal["answered", "failed", "skipped", "cancelled"]


class Host(Candidates, Protocol):
    """A configuration that lends itself to copies."""

    def join(self, call: Call) -> None:
        """Take a lease for *call*, which may be cut like every other one."""

    def leave(self, call: Call) -> None:
        """Give the lease of *call* back."""


class Shadows:
    """The copies that are under way, whatever configuration they run on."""

    __slots__ = ("_closed", "_running", "_tasks")

    def __init__(self) -> None:
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def has_room(self, alias: str, most: int) -> bool:
        """Whether fewer than *most* copies of calls to *alias* are under way, and copies are wanted at all."""
        return not self._closed and self._running[alias] < most

    def begin(self, alias: str, host: Host, copy: "_Copy") -> None:
        """Let *copy* run in the background; its lease ends with it, also where it never gets to run."""
        host.join(copy.call)
        self._running[alias] += 1
        task = asyncio.get_running_loop().create_task(copy.run(host), name=f"core.llm:shadow:{copy.call.id}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, alias, host, copy))

    def _ended(self, alias: str, host: Host, copy: "_Copy", task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running[alias] -= 1
        if not self._running[alias]:
            del self._running[alias]
        copy.call.guard.disarm()
        host.leave(copy.call)
        if task.cancelled():
            copy.ended("cancelled")

    async def close(self) -> None:
        """Cut every copy, wait until it has gone, and begin no more."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def shadow(config: LLMServiceConfig, host: Host, shadows: Shadows) -> Layer:
    """The layer that copies calls to aliases with `shadow`; none at all where no alias has it."""
    references = References(config)
    places: dict[str, tuple[ShadowOptions, ModelRef]] = {}
    for name, alias in config.models.items():
        if alias.shadow is not None and (chain := references.chain([alias.shadow.model])):
            places[name] = (alias.shadow, chain[0])

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            name = call.request.model or config.default_model or ""
            place = places.get(name)
            if place is None or call.mode == "embed":
                return await inner(call)
            asked = call.request
            reply = await inner(call)
            options, ref = place
            if shadows.has_room(name, options.max_in_flight) and call.rng.random() < options.fraction:
                copy = _Copy(_copied(call, asked, config), ref, call)
                reply.on_end(copy.original_ended)
                shadows.begin(name, host, copy)
            return reply

        return handle if places else inner

    return layer


def _copied(call: Call, asked: LLMRequest, config: LLMServiceConfig) -> Call:
    seconds = asked.timeout or config.timeout
    copy = Call(
        asked,
        call.mode,
        id=f"{call.id}-shadow",
        generation=call.generation,
        deadline=Deadline(call.clock.monotonic() + seconds if seconds else math.inf),
        clock=call.clock,
        rng=call.rng,
        events=call.events,
        timers=call.guard.timers,
    )
    copy.role = "shadow"
    bound(copy, config)
    copy.guard.arm(copy.deadline.at)
    return copy


class _Copy:
    """One copy, and what it is compared with. Whichever of the two ends last tells the others."""

    __slots__ = ("_answer", "_cost", "_duration", "_original", "_original_id", "_outcome", "_target", "_usage", "call")

    def __init__(self, call: Call, target: ModelRef, original: Call) -> None:
        self.call = call
        self._target = target
        self._original_id = original.id
        self._original: str | None = None
        self._answer = ""
        self._outcome: CopyOutcome | None = None
        self._duration = 0.0
        self._usage: Usage | None = None
        self._cost: Cost | None = None

    def original_ended(self, reply: Reply, _: BaseException | None) -> None:
        """The caller has its answer, or gave up on it."""
        response = reply.response
        self._original = response.content if response is not None else reply.collector.partial().text
        self._tell()

    def ended(self, outcome: CopyOutcome) -> None:
        """The copy has come to its end."""
        if self._outcome is None:
            self._outcome, self._duration = outcome, self.call.elapsed()
            self._tell()

    async def run(self, host: Host) -> None:
        """Get the other answer. Raises nothing: nobody is there to hear of it."""
        try:
            self.ended(await self._answered(host))
        except LLMError as error:
            self.ended("cancelled" if isinstance(error, ProviderError) and error.type == "cancelled" else "failed")
        except Exception as error:  # noqa: BLE001 - a defect in a copy must not become anybody's failure
            log("WARNING", "the copy of a call to {} raised {}", self._target, type(error).__name__)
            self.ended("failed")

    async def _answered(self, host: Host) -> CopyOutcome:
        call = self.call
        if host.unavailable(self._target) is not None:
            return "skipped"
        target = host.target_now(self._target)
        if target is None:
            with call.guard:
                target = await host.target(self._target)
        self._target = call.target = target.ref
        call.request = prepared(call.request, target, call).request
        if target.handler is None or unfit(call, target) is not None:
            return "skipped"
        async with await target.handler(call) as reply:
            while await reply.next() is not None:
                pass
            if reply.response is None:
                reply.response = reply.collector.response()
        self._answer = reply.response.content
        self._usage, self._cost = reply.response.usage, reply.response.cost
        return "answered"

    def _tell(self) -> None:
        original, outcome, events = self._original, self._outcome, self.call.events
        if original is None or outcome is None or not events.wants(ShadowEnded):
            return
        events.publish(
            ShadowEnded(
                self._original_id,
                self._target,
                outcome,
                self._duration,
                len(original),
                len(self._answer),
                similarity(original, self._answer) if outcome == "answered" else None,
                self._usage,
                self._cost,
            )
        )


def similarity(one: str, other: str) -> float:
    """How much two texts have in common, from 0 to 1: by their words, whatever the order."""
    words, others = Counter(one[:_COMPARED].lower().split()), Counter(other[:_COMPARED].lower().split())
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0
