"""Requests, candidates and a sight that a test fills, for the tests of routing."""

import random
from typing import Any

from core.llm.common.types import ModelFacts, ModelRef
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.functions import NO_FUNCTIONS, RoutingFunctions
from core.llm.routing.plan import Plan
from core.llm.routing.router import Router
from core.llm.routing.snapshot import Candidate, RequestView


def a_candidate(name: str = "m", **seen: Any) -> Candidate:
    """One model at the provider p."""
    return Candidate(ModelRef("p", name), **seen)


def candidates(**fields: Any) -> list[Candidate]:
    """Candidates a, b, c … of which each has one of the listed values of every field."""
    count = max(len(values) for values in fields.values())
    return [
        a_candidate("abcdefgh"[index], **{name: values[index] for name, values in fields.items()})
        for index in range(count)
    ]


def names(ordered: Any) -> str:
    """The models in order, as one text."""
    return "".join(candidate.ref.model for candidate in ordered)


def a_view(mode: str = "generate", turn: int = 0, **fields: Any) -> RequestView:
    """A request as a strategy sees it."""
    return RequestView(LLMRequest(**{"messages": "hi", **fields}), mode, turn)


class Shown:
    """A sight that shows what a test says."""

    def __init__(self, **seen: dict[str, Any]) -> None:
        self.seen = seen
        """Fields of candidates by the name of their model."""
        self.known: dict[str, ModelFacts | None] = {}
        self.looks = 0

    def candidate(self, ref: ModelRef, weight: float) -> Candidate:
        """What was said about it."""
        self.looks += 1
        return Candidate(ref, weight, **self.seen.get(ref.model, {}))

    def facts(self, ref: ModelRef) -> ModelFacts | None:
        """What was said about it."""
        return self.known.get(ref.model, ModelFacts())

    def arms(self, alias: str) -> dict[ModelRef, Any]:
        """Nobody has told how anything went."""
        return {}


class Planning:
    """A router over the providers p (a, b, c) and q, and what it plans."""

    def __init__(
        self, sight: Shown | None = None, functions: RoutingFunctions = NO_FUNCTIONS, seed: int = 0, **config: Any
    ) -> None:
        self.sight = sight or Shown()
        providers = {"p": {"models": ["a", "b", "c"]}, "q": {"models": ["d"]}}
        settings = {"providers": providers, "fallback_chain": [], **config}
        self.router = Router(LLMServiceConfig.model_validate(settings), self.sight, functions)
        self.rng = random.Random(seed)

    def plan(self, model: str | None = "x", mode: str = "generate", peek: bool = False, **fields: Any) -> Plan:
        """The plan of a request."""
        request = LLMRequest(**{"messages": "hi", "model": model, **fields})
        return self.router.plan(request, mode, self.rng, peek=peek)

    def order(self, **fields: Any) -> str:
        """The models of the plan of a request for the alias x, as one text."""
        return "".join(ref.model for ref in self.plan(**fields).candidates)


ABC = ["p/a", "p/b", "p/c"]
