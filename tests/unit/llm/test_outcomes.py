"""Goal 36: outcomes that the host reports, and what becomes of them."""

import gc
import math
import weakref
from typing import Any

import pytest

from core.llm.common.decisions import OutcomeReported
from core.llm.common.exceptions import ProviderError, RequestError, UnknownModel
from core.llm.common.types import ModelRef
from core.llm.providers.base.response import LLMResponse
from tests.unit.llm.support import World, serving, settings

ALIASES: dict[str, Any] = {"a": {"use": ["alpha/m", "beta/m"], "strategy": "bandit", "fallback": []}}


def arms(world: World, alias: str = "a") -> dict[str, Any]:
    """The report by provider."""
    return {arm.target.provider: arm for arm in world.service.experiment_report(alias).arms}


async def test_G36_an_outcome_is_learnt_by_the_model_that_answered_also_after_a_reload() -> None:
    """By the response, long after the call has ended."""
    async with serving(models=ALIASES) as world:
        response = await world.service.generate("hi", model="a")
        await world.manager.replace(settings(world.scripts, models=ALIASES, timeout="50s"))
        assert world.service.score(response, 0.8)
        found = arms(world)[response.provider]
        assert (found.answered, found.scores, found.mean_score) == (1, 1, 0.8)


@pytest.mark.parametrize("mode", ["generate", "stream", "embed"])
async def test_G36_an_outcome_may_name_the_call_by_its_id(mode: str) -> None:
    """For a host that keeps nothing but the id, and gets the verdict of a user the next day."""
    async with serving(models=ALIASES) as world:
        answer: Any
        if mode == "stream":
            answer = await world.service.stream("hi", model="a").response()
        elif mode == "embed":
            answer = await world.service.embed("hi", model="a")
        else:
            answer = await world.service.generate("hi", model="a")
        assert world.service.score(answer.trace.call_id, 1.0)
        assert arms(world)[answer.provider].scores == 1


async def test_G36_an_outcome_is_an_event_with_its_labels() -> None:
    """Also where nobody can learn from it: a call without an alias, or one that is forgotten."""
    async with serving(models=ALIASES) as world:
        seen: list[Any] = []
        world.events.subscribe(seen.append, OutcomeReported)
        response = await world.service.generate("hi", model="a")
        plain = await world.service.generate("hi", model="beta/m")
        assert world.service.score(response, 1, by="user") is True
        assert world.service.score(plain, 1) is False
        assert world.service.score("forgotten", -1.0) is False
        assert response.trace is not None
        target = ModelRef(response.provider, "m")
        assert seen[0] == OutcomeReported(response.trace.call_id, 1, "a", target, {"by": "user"})
        assert [(event.alias, event.target) for event in seen[1:]] == [(None, None)] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_an_outcome_that_is_no_number_is_refused(value: float) -> None:
    """One of them would spoil every average."""
    async with serving(models=ALIASES) as world:
        response = await world.service.generate("hi", model="a")
        with pytest.raises(RequestError, match="finite"):
            world.service.score(response, value)
        with pytest.raises(RequestError, match="no trace"):
            world.service.score(LLMResponse((), response.finish_reason), 1.0)


async def test_G36_a_response_is_not_kept_alive_by_its_outcome() -> None:
    """What is remembered is an id, an alias and a model."""
    async with serving(models=ALIASES) as world:
        response = await world.service.generate("hi", model="a")
        world.service.score(response, 1.0)
        trace = weakref.ref(response.trace) if hasattr(type(response.trace), "__weakref__") else None
        identity = id(response)
        del response
        assert not any(id(one) == identity and isinstance(one, LLMResponse) for one in gc.get_objects())
        assert trace is None or trace() is None


async def test_G36_calls_go_to_the_better_model() -> None:
    """Through the whole service: reported outcomes decide who is asked."""
    async with serving(models=ALIASES, seed=3) as world:
        last: list[str] = []
        for _ in range(300):
            response = await world.service.generate("hi", model="a")
            world.service.score(response, 0.9 if response.provider == "beta" else 0.2)
            last.append(response.provider)
        assert last[-100:].count("beta") > 90
        report = world.service.experiment_report("a")
        assert report.strategy == "bandit"
        assert "beta/m" in str(report)
        assert sum(arm.share for arm in report.arms) == pytest.approx(1.0)


async def test_G36_a_model_that_fails_is_asked_less_without_any_outcome() -> None:
    """Nobody has to report that a call failed."""
    aliases = {"a": {**ALIASES["a"], "fallback": ["gamma/m"]}}
    async with serving("alpha", "beta", "gamma", models=aliases, seed=1) as world:
        for _ in range(40):
            world.alpha.will_raise(ProviderError("model_not_found", "gone"))
        for _ in range(60):
            await world.service.generate("hi", model="a")
        found = arms(world)
        assert 0 < found["alpha"].failed < 20
        assert found["alpha"].failed == len(world.alpha.requests)
        assert found["beta"].answered == 60


async def test_G36_an_explanation_is_what_the_bandit_then_does() -> None:
    """Nobody's turn is used up by asking."""
    async with serving(models=ALIASES, seed=5) as world:
        for _ in range(30):
            explained = world.service.explain("hi", model="a")
            response = await world.service.generate("hi", model="a")
            assert explained.first == ModelRef(response.provider, "m")


async def test_a_b_tests_are_weights_and_a_report() -> None:
    """Shares follow the weights, and what is known about each arm stands side by side."""
    aliases = {
        "a": {"use": [{"model": "alpha/m", "weight": 9}, {"model": "beta/m", "weight": 1}], "strategy": "weighted"}
    }
    async with serving(models=aliases) as world:
        for _ in range(200):
            await world.service.generate("hi", model="a")
        found = arms(world)
        assert 0.8 < found["alpha"].share < 0.97
        assert found["beta"].mean_seconds is not None
        with pytest.raises(UnknownModel):
            world.service.experiment_report("nothing")


async def test_an_alias_with_one_model_is_no_experiment() -> None:
    """Nothing is remembered about its calls."""
    async with serving(models={"a": "alpha/m"}) as world:
        response = await world.service.generate("hi", model="a")
        assert response.trace is not None
        assert world.service.score(response.trace.call_id, 1.0) is False
        assert [arm.answered for arm in world.service.experiment_report("a").arms] == [0]
