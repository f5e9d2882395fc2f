"""Which candidate comes next, given what became of those before it."""

from collections import deque

from core.llm.common.decisions import RefusalRoutedAround
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.trace import CandidateTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.candidates import Candidates, Resting
from core.llm.pipeline.handler import Call
from core.llm.pipeline.preflight import Unfit, prepared, unfit
from core.llm.pipeline.reasons import is_refusal, reserved, says_it_of_the_provider
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest


class Course:
    """The way of one call through its candidates. It takes the call instead of holding it, so that no cycle is made."""

    __slots__ = (
        "_candidates",
        "_failed_providers",
        "_kept",
        "_later",
        "_refused",
        "_rested",
        "_waiting",
        "asked",
        "entries",
        "errors",
        "unfits",
        "waits",
    )

    def __init__(self, candidates: Candidates, refs: tuple[ModelRef, ...], asked: LLMRequest) -> None:
        self._candidates = candidates
        self.asked = asked
        """What the caller wants, defaults of the alias included; each candidate starts from it."""
        self.entries = [CandidateTrace(ref) for ref in refs]
        self.errors: list[LLMError] = []
        self.unfits: list[Unfit] = []
        self.waits: list[float] = []
        """Seconds until candidates that rest come back."""
        self._waiting = deque(self.entries)
        self._later: list[tuple[float, CandidateTrace]] = []
        self._rested = False
        self._kept: frozenset[ModelRef] = frozenset()
        self._failed_providers: frozenset[str] = frozenset()
        self._refused = False

    def next(self, call: Call) -> CandidateTrace | None:
        """The candidate to try now; `None` where nobody is left.

        Who rests comes last, and so do other models of a provider that has just failed.
        """
        while self._waiting:
            entry = self._waiting.popleft()
            off = self._candidates.unavailable(entry.target)
            if off is not None:
                entry.outcome, entry.reason = "skipped", off
                continue
            if len(self.entries) == 1 or self._rested:
                return entry
            rest = self._candidates.resting(entry.target, call.clock.monotonic())
            if rest is not None or self._had_better_wait(entry.target):
                if rest is not None:
                    entry.outcome, entry.reason = "skipped", rest.reason  # unless its turn comes in the end
                self._later.append((0.0 if rest is None else rest.wait, entry))
                continue
            return entry
        if self._later and not self._rested:
            self._rested = True
            return self._last_resort(call)
        return None

    def _had_better_wait(self, ref: ModelRef) -> bool:
        """Whether another model of the same provider has just failed for a reason that is not its own."""
        return ref.provider in self._failed_providers and ref not in self._kept

    def _last_resort(self, call: Call) -> CandidateTrace | None:
        """Whoever can be waited for, the shortest wait first. A provider that kept failing is left alone."""
        now = call.clock.monotonic()
        broken: list[tuple[CandidateTrace, Resting]] = []
        hopeful = False
        for _, entry in sorted(self._later, key=lambda one: one[0]):
            rest = self._candidates.resting(entry.target, now)
            if rest is not None and rest.broken:
                broken.append((entry, rest))
            else:
                hopeful = hopeful or ((rest is None or not rest.final) and self._fits(call, entry))
                entry.outcome, entry.reason = "untried", ""
                self._waiting.append(entry)
        if not hopeful and not call.trace.attempts:
            woken = self._woken(call, [entry for entry, _ in broken], now)
            if woken is not None:
                woken.outcome, woken.reason = "untried", ""
                self._waiting.appendleft(woken)
        for entry, rest in broken:
            if entry not in self._waiting:
                entry.outcome, entry.reason = "skipped", rest.reason
                self.waits.append(rest.wait)
        return self.next(call)

    def _woken(self, call: Call, broken: list[CandidateTrace], now: float) -> CandidateTrace | None:
        """The first that may be asked out of turn, which is not wasted on one that cannot take the request."""
        for entry in broken:
            if self._fits(call, entry) and self._candidates.wake(entry.target, now):
                return entry
        return None

    def failed(self, call: Call, entry: CandidateTrace, error: LLMError) -> None:
        """*entry* has ended with *error*: what is kept for that comes next."""
        self.errors.append(error)
        refused = is_refusal(error)
        if refused:
            self._refused = True
        kept = tuple(map(self._complete, reserved(error, call) if refused or not self._refused else ()))
        if refused and kept:
            self._leave_out_others(kept)
        fresh = self._bring_forward(entry, kept)
        if refused and fresh:
            call.trace.notes.append(
                f"{entry.target} would not answer; fallback_on.content_filter leads to {', '.join(map(str, fresh))}"
            )
            call.events.publish(RefusalRoutedAround(call.id, entry.target, fresh[0]))
        if says_it_of_the_provider(error):
            self._failed_providers |= {entry.target.provider}

    def _leave_out_others(self, kept: tuple[ModelRef, ...]) -> None:
        for entry in (*self._waiting, *(entry for _, entry in self._later)):
            if self._complete(entry.target) not in kept:
                entry.outcome, entry.reason = "skipped", "a refusal leads to fallback_on.content_filter only"
        self._waiting = deque(entry for entry in self._waiting if self._complete(entry.target) in kept)
        self._later = [(wait, entry) for wait, entry in self._later if self._complete(entry.target) in kept]

    def _bring_forward(self, after: CandidateTrace, kept: tuple[ModelRef, ...]) -> list[ModelRef]:
        """Let *kept* come next, without those that have had their turn; the ones that do."""
        place = self.entries.index(after) + 1
        front: list[CandidateTrace] = []
        for ref in kept:
            entry = next((one for one in self.entries if self._complete(one.target) == ref), None)
            if entry is None:
                entry = CandidateTrace(ref)
                self.entries.insert(place + len(front), entry)
            elif entry in self._waiting:
                self._waiting.remove(entry)
            else:
                continue
            front.append(entry)
            self._kept |= {ref}
        self._waiting.extendleft(reversed(front))
        return [entry.target for entry in front]

    def _complete(self, ref: ModelRef) -> ModelRef:
        """*ref* with the provider's default model, where it names none and that is known."""
        if ref.model or self._candidates.unavailable(ref) is not None:
            return ref
        target = self._candidates.target_now(ref)
        return ref if target is None else target.ref

    def others(self, call: Call) -> bool:
        """Whether somebody is left who would be sent the request now."""
        now = call.clock.monotonic()
        return any(self._would_be_sent(call, entry, now) for entry in self._waiting)

    def beside(self, call: Call, entry: CandidateTrace) -> CandidateTrace | None:
        """The next one at another provider than *entry* who would be sent the request now; `take` it to try it."""
        now = call.clock.monotonic()
        return next(
            (
                other
                for other in self._waiting
                if other.target.provider != entry.target.provider and self._would_be_sent(call, other, now)
            ),
            None,
        )

    def take(self, entry: CandidateTrace) -> None:
        """*entry*, which waited for its turn, has it now."""
        self._waiting.remove(entry)

    def _would_be_sent(self, call: Call, entry: CandidateTrace, now: float) -> bool:
        if self._candidates.unavailable(entry.target) is not None or self._candidates.resting(entry.target, now):
            return False
        return self._fits(call, entry)

    def _fits(self, call: Call, entry: CandidateTrace) -> bool:
        """Whether nothing speaks against the request at *entry*, as far as its model is known."""
        target = self._candidates.target_now(entry.target)
        if target is None:
            return True
        request = call.request
        try:
            call.request = prepared(self.asked, target, call).request
            return self.unfit(call, target) is None
        except LLMError:
            return False  # what is wrong with it comes out where it is its turn
        finally:
            call.request = request

    def unfit(self, call: Call, target: Target) -> Unfit | None:
        """Why *target* must not be sent *call* as it is prepared."""
        if self.errors:
            small = self._too_small(target)
            if small is not None:
                return small
        return unfit(call, target, self._candidates.least_time(target, call))

    def _too_small(self, target: Target) -> Unfit | None:
        """After a context-length error only a larger model is worth a try."""
        windows = [
            error.context_window or 0
            for error in self.errors
            if isinstance(error, ProviderError) and error.type == "context_length"
        ]
        if not windows:
            return None
        window = target.facts.context_window
        if window is None and target.ref in self._kept:
            return None  # somebody has named it for this case
        if window is None or window <= max(windows):
            return Unfit("the prompt was too long for an earlier candidate, and this model is not known to be larger")
        return None
