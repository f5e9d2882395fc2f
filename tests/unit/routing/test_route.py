"""How an alias plans: snapshots, rest, stickiness, classes, turns."""

from typing import Any, get_args

import pytest

from core.llm.common.exceptions import ConfigError, UnknownModel
from core.llm.common.types import ModelFacts, ModelRef
from core.llm.providers.config.models.aliases import BuiltInStrategy
from core.llm.routing.functions import RoutingFunctions
from core.llm.routing.snapshot import RequestView
from core.llm.routing.strategies.registry import STRATEGIES
from tests.unit.routing.seen import ABC, Planning, Shown


def alias(**options: Any) -> dict[str, Any]:
    """The alias x over three models, with these options."""
    return {"x": {"use": ABC, "fallback": "q/d", **options}}


def test_every_strategy_of_the_configuration_exists() -> None:
    """And the other way round."""
    assert set(get_args(BuiltInStrategy)) == set(STRATEGIES)


def test_the_configured_order_looks_at_nothing_and_is_planned_once() -> None:
    """It costs what it always did."""
    planning = Planning(models=alias())
    assert planning.plan() is planning.plan()
    assert (planning.order(), planning.sight.looks) == ("abcd", 0)
    assert not planning.router.measures


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"ordered"}))
def test_who_rests_is_last_for_every_strategy_and_still_before_the_fallback(strategy: str) -> None:
    """It is not dropped: where all others fail, it is asked."""
    sight = Shown(b={"rests": True, "loaded": True, "headroom": 2.0, "latency": 0.0})
    planning = Planning(sight, models=alias(strategy=strategy, sticky_by="user"))
    for number in range(20):
        order = planning.order(user=str(number))
        assert order.endswith("bd"), order
    assert any("last, because nothing would be sent there now: p/b" in note for note in planning.plan().notes)


def test_where_everybody_rests_the_strategy_decides() -> None:
    """There is no last among equals."""
    sight = Shown(**{name: {"rests": True, "headroom": room} for name, room in (("a", 0.1), ("b", 0.5), ("c", 0.3))})
    assert Planning(sight, models=alias(strategy="headroom")).order() == "bcad"


def test_the_plan_says_who_chose_and_what_was_seen() -> None:
    """For the trace, the explanation and whoever learns from outcomes."""
    sight = Shown(a={"latency": 2.0}, b={"latency": 0.5, "in_flight": 1}, c={"latency": 9.0})
    plan = Planning(sight, models=alias(strategy="latency")).plan()
    assert (plan.alias, plan.strategy, plan.how) == ("x", "latency", "alias 'x' (latency)")
    assert plan.notes == ("p/b: 0.5 s, 1 in flight; p/a: 2 s, 0 in flight; p/c: 9 s, 0 in flight",)
    assert Planning(models=alias()).plan("p/a").alias is None


def test_calls_of_one_user_stay_with_one_model_and_the_others_follow_the_strategy() -> None:
    """`sticky_by` goes with any strategy."""
    planning = Planning(models=alias(sticky_by="user", strategy="round_robin"))
    orders = {user: planning.order(user=user) for user in ("ada", "bob", "cyd", "dan", "eve")}
    assert len({order[0] for order in orders.values()}) > 1
    assert all(planning.order(user=user) == order for user, order in orders.items())
    first = planning.order()
    assert [planning.order() for _ in range(3)] == [first[1:3] + first[0] + "d", first[2] + first[:2] + "d", first]
    plan = planning.plan()
    assert plan.how == "alias 'x' (sticky by user, else round_robin)"
    assert plan.notes == ("the request has no user: round_robin decides",)
    assert planning.plan(user="ada").notes == ()


def test_conversations_with_the_same_system_prompt_stay_together() -> None:
    """Whatever the users say."""
    planning = Planning(models=alias(sticky_by="prompt"))

    def turn(system: str, text: str) -> str:
        return planning.order(messages=[{"role": "system", "content": system}, {"role": "user", "content": text}])

    assert len({turn("You are a judge.", str(number)) for number in range(10)}) == 1
    assert len({turn(f"You are number {number}.", "hi") for number in range(30)}) > 2


def test_looking_first_is_nobodys_turn() -> None:
    """An explanation does not change what happens."""
    planning = Planning(models=alias(strategy="round_robin"))
    assert [planning.order(peek=True) for _ in range(3)] == ["abcd"] * 3
    assert [planning.order() for _ in range(2)] == ["abcd", "bcad"]


def test_a_local_model_that_was_passed_over_is_named() -> None:
    """The remote one answers while it is loaded; nobody loads beside a model that is there."""
    sight = Shown(b={"loaded": False})
    planning = Planning(sight, models=alias(strategy="prefer_loaded"))
    assert planning.order() == "acbd"
    assert planning.plan().wanted == ModelRef("p", "b")
    sight.seen["c"] = {"loaded": True}
    assert (planning.order(), planning.plan().wanted) == ("cabd", None)
    sight.seen = {name: {"loaded": False} for name in "abc"}
    assert planning.plan().wanted == ModelRef("p", "a")


def length(view: RequestView) -> str:
    """Long prompts are complex."""
    if "boom" in view.text:
        raise ValueError("secret text")
    return "complex" if view.tokens > 10 else "simple" if "?" in view.text else "nowhere"


def by_class(**options: Any) -> Planning:
    """A router with that classifier."""
    classes = {"simple": "p/b", "complex": [{"model": "p/c", "weight": 1}, "q/d"]}
    return Planning(
        functions=RoutingFunctions(classifiers={"length": length}),
        models={"x": {"use": "p/a", "fallback": "q/d", "classifier": "length", "classes": classes, **options}},
    )


def test_the_class_of_a_request_decides_among_which_models_is_chosen() -> None:
    """The fallback stays the same."""
    assert by_class().order(messages="why?") == "bd"
    assert by_class().order(messages="why " * 40) == "cd"
    assert by_class().plan(messages="why?").how == "alias 'x', class 'simple' (ordered)"
    assert by_class(strategy="round_robin").order(messages="why " * 40) == "cd"


@pytest.mark.parametrize(
    ("text", "problem"),
    [("boom", "raised ValueError: its `use` is taken"), ("hm", "named none of its classes: its `use` is taken")],
)
def test_a_classifier_that_fails_does_not_fail_the_call(text: str, problem: str) -> None:
    """What `use` says holds; the trace says why, without the text of a foreign error."""
    plan = by_class().plan(messages=text)
    assert [ref.model for ref in plan.candidates] == ["a", "d"]
    assert plan.warning == f"the classifier of alias 'x' {problem}"
    assert plan.notes == (plan.warning,)


def test_the_models_of_all_classes_are_members() -> None:
    """What the alias may lead to."""
    assert [ref.model for ref in by_class().router.members("x").candidates] == ["a", "b", "c", "d"]


def test_an_alias_at_one_provider_is_what_it_admits_there() -> None:
    """Of every class, and of its own fallback."""
    plan = by_class().plan("x", provider="p")
    assert [ref.model for ref in plan.candidates] == ["a", "b", "c"]
    assert (plan.alias, plan.how) == ("x", "alias 'x', only at provider 'p'")
    sight = Shown()
    sight.known = {"b": ModelFacts(context_window=500)}
    large = Planning(sight, models={"x": {"use": "*", "where": {"min_context_window": 100}, "fallback": "p/c"}})
    assert [ref.model for ref in large.plan("x", provider="p").candidates] == ["b", "c"]
    with pytest.raises(UnknownModel, match="has no model at provider 'q': it stands for p/b, p/c"):
        large.plan("x", provider="q")


def test_a_router_refuses_functions_that_do_not_exist() -> None:
    """Also where nobody has validated the configuration."""
    with pytest.raises(ConfigError, match="did you mean `latency`"):
        Planning(models=alias(strategy="latencies"))
