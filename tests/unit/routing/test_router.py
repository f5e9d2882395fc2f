"""From the model a caller asks for to the candidates that may answer."""

import random
from decimal import Decimal
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.exceptions import UnknownModel, UnknownProvider
from core.llm.common.types import ModelFacts, ModelRef, Price
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.aliases import BuiltInStrategy
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.plan import Plan
from core.llm.routing.router import Router
from core.llm.routing.snapshot import Candidate

PROVIDERS = {
    "openai": {"models": ["gpt-6-luna", "shared"]},
    "groq": {"models": ["openai/gpt-oss-120b", "shared"]},
    "local": {},
}


def router(**config: Any) -> Router:
    """A router over three providers."""
    return Router(LLMServiceConfig.model_validate({"providers": PROVIDERS, **config}))


def asking(model: str | None = None, provider: str | None = None) -> LLMRequest:
    """A request for that model."""
    return LLMRequest(messages="hi", model=model, provider=provider)


def planned(routing: Router, model: str | None = None, provider: str | None = None) -> list[str]:
    """The candidates as texts; a trailing slash stands for the provider's default model."""
    return [str(ref) for ref in routing.plan(asking(model, provider), "generate", random.Random(0)).candidates]


@pytest.mark.parametrize(
    ("model", "provider", "candidates"),
    [
        ("openai/gpt-6-luna", None, ["openai/gpt-6-luna"]),
        ("openai/anything", None, ["openai/anything"]),
        ("groq/openai/gpt-oss-120b", None, ["groq/openai/gpt-oss-120b"]),
        ("gpt-6-luna", None, ["openai/gpt-6-luna"]),
        ("shared", None, ["openai/shared", "groq/shared"]),
        ("local", None, ["local"]),
        (None, "local", ["local"]),
        ("gpt-6-luna", "groq", ["groq/gpt-6-luna"]),
        ("groq/shared", "groq", ["groq/shared"]),
        ("openai/gpt-oss-120b", "groq", ["groq/openai/gpt-oss-120b"]),
        (None, None, ["openai", "groq", "local"]),
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
        ("openai/a", ["openai/a", "local"]),
        ({"use": "openai/a", "fallback": []}, ["openai/a"]),
        ({"use": "openai/a", "fallback": ["groq/b", "local"]}, ["openai/a", "groq/b", "local"]),
        ({"use": ["openai/a", "groq/b"], "fallback": ["openai/a"]}, ["openai/a", "groq/b"]),
        ({"use": "other", "fallback": []}, ["groq/x", "local/y"]),
        ({"use": "openai/a", "fallback": ["other"]}, ["openai/a", "groq/x", "local/y"]),
        ({"use": "openai/a", "fallback": ["openai", "local"]}, ["openai/a", "local"]),
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
    plan = router(fallback_chain=["groq/x", "local"]).plan(asking(), "generate", random.Random(0))
    assert [str(ref) for ref in plan.candidates] == ["groq/x", "local"]
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
    assert routing.plan(asking("fast"), "generate", random.Random(0)).defaults == {"temperature": 0}


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


def test_an_unknown_name_is_answered_with_the_models_where_there_are_no_aliases() -> None:
    """A small configuration has none."""
    with pytest.raises(UnknownModel, match="Known models: openai/gpt-6-luna, "):
        planned(router(), "xyzzy")


def test_an_unknown_provider_is_answered_with_those_there_are() -> None:
    """Also where the model would be known elsewhere."""
    with pytest.raises(UnknownProvider, match="there are: openai, groq, local"):
        planned(router(), "gpt-6-luna", "opeani")


def test_a_configuration_without_providers_says_what_to_add() -> None:
    """The very first mistake of a new user."""
    with pytest.raises(UnknownModel, match="add one under llm_service"):
        Router(LLMServiceConfig()).plan(asking(), "generate", random.Random(0))


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
            "strategy": st.sampled_from(get_args(BuiltInStrategy)),
            "sticky_by": st.none() | st.sampled_from(["user", "prompt", "team"]),
        }
    )
    return LLMServiceConfig.model_validate(
        {
            "providers": {name: {"models": models} for name, models in listed.items()},
            "models": draw(st.dictionaries(st.sampled_from(["x", "y", "z"]), alias, min_size=1)),
            "fallback_chain": draw(st.lists(references, max_size=2)),
        }
    )


class Still(NamedTuple):
    """Shows every model as it was drawn, and the same each time."""

    seed: int

    def candidate(self, ref: ModelRef, weight: float) -> Candidate:
        """Some numbers that depend on the name only."""
        rng = random.Random(f"{ref} {self.seed}")
        return Candidate(
            ref,
            weight,
            in_flight=rng.randint(0, 3),
            latency=rng.choice([None, 1.0, 2.0]),
            first_token=rng.choice([None, 0.1, 0.2]),
            error_rate=rng.choice([0.0, 1.0]),
            headroom=rng.random(),
            price=rng.choice([None, Price(Decimal(1), Decimal(2))]),
            loaded=rng.choice([None, True, False]),
            rests=rng.random() < 0.3,
        )

    def facts(self, ref: ModelRef) -> ModelFacts | None:
        """Nothing."""
        return None

    def arms(self, alias: str) -> dict[ModelRef, Any]:
        """Nothing."""
        return {}


@settings(max_examples=300, deadline=None)
@given(config=configurations(), data=st.data(), seed=st.integers(0, 1000))
def test_a_peek_is_the_plan_that_comes_next(config: LLMServiceConfig, data: st.DataObject, seed: int) -> None:
    """Whatever the strategies, looking first changes nothing and says the truth."""
    routing, rng = Router(config, Still(seed)), random.Random(seed)
    for name in data.draw(st.lists(st.sampled_from(sorted(config.models)), min_size=1, max_size=6)):
        user = data.draw(st.sampled_from([None, "ada", "bob"]))
        request = LLMRequest(messages="hi", model=name, user=user)
        peeked: Plan = routing.plan(request, "stream", rng, peek=True)
        assert routing.plan(request, "stream", rng) == peeked
        assert len(set(peeked.candidates)) == len(peeked.candidates)
        assert set(peeked.candidates) == set(routing.members(name).candidates)
        assert {ref.provider for ref in peeked.candidates} <= set(config.providers)
