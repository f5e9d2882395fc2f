"""Calls, errors and handlers for the tests of the pipeline."""

import math
import random
from collections.abc import Callable
from typing import Any

from core.llm.common.clock import Clock, Deadline
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.common.messages import TextPart
from core.llm.common.types import FinishReason, ModelFacts, ModelRef, Usage
from core.llm.pipeline.handler import Call, Handler, Mode, Reply
from core.llm.pipeline.target import Target
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import LLMResponse
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import FakeClock, ScriptedProvider, provider_services

ALPHA = ModelRef("alpha", "m")


def a_call(
    mode: Mode = "generate",
    *,
    clock: Clock | None = None,
    events: EventBus | None = None,
    seconds: float = math.inf,
    seed: int = 0,
    inputs: tuple[str, ...] = (),
    **params: Any,
) -> Call:
    """A call as the service makes it, with *seconds* until its deadline."""
    time = clock or FakeClock()
    call = Call(
        LLMRequest(**{"messages": "hi there", **params}),
        mode,
        id="c1",
        generation=1,
        deadline=Deadline(time.monotonic() + seconds),
        clock=time,
        rng=random.Random(seed),
        events=events or EventBus(),
        inputs=inputs,
    )
    call.attempts_left = 50
    call.guard.arm(call.deadline.at)
    return call


def an_answer(text: str = "hello", *, usage: Usage | None = None) -> LLMResponse:
    """A complete answer."""
    return LLMResponse((TextPart(text),), FinishReason("stop", "stop"), "m", "alpha", usage or Usage(3, output=2))


def an_error(kind: ErrorType = "server_error", **fields: Any) -> ProviderError:
    """A failure of the provider called alpha."""
    return ProviderError(kind, fields.pop("message", "it failed"), provider="alpha", model="m", **fields)


class Scripted:
    """A handler that does one thing after the other: raises errors, answers texts. It counts its calls."""

    def __init__(self, *outcomes: BaseException | str | Callable[[Call], Any]) -> None:
        self.outcomes = list(outcomes)
        self.keys: list[str | None] = []
        self.times: list[float] = []

    @property
    def calls(self) -> int:
        return len(self.times)

    async def __call__(self, call: Call) -> Reply:
        self.times.append(call.clock.monotonic())
        self.keys.append(call.api_key)
        outcome = self.outcomes.pop(0) if self.outcomes else "hello"
        if isinstance(outcome, BaseException):
            raise outcome
        if callable(outcome):
            result = outcome(call)
            return result if isinstance(result, Reply) else await result
        return Reply(call, response=an_answer(outcome))


async def answered(handler: Handler, call: Call) -> LLMResponse:
    """The whole answer of *handler*, its reply ended."""
    async with await handler(call) as reply:
        response = reply.response
    assert response is not None
    return response


def a_provider(name: str = "alpha", clock: Clock | None = None) -> ScriptedProvider:
    """A scripted provider on *clock*."""
    return ScriptedProvider(services=provider_services(name, clock=clock), name=name)


def a_target(
    provider: BaseLLMProvider | None = None,
    ref: ModelRef = ALPHA,
    handler: Handler | None = None,
    facts: ModelFacts | None = None,
    **options: Any,
) -> Target:
    """A target of *provider*, whose configuration holds *options* and whose model has *facts*."""
    served = provider or a_provider(ref.provider)
    if facts is not None:
        served.facts = lambda model: facts  # type: ignore[method-assign]  # a provider that knows its models
    return Target(ref, served, ProviderConfig.model_validate(options), handler)
