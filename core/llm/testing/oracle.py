"""What must hold whatever went wrong: the upstreams' log, the callers' log and the library's own account agree.

```python
oracle = Oracle(faults, calls, recorder=recorder)
...
await oracle.verify()               # raises InvariantBroken: seed, plan, timeline, the first thing that does not hold
```

| | |
|---|---|
| I1 | every call ends exactly once, and not after its deadline |
| I2 | what was delivered is a prefix of one answer; a success is the whole of one that was sent to its end |
| I3 | every request that arrived has one attempt in the account, and one closed row in the ledger |
| I4 | the tokens of a success are those that the upstream counted, for the caller and in the ledger |
| I5 | attempts per provider and per call stay within bounds; none too early, after output or after the deadline |
| I6 | nothing is left behind, and connections of calls that were left are closed |
| I7 | no secret has got out |
| I8 | as many events as things that happened |
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from core.llm.common.events import AttemptFailed, CallFinished, CallRecovered
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Usage
from core.llm.state.rows import AttemptRow
from core.llm.testing.call_log import CallLog, CallRecord, Sent, attempts_of
from core.llm.testing.fault_dialects import usage_of
from core.llm.testing.fault_injector import FaultInjector, Injected
from core.llm.testing.oracle_ledger import complaints, repeated, rows_by_call
from core.llm.testing.recorder import EventRecorder

_WHOLE = 200
"""Requests up to which a report tells the whole timeline."""
_EPSILON = 0.005
"""Seconds by which two clocks of one process may disagree."""


class InvariantBroken(AssertionError):
    """Something that must always hold does not; the text has all that is needed to see it again."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the configuration under test allows."""

    per_provider: int = 4
    """`retry.max_retries` and two: the first attempt, and the one free repetition on a connection that is new."""
    per_call: int = 6
    """`retry.max_attempts` and one: the free repetition."""
    after_deadline: float = 1.0
    """Seconds that a call may outlive its deadline."""
    under_way: float = 0.25
    """Seconds that a request may be under way on a busy machine: it was sent before its deadline and arrives after."""
    left_closed_within: float = 0.25
    """Seconds until the connection of a call that was left is closed."""
    recovers: bool = False
    """Whether broken streams may begin again elsewhere."""


@dataclass(slots=True)
class Oracle:
    """Compares the logs of one run."""

    faults: FaultInjector
    log: CallLog
    recorder: EventRecorder | None = None
    """All events of the run; `None` leaves I8 out."""
    bounds: Bounds = field(default_factory=Bounds)
    attempts: Callable[[CallRecord], Sequence[Sent]] = attempts_of
    """The account: attempts of a call, from its trace unless another source is given."""
    rows: Sequence[AttemptRow] | None = None
    """What the usage ledger has of the run, `await ledger.rows(limit=…)`; `None` leaves it out. With
    `CallLog(..., users=True)` it covers calls that were cancelled or left as well."""
    tokens: Callable[[str], Usage] | None = usage_of
    """What an upstream counts for a text; `None` leaves I4 out."""
    left_behind: Callable[[], Sequence[str]] = tuple
    """What is left that was not there before."""
    leaks: Callable[[], Sequence[str]] = tuple
    """Where a secret was found."""

    def broken(self) -> Iterator[str]:
        """Everything that does not hold, the invariant and the call first."""
        arrived: dict[int, list[Injected]] = defaultdict(list)
        for entry in self.faults.timeline:
            if entry.call is not None:
                arrived[entry.call].append(entry)
        booked = {} if self.rows is None else rows_by_call(self.rows, self.log.calls)
        for call in self.log.calls:
            requests = arrived.pop(call.number, [])
            about = [*self._about(call, requests)]
            if self.rows is not None and (call.trace is not None or self.log.users):
                about += complaints(call, booked.get(call.number, []), requests, self.tokens)
            for complaint in about:
                invariant, _, text = complaint.partition(" ")
                yield f"{invariant} [call {call.number}] {text}"
        for number in arrived:
            yield f"I3 [call {number}] arrived at an upstream, and nobody made it"
        yield from repeated(self.rows or ())
        yield from (f"I6 left behind: {one}" for one in self.left_behind())
        yield from (f"I7 {one}" for one in self.leaks())
        yield from self._events()

    async def verify(self, within: float = 1.0) -> None:
        """Check everything; what ends by itself a moment later gets *within* seconds.

        Raises:
            InvariantBroken: naturally.
        """
        loop = asyncio.get_running_loop()
        patience = loop.time() + within
        found = list(self.broken())
        while found and found[0].startswith("I6") and loop.time() < patience:
            await asyncio.sleep(0.02)
            found = list(self.broken())
        if found:
            raise InvariantBroken(self.report(found))

    def report(self, found: Sequence[str]) -> str:
        """The first broken invariant with the story of its call, the plan and its seed; of a short run everything."""
        first = found[0]
        about = next((call for call in self.log.calls if f"[call {call.number}]" in first), None)
        lines = [first, f"({len(found)} in all)", *found[1:10]]
        if about is not None:
            story = [entry.describe(self._origin) for entry in self.faults.timeline if entry.call == about.number]
            told = about.trace.describe() if about.trace else "no trace"
            lines += ["", about.describe(self._origin), *story, told]
        if len(self.faults.timeline) > _WHOLE:
            return "\n".join([*lines, "", self.faults.plan.describe(), f"{len(self.faults.timeline)} requests"])
        calls = [call.describe(self._origin) for call in self.log.calls]
        return "\n".join([*lines, "", self.faults.report(), f"{len(calls)} calls", *calls])

    @property
    def _origin(self) -> float:
        return self.faults.timeline[0].at if self.faults.timeline else 0.0

    def _about(self, call: CallRecord, arrived: list[Injected]) -> Iterator[str]:
        yield from self._end(call)
        yield from self._text(call, arrived)
        yield from self._account(call, arrived)
        yield from self._manners(call, arrived)

    def _end(self, call: CallRecord) -> Iterator[str]:
        ends = (call.response is not None) + (call.error is not None) + call.left
        if call.ended is None:
            yield "I1 has not ended"
        elif ends != 1:
            yield f"I1 has ended {ends} times"
        elif call.ended > call.deadline + self.bounds.after_deadline:
            yield f"I1 ended {call.ended - call.deadline:.3f} s after its deadline"

    def _text(self, call: CallRecord, arrived: list[Injected]) -> Iterator[str]:
        for text in (call.text, *call.voided):
            if text and not any(entry.text.startswith(text) for entry in arrived):
                yield f"I2 delivered what no upstream said: {text[:80]!r}"
        if call.response is not None:
            whole = [entry for entry in arrived if entry.answered and entry.text == call.text]
            if not whole:
                yield f"I2 was a success with a text that was never sent to its end: {call.text[-80:]!r}"
            elif self.tokens is not None and call.response.usage != self.tokens(call.text):
                yield f"I4 used {call.response.usage}, the upstream counted {self.tokens(call.text)}"
        if isinstance(call.error, ProviderError) and call.stream:
            partial = call.error.partial.text if call.error.partial is not None else ""
            if partial != call.text:
                yield f"I2 delivered {call.text[-40:]!r}, and the error says {partial[-40:]!r}"

    def _account(self, call: CallRecord, arrived: list[Injected]) -> Iterator[str]:
        if call.left:
            return  # its trace went with it; what is known of it is in the events and in the ledger
        attempts = self.attempts(call)
        for provider in {one.provider for one in attempts} | {entry.upstream for entry in arrived}:
            here = [one for one in attempts if one.provider == provider]
            least, most = sum(one.sent is True for one in here), sum(one.sent is not False for one in here)
            requests = sum(entry.upstream == provider for entry in arrived)
            if not least <= requests <= most:
                yield f"I3 {requests} requests arrived at {provider}, the account has {least} to {most}"
        made = [one for one in attempts if one.sent is not False]
        if len(made) != len(arrived):
            return
        if [one.provider for one in made] != [entry.upstream for entry in arrived]:
            yield "I3 the account has the attempts in another order than they arrived in"
        for one, entry in zip(made, arrived, strict=True):
            if not one.failed and not entry.answered:
                yield f"I3 the account calls #{entry.ordinal} at {entry.upstream} a success, it was not answered"

    def _manners(self, call: CallRecord, arrived: list[Injected]) -> Iterator[str]:
        per_provider = Counter(entry.upstream for entry in arrived)
        for provider, count in per_provider.items():
            if count > self.bounds.per_provider:
                yield f"I5 {count} requests at {provider}, {self.bounds.per_provider} are allowed"
        if len(arrived) > self.bounds.per_call:
            yield f"I5 {len(arrived)} requests, {self.bounds.per_call} are allowed"
        last: dict[tuple[str, str | None], Injected] = {}
        for entry in arrived:
            place = (entry.upstream, entry.key_id)
            before = last.get(place)
            if before is not None and before.retry_after and entry.at < before.at + before.retry_after - _EPSILON:
                gap = entry.at - before.at
                yield f"I5 came back to {entry.upstream} after {gap:.3f} s, was told {before.retry_after:g}"
            last[place] = entry
            late = call.first_output is not None and entry.at > call.first_output + _EPSILON
            if late and not self.bounds.recovers:
                yield f"I5 a request at {entry.upstream} after the first output"
            if entry.at > call.deadline + self.bounds.under_way:
                yield f"I5 a request at {entry.upstream} after the deadline"
            if call.left and entry is arrived[-1]:
                yield from self._closed(call, entry)

    def _closed(self, call: CallRecord, entry: Injected) -> Iterator[str]:
        request = entry.request
        if request is None or call.ended is None or request.done:
            return  # an answer that was sent to its end leaves a connection that can be used again
        closed = request.connection.peer_closed_at
        if closed is None and not request.connection.ended.is_set():
            yield f"I6 the connection to {entry.upstream} is still open after the call was left"
        elif closed is not None and closed > call.ended + self.bounds.left_closed_within:
            yield f"I6 the connection to {entry.upstream} was closed only {closed - call.ended:.3f} s after the call"

    def _events(self) -> Iterator[str]:
        if self.recorder is None:
            return
        ended = [call for call in self.log.calls if not call.left]
        counted = [one for call in ended for one in self.attempts(call)]
        known = {call.trace.call_id for call in ended if call.trace is not None}
        failures = [event for event in self.recorder.of(AttemptFailed) if event.call_id in known]
        failed = sum(one.failed for one in counted)
        if len(failures) != failed:
            yield f"I8 {len(failures)} attempts failed by the events, {failed} by the account"
        finished = Counter(event.call_id for event in self.recorder.of(CallFinished))
        if twice := [one for one, count in finished.items() if count > 1]:
            yield f"I8 {len(twice)} calls have ended twice by the events"
        if missing := known - finished.keys():
            yield f"I8 {len(missing)} calls have not ended by the events"
        recovered = sum(call.response is not None and any(one.failed for one in self.attempts(call)) for call in ended)
        told = len([event for event in self.recorder.of(CallRecovered) if event.call_id in known])
        if told != recovered:
            yield f"I8 {told} calls recovered by the events, {recovered} by the account"
