"""From the model a caller asks for to the candidates that may answer."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.exceptions import UnknownModel, UnknownProvider
from core.llm.providers.config.models.aliases import AliasTarget
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.router import Plan, Router, weighted_order

PROVIDERS = {
    "openai": {"models": ["gpt-6-luna", "shared"]},
    "groq": {"models": ["openai/gpt-oss-120b", "shared"]},
    "local": {},
}


def router(**config: Any) -> Router:
    """A router over three providers."""
    return Router(LLMServiceConfig.model_validate({"providers": PROVIDERS, **config}))


def planned(routing: Router, model: str | None = None, provider: str | None = None) -> list[str]:
    """The candidates as texts; a trailing slash stands for the provider's default model."""
    return [str(ref) for ref in routing.plan(model, provider, random.Random(0)).candidates]


@pytest.mark.parametrize(
    ("model", "provider", "candidates"),
    [
        ("openai/gpt-6-luna", None, ["openai/gpt-6-luna"]),
        ("openai/anything", None, ["openai/anything"]),
        ("groq/openai/gpt-oss-120b", None, ["groq/openai/gpt-oss-120b"]),
        ("gpt-6-luna", None, ["openai/gpt-6-luna"]),
        ("shared", None, ["openai/shared", "groq/shared"]),
        ("local", None, ["local/"]),
        (None, "local", ["local/"]),
        ("gpt-6-luna", "groq", ["groq/gpt-6-luna"]),
        ("groq/shared", "groq", ["groq/shared"]),
        ("openai/gpt-oss-120b", "groq", ["groq/openai/gpt-oss-120b"]),
        (None, None, ["openai/", "groq/", "local/"]),
    ],
)
def test_a_name_is_an_alias_a_reference_or_a_listed_model(
    model: str | None, provider: str | None, candidates: list[str]
) -> None:
    """Slashes inside a model's name stay in it."""
    assert planned(router(), model, provider) == candidates


def test_a_listed_model_whose_name_begins_like_a_provider_is_a_reference_to_that_provider() -> None:
    """`openai/gpt-oss-120b` names the provider openai; `groq/openai/…` names the other."""
    assert planned(router(), "openai/gpt-oss-120b") == ["openai/gpt-oss-120b"]


@pytest.mark.parametrize(
    ("alias", "candidates"),
    [
        ("openai/a", ["openai/a", "local/"]),
        ({"use": "openai/a", "fallback": []}, ["openai/a"]),
        ({"use": "openai/a", "fallback": ["groq/b", "local"]}, ["openai/a", "groq/b", "local/"]),
        ({"use": ["openai/a", "groq/b"], "fallback": ["openai/a"]}, ["openai/a", "groq/b"]),
        ({"use": "other", "fallback": []}, ["groq/x", "local/y"]),
        ({"use": "openai/a", "fallback": ["other"]}, ["openai/a", "groq/x", "local/y"]),
        ({"use": "openai/a", "fallback": ["openai", "local"]}, ["openai/a", "local/"]),
        ({"use": "shared", "fallback": []}, ["openai/shared", "groq/shared"]),
    ],
)
def test_an_alias_leads_to_its_models_and_then_to_its_fallbacks(alias: Any, candidates: list[str]) -> None:
    """Without fallbacks of its own it takes the general chain; nobody is asked twice."""
    models = {"fast": alias, "other": {"use": ["groq/x", "local/y"], "fallback": ["openai/never"]}}
    assert planned(router(models=models, fallback_chain=["local"]), "fast") == candidates


def test_the_default_model_is_used_where_none_is_asked_for() -> None:
    """It may be an alias."""
    routing = router(models={"fast": {"use": "groq/x", "fallback": []}}, default_model="fast")
    assert planned(routing) == ["groq/x"]


def test_without_a_default_model_the_fallback_chain_is_asked() -> None:
    """And the explanation says so."""
    plan = router(fallback_chain=["groq/x", "local"]).plan(None, None, random.Random(0))
    assert [str(ref) for ref in plan.candidates] == ["groq/x", "local/"]
    assert "fallback_chain" in plan.how


def test_round_robin_takes_turns() -> None:
    """Each call begins one model further; the others follow in order."""
    alias = {"use": ["openai/a", "groq/b", "local/c"], "strategy": "round_robin", "fallback": []}
    routing = router(models={"fast": alias})
    assert [planned(routing, "fast")[0] for _ in range(4)] == ["openai/a", "groq/b", "local/c", "openai/a"]
    assert planned(routing, "fast") == ["groq/b", "local/c", "openai/a"]


def test_defaults_of_an_alias_are_in_its_plan() -> None:
    """The fallback layer puts them on the request."""
    routing = router(models={"fast": {"use": "openai/a", "defaults": {"temperature": 0}}})
    assert routing.plan("fast", None, random.Random(0)).defaults == {"temperature": 0}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt-6-lune", "Did you mean 'gpt-6-luna'?"),
        ("fats", "Did you mean 'fast'?"),
        ("xyzzy", "Known aliases: fast"),
        ("opeani/gpt-6-luna", "no provider/model"),
    ],
)
def test_an_unknown_name_is_answered_with_what_is_close(name: str, hint: str) -> None:
    """The message says what was looked for and what there is."""
    with pytest.raises(UnknownModel) as caught:
        planned(router(models={"fast": "openai/a"}), name)
    assert repr(name) in str(caught.value)
    assert hint in str(caught.value)


def test_an_unknown_provider_is_answered_with_those_there_are() -> None:
    """Also where the model would be known elsewhere."""
    with pytest.raises(UnknownProvider, match="there are: openai, groq, local"):
        planned(router(), "gpt-6-luna", "opeani")


def test_a_configuration_without_providers_says_what_to_add() -> None:
    """The very first mistake of a new user."""
    with pytest.raises(UnknownModel, match="add one under llm_service"):
        Router(LLMServiceConfig()).plan(None, None, random.Random(0))


names = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def configurations(draw: st.DrawFn) -> LLMServiceConfig:
    """Providers that list some models, and aliases of every strategy."""
    listed = draw(st.dictionaries(st.sampled_from(["p", "q", "r"]), st.lists(names, unique=True), min_size=1))
    references = st.sampled_from([f"{provider}/{model}" for provider in listed for model in "ab"] + list(listed))
    alias = st.fixed_dictionaries(
        {
            "use": st.lists(
                st.fixed_dictionaries({"model": references, "weight": st.sampled_from([0, 1, 3])}),
                min_size=1,
                max_size=4,
            ),
            "fallback": st.none() | st.lists(references, max_size=3),
            "strategy": st.sampled_from(["ordered", "weighted", "round_robin"]),
        }
    )
    return LLMServiceConfig.model_validate(
        {
            "providers": {name: {"models": models} for name, models in listed.items()},
            "models": draw(st.dictionaries(st.sampled_from(["x", "y", "z"]), alias, min_size=1)),
            "fallback_chain": draw(st.lists(references, max_size=2)),
        }
    )


@settings(max_examples=200, deadline=None)
@given(config=configurations(), data=st.data(), seed=st.integers(0, 1000))
def test_a_peek_is_the_plan_that_comes_next(config: LLMServiceConfig, data: st.DataObject, seed: int) -> None:
    """Whatever the strategies, looking first changes nothing and says the truth."""
    routing, rng = Router(config), random.Random(seed)
    for name in data.draw(st.lists(st.sampled_from(sorted(config.models)), min_size=1, max_size=6)):
        peeking = random.Random()
        peeking.setstate(rng.getstate())
        peeked: Plan = routing.plan(name, None, peeking, peek=True)
        assert routing.plan(name, None, rng) == peeked
        assert len(set(peeked.candidates)) == len(peeked.candidates)
        assert {ref.provider for ref in peeked.candidates} <= set(config.providers)


def test_weights_decide_how_often_a_model_comes_first() -> None:
    """Three to one is three to one, within five standard deviations of ten thousand draws; zero comes last."""
    targets = [AliasTarget(model="a", weight=3), AliasTarget(model="b", weight=1), AliasTarget(model="z", weight=0)]
    rng = random.Random(5)
    orders = [weighted_order(targets, rng) for _ in range(10_000)]
    assert abs(sum(order[0] == "a" for order in orders) - 7500) < 220
    assert all(order[2] == "z" for order in orders)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6), st.integers(0, 1000))
def test_a_weighted_order_holds_every_model_once(weights: list[float], seed: int) -> None:
    """Nobody is lost, whatever the weights."""
    targets = [AliasTarget(model=str(number), weight=weight) for number, weight in enumerate(weights)]
    order = weighted_order(targets, random.Random(seed))
    assert sorted(order) == sorted(target.model for target in targets)
