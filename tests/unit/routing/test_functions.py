"""Strategies of the host's own: how they are found, and what happens when they are wrong."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from core.llm.routing.functions import RoutingFunctions, UnknownFunction
from core.llm.routing.snapshot import Candidate, RequestView
from tests.unit.routing.seen import ABC, Planning, Shown


def backwards(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:
    """The last one first."""
    return list(reversed(candidates))


class Strategies:
    """Something with a function in it."""

    shuffled = staticmethod(lambda candidates, view, rng: rng.sample(candidates, len(candidates)))


async def waits(candidates: Any, view: Any, rng: Any) -> Any:
    """What routing cannot wait for."""


class Waits:
    """The same as an object."""

    async def __call__(self, candidates: Any, view: Any, rng: Any) -> Any:
        """Too late."""


def planning(strategy: str | Callable[..., Any], sight: Shown | None = None) -> Planning:
    """A router whose alias x has that strategy."""
    name, own = (strategy, {}) if isinstance(strategy, str) else ("mine", {"mine": strategy})
    return Planning(sight, RoutingFunctions(own), models={"x": {"use": ABC, "strategy": name}})


@pytest.mark.parametrize("strategy", [backwards, f"{__name__}:backwards"])
def test_a_function_of_ones_own_decides(strategy: Any) -> None:
    """By name or by place; calls are measured for it."""
    found = planning(strategy)
    assert found.order() == "cba"
    assert found.router.measures


def test_a_function_inside_something_is_found() -> None:
    """As entry points name it."""
    assert sorted(planning(f"{__name__}:Strategies.shuffled").order()) == ["a", "b", "c"]


def boom(candidates: Any, view: Any, rng: Any) -> Any:
    """What a defect does."""
    raise KeyError("secret text")


NONSENSE: list[tuple[Callable[..., Any], str]] = [
    (boom, "raised KeyError"),
    (lambda candidates, view, rng: None, "raised TypeError"),
    (lambda candidates, view, rng: 7, "raised TypeError"),
    (lambda candidates, view, rng: candidates[:2], "did not return every candidate once"),
    (lambda candidates, view, rng: [*candidates, candidates[0]], "did not return every candidate once"),
    (lambda candidates, view, rng: [candidates[0]] * 3, "did not return every candidate once"),
    (lambda candidates, view, rng: [one._replace(weight=2.0) for one in candidates], "did not return every candidate"),
    (lambda candidates, view, rng: ["p/a", "p/b", "p/c"], "did not return every candidate once"),
]


@pytest.mark.parametrize(("strategy", "problem"), NONSENSE)
def test_nonsense_leaves_the_configured_order(strategy: Callable[..., Any], problem: str) -> None:
    """The call goes on; the trace says why, without the text of a foreign error."""
    plan = planning(strategy).plan()
    assert [ref.model for ref in plan.candidates] == ["a", "b", "c"]
    assert problem in plan.warning
    assert "the order is the configured one" in plan.warning
    assert plan.warning in plan.notes
    assert "secret" not in plan.warning


def test_an_own_strategy_sees_those_that_are_ready() -> None:
    """Who rests comes last whatever it says."""
    assert planning(backwards, Shown(c={"rests": True})).order() == "bac"


@pytest.mark.parametrize(
    ("name", "message", "advice"),
    [
        ("mien", "`mien` is no strategy", "did you mean `mine`?"),
        ("quite_different", "is no strategy", "known: ordered, weighted"),
        ("no.such:thing", "there is no module `no`", "correct"),
        (f"{__name__}:nothing", "has no `nothing`", "name a function"),
        (f"{__name__}:NONSENSE", "is no function", "can be called"),
        (f"{__name__}:waits", "asynchronous", "`def`"),
        (f"{__name__}:Waits.__call__", "asynchronous", "`def`"),
        ("tests.unit.routing.broken_module:order", "importing it raised RuntimeError", "correct"),
        (":order", "cannot be used", "correct"),
    ],
)
def test_what_cannot_be_used_is_told_with_advice(name: str, message: str, advice: str) -> None:
    """Nothing that foreign code says is repeated."""
    with pytest.raises(UnknownFunction) as caught:
        RoutingFunctions({"mine": backwards}).strategy(name)
    assert message in str(caught.value)
    assert advice in (caught.value.advice or "")
    assert "secret" not in f"{caught.value}{caught.value.advice}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": {"cost": backwards}}, "a strategy named 'cost' comes with the library"),
        ({"strategies": {"mine": waits}}, "'mine' is asynchronous"),
        ({"strategies": {"mine": Waits()}}, "'mine' is asynchronous"),
        ({"classifiers": {"mine": "nothing"}}, "'mine' is no function"),
    ],
)
def test_what_is_handed_in_is_looked_at_once(given: dict[str, Any], message: str) -> None:
    """The mistake shows where it was made."""
    with pytest.raises(ValueError, match=message):
        RoutingFunctions(**given)
