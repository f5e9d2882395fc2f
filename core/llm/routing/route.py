"""One alias, ready to plan calls: its models, its conditions, its strategy. Pure: what is seen comes from the sight."""

import random
from collections.abc import Mapping, Sequence

from core.llm.common.types import ModelRef
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.routing.plan import Plan
from core.llm.routing.pool import Choice, Pool
from core.llm.routing.snapshot import Candidate, RequestView, Sight
from core.llm.routing.strategies.affinity import rendezvous, value_of
from core.llm.routing.strategies.contract import Classifier, StrategySpec


class Route:
    """Plans the calls of one alias."""

    __slots__ = (
        "_classes",
        "_classify",
        "_how",
        "_in_order",
        "_pool",
        "_sight",
        "_spec",
        "_sticky",
        "_told",
        "_unsticky",
        "fixed",
        "name",
        "options",
    )

    def __init__(
        self,
        name: str,
        options: AliasOptions,
        pool: Pool,
        classes: Mapping[str, Pool],
        spec: StrategySpec,
        classify: Classifier | None,
        sight: Sight,
    ) -> None:
        self.name = name
        self.options = options
        self._pool = pool
        self._classes = classes
        self._spec = spec
        self._classify = classify
        self._sight = sight
        self._sticky = value_of(options.sticky_by) if options.sticky_by is not None else None
        self._in_order = options.strategy == "ordered" and self._sticky is None
        strategy = options.strategy
        if options.sticky_by is not None:
            strategy = f"sticky by {options.sticky_by}" + (
                "" if strategy in {"ordered", "sticky"} else f", else {strategy}"
            )
        self._how = strategy
        self._unsticky = f"the request has no {options.sticky_by}: {options.strategy} decides"
        self._told = {kind: f"alias {name!r}, class {kind!r} ({strategy})" for kind in classes}
        self._told[""] = f"alias {name!r} ({strategy})"
        self.fixed: Plan | None = None
        """The plan, where it is the same for every call."""
        if self._in_order and classify is None and not pool.conditional:
            self.fixed = self._planned(pool.choice(sight), None, "")

    @property
    def measures(self) -> bool:
        """Whether calls to the models have to be measured."""
        return self._spec.measures

    def plan(self, request: LLMRequest, mode: str, rng: random.Random, turn: int) -> Plan:
        """The candidates of *request*; *turn* calls were planned before."""
        if self.fixed is not None:
            return self.fixed
        view = RequestView(request, mode, turn)
        pool, kind, warning = self._pool, "", ""
        if self._classify is not None:
            kind, warning = self._class_of(self._classify, view)
            pool = self._classes.get(kind, pool)
        choice = pool.choice(self._sight)
        if self._in_order or len(choice.first) < 2:
            return self._planned(choice, None, kind, warning=warning)
        return self._chosen(choice, view, rng, kind, warning)

    def choice(self) -> Choice:
        """Who is admitted now, whatever the class of the request."""
        return self._pool.choice(self._sight)

    def own(self) -> tuple[ModelRef, ...]:
        """The models as they are configured, those of every class included; without the fallback."""
        choices = [pool.choice(self._sight) for pool in (self._pool, *self._classes.values())]
        return tuple(dict.fromkeys(ref for choice in choices for ref, _ in choice.first))

    def members(self) -> Plan:
        """The models as they are configured, those of every class included, and the fallback."""
        if self.fixed is not None:
            return self.fixed
        choice, first = self.choice(), self.own()
        tail = [ref for ref in choice.tail if ref not in first]
        return Plan((*first, *tail), self._told[""], self.options.defaults, self.name, self._how, choice.notes)

    def _class_of(self, classify: Classifier, view: RequestView) -> tuple[str, str]:
        """The class of the request, empty where it has none, and what is wrong with who says so."""
        try:
            kind = classify(view)
        except Exception as error:  # noqa: BLE001 - a function of the host's must not fail its call
            return "", f"the classifier of alias {self.name!r} raised {type(error).__name__}: its `use` is taken"
        if not isinstance(kind, str) or kind not in self._classes:
            return "", f"the classifier of alias {self.name!r} named none of its classes: its `use` is taken"
        return kind, ""

    def _chosen(self, choice: Choice, view: RequestView, rng: random.Random, kind: str, warning: str) -> Plan:
        look = self._sight.candidate
        ready, resting = _apart([look(ref, weight) for ref, weight in choice.first])
        notes = choice.notes
        ordered: Sequence[Candidate] = ready
        if len(ready) > 1:
            value = None if self._sticky is None else self._sticky(view)
            if value is not None:
                ordered = rendezvous(ready, value)
            else:
                ordered, said, problem = self._by_strategy(ready, view, rng)
                notes, warning = (*notes, *said), problem or warning
        if resting:
            last = ", ".join([str(candidate.ref) for candidate in resting])
            notes = (*notes, f"last, because nothing would be sent there now: {last}")
            ordered = [*ordered, *resting]
        return self._planned(choice, ordered, kind, notes, warning)

    def _by_strategy(
        self, ready: Sequence[Candidate], view: RequestView, rng: random.Random
    ) -> tuple[Sequence[Candidate], tuple[str, ...], str]:
        """The order, why it is this one, and what is wrong with who says so."""
        said = () if self._sticky is None else (self._unsticky,)
        spec = self._spec
        if spec.own:
            ordered, problem = self._trusted(ready, view, rng)
            return ordered, said, problem
        ordered = spec.order(ready, view, rng)
        says = spec.says
        if says is None:
            return ordered, said, ""
        return ordered, (*said, "; ".join([f"{one.ref}: {says(one, view)}" for one in ordered])), ""

    def _trusted(
        self, ready: Sequence[Candidate], view: RequestView, rng: random.Random
    ) -> tuple[Sequence[Candidate], str]:
        """The order of a strategy that is not ours, or the configured one and what is wrong with the other."""
        name = self.options.strategy
        try:
            ordered = list(self._spec.order(ready, view, rng))
            # By identity: an altered copy is not what was seen.
            whole = sorted(map(id, ordered)) == sorted(map(id, ready))
        except Exception as error:  # noqa: BLE001 - a function of the host's must not fail its call
            return ready, f"strategy {name!r} raised {type(error).__name__}: the order is the configured one"
        if not whole:
            return ready, f"strategy {name!r} did not return every candidate once: the order is the configured one"
        return ordered, ""

    def _planned(
        self,
        choice: Choice,
        ordered: Sequence[Candidate] | None,
        kind: str,
        notes: tuple[str, ...] | None = None,
        warning: str = "",
    ) -> Plan:
        first = [ref for ref, _ in choice.first] if ordered is None else [candidate.ref for candidate in ordered]
        said = choice.notes if notes is None else notes
        return Plan(
            (*first, *choice.tail),
            self._told[kind],
            self.options.defaults,
            self.name,
            self._how,
            (*said, warning) if warning else said,
            warning,
            _wanted(ordered) if ordered is not None and self.options.strategy == "prefer_loaded" else None,
        )


def _apart(seen: list[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those that would be sent something, and those that would not; where that is nobody, there is no difference."""
    resting = [candidate for candidate in seen if candidate.rests]
    if not resting or len(resting) == len(seen):
        return seen, []
    return [candidate for candidate in seen if not candidate.rests], resting


def _wanted(ordered: Sequence[Candidate]) -> ModelRef | None:
    """The model that is to be loaded, where none that is in memory was chosen."""
    if ordered[0].loaded:
        return None
    return next((candidate.ref for candidate in ordered if candidate.loaded is False), None)
