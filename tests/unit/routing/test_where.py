"""Which models an alias stands for, and which of them it admits."""

from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.types import ModelFacts, Price
from core.llm.providers.config.models.aliases import WhereOptions
from core.llm.routing.where import unmet
from tests.unit.routing.seen import Planning, Shown

FACTS: dict[str, Any] = {
    "context_window": 100_000,
    "max_output_tokens": 8000,
    "capabilities": frozenset({"chat", "vision"}),
    "price": Price(Decimal(1), Decimal(4)),
}


@pytest.mark.parametrize(
    ("where", "missing", "reason"),
    [
        ({}, {}, None),
        ({"capabilities": ["vision"]}, {}, None),
        ({"capabilities": "vision"}, {}, None),
        ({"capabilities": ["vision", "tools"]}, {}, "it does not support tools"),
        ({"capabilities": ["tools"]}, {"capabilities": frozenset()}, "it is not known to support tools"),
        ({"min_context_window": 100_000}, {}, None),
        ({"min_context_window": 100_001}, {}, "its context window is 100000"),
        ({"min_context_window": 1}, {"context_window": None}, "its context window is not known"),
        ({"min_output_tokens": 8000}, {}, None),
        ({"min_output_tokens": 8001}, {}, "its answers have at most 8000 tokens"),
        ({"min_output_tokens": 1}, {"max_output_tokens": None}, "the length of its answers is not known"),
        ({"max_input_price": 1, "max_output_price": 4}, {}, None),
        ({"max_input_price": "0.99"}, {}, "its input costs 1"),
        ({"max_output_price": 3}, {}, "its output costs 4"),
        ({"max_input_price": 9}, {"price": None}, "its price is not known"),
    ],
)
def test_a_condition_is_met_by_what_is_known(
    where: dict[str, Any], missing: dict[str, Any], reason: str | None
) -> None:
    """What nobody knows does not meet it."""
    assert unmet(WhereOptions.model_validate(where), ModelFacts(**{**FACTS, **missing})) == reason


def facts(**windows: int | None) -> Shown:
    """Models with these context windows."""
    sight = Shown()
    sight.known = {name: ModelFacts(context_window=window) for name, window in windows.items()}
    return sight


LARGE = {"min_context_window": 100}


def test_the_cheapest_with_a_large_window() -> None:
    """Conditions and an objective."""
    sight = facts(a=100, b=50, c=200, d=400)
    sight.seen = {
        name: {"price": Price(Decimal(price), Decimal(1))} for name, price in (("a", 3), ("b", 1), ("c", 2), ("d", 9))
    }
    planning = Planning(sight, models={"x": {"use": "*", "where": LARGE, "strategy": "cost"}})
    plan = planning.plan(messages="word " * 1000)
    assert [str(ref) for ref in plan.candidates] == ["p/c", "p/a", "q/d"]
    assert plan.notes[0] == "p/b is left out: its context window is 50"


@pytest.mark.parametrize(("use", "order"), [("*", "abcd"), ("p/*", "abc"), (["q/*", "p/b"], "db"), ("p/b", "b")])
def test_a_star_stands_for_every_listed_model(use: Any, order: str) -> None:
    """Of one provider or of all, in the order of the file."""
    assert Planning(models={"x": {"use": use}}).order() == order


def test_conditions_hold_for_the_models_and_not_for_the_fallback() -> None:
    """Better a model that is too small than none: the fallback was named on purpose."""
    planning = Planning(
        facts(a=1, b=500, d=1), models={"x": {"use": ["p/a", "p/b"], "where": LARGE, "fallback": "q/d"}}
    )
    assert planning.order() == "bd"


def test_an_alias_inside_another_brings_its_conditions_along() -> None:
    """Also as a fallback."""
    models = {
        "large": {"use": "*", "where": LARGE},
        "x": {"use": ["large", "p/a"]},
        "y": {"use": "q/d", "fallback": "large"},
    }
    planning = Planning(facts(a=1, b=500, c=1, d=1), models=models)
    assert planning.order() == "ba"
    assert planning.order(model="y") == "db"


def test_conditions_follow_the_facts() -> None:
    """What is discovered while the service runs counts from the next call on."""
    sight = facts(a=1, b=500)
    planning = Planning(sight, models={"x": {"use": ["p/a", "p/b"], "where": LARGE}})
    assert planning.order() == "b"
    sight.known["a"] = ModelFacts(context_window=1000)
    assert planning.order() == "ab"


def test_a_model_whose_provider_is_off_is_not_left_out_for_its_facts() -> None:
    """The reason why it is passed over is that its provider is off."""
    sight = facts(b=500)
    sight.known["a"] = None
    plan = Planning(sight, models={"x": {"use": ["p/a", "p/b"], "where": LARGE}}).plan()
    assert (len(plan.candidates), plan.notes) == (2, ())


def test_where_nobody_is_admitted_every_reason_is_told() -> None:
    """Up to ten; the rest is a number."""
    listed = {"p": {"models": [f"m{number}" for number in range(14)]}}
    plan = Planning(models={"x": {"use": "*", "where": LARGE}}, providers=listed).plan()
    assert plan.candidates == ()
    assert len(plan.notes) == 11
    assert plan.notes[0] == "p/m0 is left out: its context window is not known"
    assert plan.notes[-1] == "4 more are left out"


def test_models_behind_one_name_share_its_weight() -> None:
    """An alias with three models does not count three times."""
    sight = Shown()
    models = {
        "three": {"use": ["p/a", "p/b", {"model": "p/c", "weight": 2}]},
        "x": {"use": ["three", "q/d"], "strategy": "weighted"},
    }
    planning = Planning(sight, models=models, seed=1)
    firsts = [planning.plan().candidates[0].model for _ in range(4000)]
    assert abs(firsts.count("d") - 2000) < 160
    assert abs(firsts.count("c") - 1000) < 140


def test_all_models_of_one_provider_count_as_much_as_one_model() -> None:
    """A star does not win by numbers."""
    planning = Planning(models={"x": {"use": ["p/*", "q/d"], "strategy": "weighted"}}, seed=1)
    firsts = [planning.plan().candidates[0].model for _ in range(4000)]
    assert abs(firsts.count("d") - 2000) < 160
