"""What the service says about itself without sending anything."""

import contextlib
import random
from typing import Any

import pytest

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import ModelRef
from tests.unit.llm.support import World, serving

NO_TOOLS = {"models": {"m": {"capabilities": ["chat", "stream"]}, "n": {}}}


async def test_an_explanation_reads_like_the_decision() -> None:
    """How the name was understood, who is first, who is skipped and why."""
    config: dict[str, Any] = {
        "models": {"fast": {"use": ["alpha/m", "beta/m"], "fallback": ["gamma"]}},
        "providers": {"alpha": {"enabled": False}, "gamma": {"models": []}},
    }
    async with serving("alpha", "beta", "gamma", **config) as world:
        found = world.service.explain("hi", model="fast")
        assert found.first == ModelRef("beta", "m")
        assert str(found) == (
            "fast: alias 'fast' (ordered) (configuration generation 1)\n"
            "  alpha/m: skipped (enabled: false)\n"
            "  beta/m: first\n"
            "  gamma/(its default model): next"
        )
        assert world.beta.requests == []


async def test_a_default_model_that_cannot_take_the_request_is_not_said_to_be_first() -> None:
    """Also where the chain names the provider only."""
    async with serving(fallback_chain=["alpha", "beta"], default_model=None, providers={"alpha": NO_TOOLS}) as world:
        found = world.service.explain("hi", tools=[{"name": "look_up"}])
        assert [candidate.verdict for candidate in found.candidates] == ["skipped", "first"]


async def test_an_explanation_where_nobody_is_left_has_no_first() -> None:
    """Every reason is listed."""
    async with serving(providers={"alpha": NO_TOOLS}) as world:
        found = world.service.explain("hi", model="alpha/m", tools=[{"name": "look_up"}])
        assert found.first is None
        assert "the model does not support tools" in str(found)


def a_world_config(rng: random.Random) -> dict[str, Any]:
    """Three providers with facts and switches, four aliases of all strategies."""
    names = ["alpha", "beta", "gamma"]
    references = [f"{name}/{model}" for name in names for model in "mn"] + names

    def some(least: int, most: int) -> list[str]:
        return rng.sample(references, rng.randint(least, most))

    providers: dict[str, Any] = {}
    for name in names:
        capabilities = rng.choice([None, ["chat", "stream"], ["chat", "stream", "tools"]])
        window = rng.choice([None, 5, 100_000])
        facts = {"capabilities": capabilities, "context_window": window}
        providers[name] = {"models": {"m": facts, "n": {}}, "enabled": rng.random() < 0.8}
        if rng.random() < 0.5:
            providers[name]["default_model"] = rng.choice("mn")
    aliases = {
        f"alias{number}": {
            "use": [{"model": model, "weight": rng.choice([1, 2])} for model in some(1, 3)],
            "strategy": rng.choice(["ordered", "weighted", "round_robin"]),
            "fallback": rng.choice([None, some(0, 2)]),
        }
        for number in range(4)
    }
    return {"providers": providers, "models": aliases, "fallback_chain": some(0, 2)}


async def first_hop(world: World, options: dict[str, Any], messages: str) -> ModelRef | None:
    """Where a call really goes first; `None` where nothing is sent."""
    before = {name: len(script.requests) for name, script in world.scripts.items()}
    with contextlib.suppress(LLMError):
        await world.service.generate(messages, **options)
    sent = [
        ModelRef(name, script.requests[-1].model)
        for name, script in world.scripts.items()
        if len(script.requests) > before[name]
    ]
    assert len(sent) <= 1
    return sent[0] if sent else None


@pytest.mark.parametrize("seed", range(10))
async def test_the_explained_first_candidate_is_the_one_that_is_asked(seed: int) -> None:
    """Two hundred random requests on ten random configurations: no explanation is ever wrong."""
    rng = random.Random(seed)
    async with serving("alpha", "beta", "gamma", seed=seed, **a_world_config(rng)) as world:
        for _ in range(20):
            options: dict[str, Any] = {"model": rng.choice(["alias0", "alias1", "alias2", "alias3", "beta", "gamma/n"])}
            if rng.random() < 0.3:
                options["tools"] = [{"name": "look_up"}]
            if rng.random() < 0.1:
                options["provider"] = rng.choice(["alpha", "beta"])
                options["model"] = None
            messages = rng.choice(["short", "long " * 40])
            explained = world.service.explain(messages, **options)
            assert await first_hop(world, options, messages) == explained.first, explained


async def test_available_models_are_aliases_first_and_say_why_not() -> None:
    """A model behind a provider that is off is listed with the reason, said once however many there are."""
    config: dict[str, Any] = {
        "models": {
            "fast": {"use": ["beta/m", "beta/n"], "fallback": []},
            "both": {"use": ["alpha/m", "beta"], "fallback": []},
        },
        "providers": {"alpha": NO_TOOLS, "beta": {"enabled": False}},
    }
    async with serving(**config) as world:
        found = {model.name: model for model in world.service.get_available_models()}
        assert list(found) == ["fast", "both", "alpha/m", "alpha/n", "beta/m"]
        assert (found["fast"].available, found["fast"].reason) == (False, "beta: enabled: false")
        assert (found["both"].available, found["both"].targets) == (True, ("alpha/m", "beta"))
        assert found["alpha/m"].capabilities == {"chat", "stream"}
        assert (found["beta/m"].kind, found["beta/m"].available) == ("model", False)


async def test_the_status_of_a_provider_follows_its_calls() -> None:
    """Two failures in a row make it failing, one answer makes it ready."""
    async with serving(providers={"beta": {"enabled": False}}) as world:
        assert {name: one.state for name, one in world.service.get_provider_status().items()} == {
            "alpha": "ready",
            "beta": "off",
        }
        for number in range(2):
            world.alpha.will_raise(ProviderError("server_error", f"failure {number}"))
            with pytest.raises(ProviderError):
                await world.service.generate("hi")
        failing = world.service.get_provider_status()["alpha"]
        assert (failing.state, failing.consecutive_failures) == ("failing", 2)
        assert "failure 1" in failing.reason
        assert failing.last_failure is not None
        await world.service.generate("hi")
        ready = world.service.get_provider_status()["alpha"]
        assert (ready.state, ready.reason, ready.consecutive_failures) == ("ready", "", 0)
        assert ready.last_success is not None
