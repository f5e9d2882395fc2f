"""How much of a provider's quotas one call may need: reserved before it is sent, settled when it has ended."""

from typing import Final

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import Usage
from core.llm.limiting.dimension import NOTHING, ONE_REQUEST, Amounts
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.target import Target
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.routing.tokens import estimate_input, estimate_text

_PROMPT_MARGIN: Final = 1.1
"""Estimates of prompts are a little off; too little reserved is found out by the provider's refusal."""
_UNBOUNDED: Final = 1000.0
"""Answer tokens that a call without `max_tokens` is expected to need before anything is known."""
_WEIGHT: Final = 0.1
_DEVIATIONS: Final = 2.0


class UsualAnswer:
    """How long answers are at which nobody set a limit: enough for most of them."""

    __slots__ = ("_count", "_deviation", "_mean")

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._deviation = 0.0

    @property
    def tokens(self) -> float:
        """What to reserve."""
        return self._mean + _DEVIATIONS * self._deviation if self._count else _UNBOUNDED

    def learn(self, tokens: float) -> None:
        """An answer had *tokens*."""
        self._count += 1
        weight = max(1 / self._count, _WEIGHT)
        difference = tokens - self._mean
        self._mean += weight * difference
        self._deviation += weight * (abs(difference) - self._deviation)


class Demand:
    """Estimates for calls to one target."""

    __slots__ = ("_target", "_tokens", "_usual")

    def __init__(self, target: Target, tokens: TokenCalibration) -> None:
        self._target = target
        self._tokens = tokens
        self._usual = UsualAnswer()

    def of(self, call: Call) -> Amounts:
        """What *call* may need."""
        if call.mode == "embed":
            prompt = _PROMPT_MARGIN * sum(map(estimate_text, call.inputs))
            return (1.0, prompt, 0.0, prompt)
        request = call.request
        found = self._tokens.estimate(self._target.ref.model, request)
        prompt = _PROMPT_MARGIN * (estimate_input(request) if found is None else found.tokens)
        answer = self._usual.tokens if request.max_tokens is None else float(request.max_tokens)
        cap = self._target.facts.max_output_tokens
        if cap is not None and cap < answer:
            answer = float(cap)
        return (1.0, prompt, answer, prompt + answer)

    def learn(self, call: Call, usage: Usage) -> None:
        """*call* was answered with *usage*."""
        if call.request.max_tokens is None and call.mode != "embed":
            self._usual.learn(usage.output_total)


def needed(reply: Reply) -> Usage | None:
    """What a call that was answered has used; `None` where nobody has said."""
    answer = reply.response or reply.embedding
    usage = answer.usage if answer is not None else reply.collector.usage
    return usage if usage is not None and usage.total > 0 else None


def amounts_of(usage: Usage) -> Amounts:
    """What a call with *usage* has taken from the quotas."""
    prompt, answer = float(usage.input_total), float(usage.output_total)
    return (1.0, prompt, answer, prompt + answer)


def after(error: BaseException) -> Amounts | None:
    """What a failed attempt has taken; `None`: nobody knows, so what was reserved for it counts.

    A request that was refused counts as a request; one that never left does not.
    """
    if isinstance(error, ProviderError):
        if error.billing != "none":
            return None
        return ONE_REQUEST if error.status_code else NOTHING
    return NOTHING if isinstance(error, LLMError) else None
