"""Limits of a single request, through the whole service."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from core.llm.common.events import CallFailed
from core.llm.common.exceptions import (
    AllAttemptsFailed,
    BudgetExceeded,
    ProviderError,
    RateLimited,
    RequestError,
    StructuredOutputError,
)
from core.llm.common.types import Usage
from tests.unit.llm.support import World, serving, settings

DEAR = {"models": {"m": {"price": {"input": 1000, "output": 1000}}}}
CHEAP = {"models": {"m": {"price": {"input": 1, "output": 1}}}}


def hits(world: World) -> tuple[int, int]:
    """Requests that reached the two providers."""
    return len(world.alpha.requests), len(world.beta.requests)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"request_limits": {"max_cost": 0.01}}, {}),
        ({}, {"cost_limit": 0.01}),
        ({"request_limits": {"max_cost": 5}}, {"cost_limit": 0.01}),
        ({"models": {"a": {"use": "alpha/m", "limits": {"max_cost": 0.01}}}}, {"model": "a"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_S67_a_call_that_may_cost_more_than_its_limit_hits_nobody(
    config: dict[str, Any], options: dict[str, Any], stream: bool
) -> None:
    """Streamed or not, whoever set the limit; and `explain` says so."""
    async with serving(providers={"alpha": DEAR}, **config) as world:
        with pytest.raises(BudgetExceeded):
            if stream:
                await world.service.stream("hi", max_tokens=1000, **options).response()
            else:
                await world.service.generate("hi", max_tokens=1000, **options)
        assert hits(world) == (0, 0)
        assert "the limit of this call is 0.01" in str(world.service.explain("hi", max_tokens=1000, **options))
        assert world.leases() == 0


async def test_S68_the_next_candidate_may_be_cheap_enough() -> None:
    """Each is looked at with its own price."""
    async with serving(providers={"alpha": DEAR, "beta": CHEAP}, models={"a": {"use": ["alpha", "beta"]}}) as world:
        response = await world.service.generate("hi", model="a", max_tokens=1000, cost_limit=0.01)
        assert response.provider == "beta"
        assert hits(world) == (0, 1)


async def test_S67_retries_count_what_was_already_spent() -> None:
    """A chain of attempts whose outcome nobody knows ends before it has cost more than allowed."""
    config: dict[str, Any] = {"providers": {"alpha": DEAR}, "retries": 10, "models": {"a": "alpha/m"}}
    async with serving(**config) as world:
        for _ in range(10):
            world.alpha.will_raise(ProviderError("protocol", "cut", code="cut", billing="ambiguous"))
        with pytest.raises((BudgetExceeded, AllAttemptsFailed)):
            await world.service.generate("word " * 100, model="a", max_tokens=10, cost_limit=0.35)
        sent = len(world.alpha.requests)
        assert 1 < sent < 5


async def test_S64_an_answer_is_capped_and_says_so() -> None:
    """Streamed or not."""
    async with serving(request_limits={"max_output_tokens": 50}) as world:
        response = await world.service.generate("hi", max_tokens=70)
        assert [(one.code, one.parameter) for one in response.warnings] == [("clamped", "max_tokens")]
        assert world.alpha.last_request.params.max_tokens == 50
        streamed = await world.service.stream("hi", max_tokens=70).response()
        assert [one.code for one in streamed.warnings] == ["clamped"]
        quiet = await world.service.generate("hi")
        assert (quiet.warnings, world.alpha.last_request.params.max_tokens) == ((), 50)


async def test_S64_calls_of_one_user_are_bounded_across_a_reload() -> None:
    """A new configuration does not forget who has calls in flight."""
    async with serving(request_limits={"max_concurrency": 1}) as world:
        gate = world.alpha.will_hold("hello")
        task = asyncio.ensure_future(world.service.generate("one", user="ann"))
        while not world.alpha.requests:
            await asyncio.sleep(0)
        with pytest.raises(RateLimited):
            await world.service.generate("two", user="ann")
        await world.service.generate("two", user="bob")
        await world.manager.replace(settings(world.scripts, request_limits={"max_concurrency": 1}, timeout="50s"))
        with pytest.raises(RateLimited):
            await world.service.generate("two", user="ann")
        gate.open()
        await task
        await world.service.generate("three", user="ann")


async def test_S65_a_request_that_is_too_large_leaves_no_trace_of_a_lease() -> None:
    """It is refused before routing."""
    async with serving(request_limits={"max_input_bytes": "1KiB"}) as world:
        with pytest.raises(RequestError, match="max_input_bytes"):
            await world.service.generate("x" * 1025)
        with pytest.raises(RequestError, match="max_input_bytes"):
            await world.service.embed(["x" * 1025])
        assert (hits(world), world.leases()) == ((0, 0), 0)


class Point(BaseModel):
    """What nobody gets."""

    x: int


async def test_S67_an_object_that_nobody_gets_is_paid_for_and_counted() -> None:
    """Both answers are in the usage of the failed call, and in what the call has spent."""
    async with serving(providers={"alpha": CHEAP}, models={"a": {"use": ["alpha/m", "beta/m"]}}) as world:
        seen: list[CallFailed] = []
        world.events.subscribe(lambda event: seen.append(event) if isinstance(event, CallFailed) else None, CallFailed)
        for _ in range(2):
            world.alpha.will_answer("no object at all", usage=Usage(100, output=10))
        with pytest.raises(StructuredOutputError) as caught:
            await world.service.generate_object("hi", Point, model="alpha/m")
        assert caught.value.usage is not None
        assert [event.usage for event in seen] == [caught.value.usage]
        assert caught.value.usage.input == 200
