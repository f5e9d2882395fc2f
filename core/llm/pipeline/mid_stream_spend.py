"""What broken attempts of one call have cost: nobody reports it, so it is estimated and said to be."""

from dataclasses import replace

from core.llm.common.types import CallWarning, Cost, ModelRef, Usage
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.meter import cost_of, sum_of_costs
from core.llm.pipeline.unreported import usage_of_broken
from core.llm.providers.base.response import LLMResponse


class Spent:
    """Sums up what was paid for and thrown away, or continued by somebody else."""

    __slots__ = ("_candidates", "_cost", "_currency", "_usage", "_warnings")

    def __init__(self, candidates: Candidates, currency: str) -> None:
        self._candidates = candidates
        self._currency = currency
        self._usage: Usage | None = None
        self._cost: Cost | None = None
        self._warnings: list[CallWarning] = []

    def note(self, call: Call, broken: Reply, target: ModelRef) -> None:
        """Add the attempt at *target* that *broken* was; `call.request` is still what it was sent."""
        known = self._candidates.target_now(target)
        # As the ledger counts it, so that the answer and its rows agree.
        counts = known.upstream.tokens if known is not None and known.upstream is not None else None
        usage = usage_of_broken(call, target.model, counts, broken.collector.partial())
        self._usage = self.together(usage)
        cost = cost_of(usage, known.facts.price, self._currency) if known is not None else None
        self._cost = sum_of_costs(self._cost, cost)

    def warn(self, what: str) -> None:
        """Let the response say *what* happened."""
        text = f"{what}; usage and cost hold an estimate of what was lost"
        self._warnings.append(CallWarning("other", text))

    def together(self, usage: Usage) -> Usage:
        """*usage* with that of the broken attempts."""
        return usage if self._usage is None else self._usage + usage

    def add_to(self, whole: LLMResponse, last: LLMResponse) -> None:
        """Put onto the caller's answer what all attempts took together; *last* is what the last one made."""
        whole.usage = self.together(last.usage)
        cost = sum_of_costs(self._cost, last.cost)
        whole.cost = cost and replace(cost, estimated=True)
        whole.model, whole.provider, whole.request_id = last.model, last.provider, last.request_id
        whole.warnings = (*whole.warnings, *last.warnings, *self._warnings)
