"""The client that answers with an error instead of raising it."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from core.llm import LLMClient, LLMRequest, ResponseType
from core.llm.common.exceptions import (
    AllAttemptsFailed,
    LLMError,
    ProviderError,
    RequestError,
    ServiceStopping,
    StructuredOutputError,
    UnknownProvider,
)
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving


class Invoice(BaseModel):
    total: int


def client(world: World) -> LLMClient:
    """The client of the container."""
    return world.container.get(LLMClient)


async def test_text_comes_back_with_the_whole_answer() -> None:
    """One client per container."""
    async with serving() as world:
        world.alpha.will_answer("hello")
        response = await client(world).get_response("hi")
        assert (response.response_type, response.text, response.object, response.error) == ("text", "hello", None, None)
        assert response.ok
        assert response.response is not None
        assert response.response.provider == "alpha"
        assert response.trace is response.response.trace
        assert client(world) is client(world)


async def test_an_object_comes_back_typed() -> None:
    """With the raw text beside it."""
    async with serving() as world:
        world.alpha.will_answer('{"total": 3}')
        response = await client(world).get_response([{"role": "user", "content": "hi"}], Invoice)
        assert (response.response_type, response.object) == (ResponseType.OBJECT, Invoice(total=3))
        assert response.text == '{"total": 3}'


async def test_preferred_models_are_asked_in_order_and_then_the_default() -> None:
    """Every error on the way is there."""
    async with serving("alpha", "beta", "gamma", models={"spare": "gamma/m"}) as world:
        world.beta.will_raise(ProviderError("server_error", "down", retryable=False))
        world.gamma.will_raise(ProviderError("model_not_found", "gone"))
        world.alpha.will_answer("at last")
        preferred: list[tuple[str, str | None] | str] = [("nowhere", "m"), ("beta", "m"), "spare"]
        response = await client(world).get_response("hi", preferred_models=preferred)
        assert response.text == "at last"
        assert [type(error) for error in response.errors] == [UnknownProvider, ProviderError, ProviderError]
        world.beta.will_answer("first")
        assert (await client(world).get_response("hi", None, [("beta", "m")])).text == "first"


async def test_without_auto_only_the_preferred_models_are_asked() -> None:
    """The error names each of them."""
    async with serving() as world:
        for script in (world.alpha, world.beta):
            script.will_raise(ProviderError("server_error", "down", retryable=False))
        response = await client(world).get_response("hi", None, [("alpha", "m"), ("beta", None)], False)
        assert response.response_type is ResponseType.ERROR
        assert isinstance(response.error, AllAttemptsFailed)
        assert "alpha/m: down" in str(response.error)
        assert "beta/m: down" in str(response.error)
        assert response.trace is not None
        assert not response.ok


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"messages": []}, RequestError),
        ({"messages": "hi", "temperature": -1}, RequestError),
        ({"messages": "hi", "no_such_option": 1}, RequestError),
        ({"messages": object()}, RequestError),
        ({"messages": "hi", "preferred_models": [("a", "b", "c")]}, RequestError),
        ({"messages": "hi", "response_model": int}, RequestError),
        ({"messages": "hi", "timeout": "soon"}, RequestError),
        ({"messages": "hi", "model": "nowhere/m"}, RequestError),
    ],
)
async def test_wrong_arguments_are_errors_of_the_response_too(asked: dict[str, Any], kind: type[LLMError]) -> None:
    """Nothing but cancellation is raised."""
    async with serving() as world:
        response = await client(world).get_response(**asked)
        assert response.response_type is ResponseType.ERROR
        assert isinstance(response.error, kind)


async def test_a_refusal_is_not_routed_around() -> None:
    """Nor is a blocked prompt."""
    async with serving() as world:
        world.beta.will_answer("I won't", finish="refusal")
        response = await client(world).get_response("hi", Invoice, [("beta", "m")])
        assert isinstance(response.error, StructuredOutputError)
        assert (response.error.reason, response.text) == ("refused", "I won't")
        world.beta.will_raise(ProviderError("content_filter", "blocked", retryable=False))
        response = await client(world).get_response("hi", None, [("beta", "m")])
        assert isinstance(response.error, ProviderError)
        assert world.alpha.requests == []


async def test_what_does_not_fit_goes_on_to_the_next_model() -> None:
    """Another model may do better; without one the raw text is there."""
    async with serving() as world:
        world.beta.will_answer("no")
        world.beta.will_answer("no again")
        world.alpha.will_answer('{"total": 3}')
        response = await client(world).get_response("hi", Invoice, [("beta", "m")])
        assert response.object == Invoice(total=3)
        world.beta.will_answer("no")
        world.beta.will_answer("no again")
        response = await client(world).get_response("hi", Invoice, [("beta", "m")], auto=False)
        assert (response.response_type, response.text) == (ResponseType.ERROR, "no again")


@pytest.mark.parametrize(
    ("messages", "options"),
    [("hi", {"timeout": 10}), (LLMRequest(messages="hi", timeout=10), {})],
    ids=["option", "field"],
)
async def test_the_timeout_holds_for_all_models_together(messages: Any, options: dict[str, Any]) -> None:
    """A slow first one leaves less for the next, wherever the time is written."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        world.beta.will_raise(ProviderError("model_not_found", "gone"), delay=6)
        world.alpha.will_hold("late")
        asking = asyncio.ensure_future(client(world).get_response(messages, None, [("beta", "m")], **options))
        while not world.beta.requests:
            await asyncio.sleep(0)
        await clock.advance(11)
        assert asking.done()
        response = await asking
        assert [type(error) for error in response.errors] == [ProviderError]
        assert clock.elapsed() == 11


async def test_cancellation_passes() -> None:
    """As always."""
    async with serving() as world:
        gate = world.alpha.will_hold("never")
        asking = asyncio.ensure_future(client(world).get_response("hi"))
        await gate.reached()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert world.leases() == 0


async def test_a_stopped_service_is_an_error_like_any_other() -> None:
    """And no reason to ask further models."""
    async with serving() as world:
        kept = client(world)
    response = await kept.get_response("hi", None, [("alpha", "m"), ("beta", "m")])
    assert isinstance(response.error, ServiceStopping)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"preferred_models": "alpha/m"}, "preferred_models is a list"),
        ({"preferred_models": [("alpha",)]}, r"\(provider, model\) pairs"),
        ({"preferred_models": [3]}, r"\(provider, model\) pairs"),
        ({"response_model": int}, "pydantic.BaseModel"),
    ],
)
async def test_what_is_wrong_with_the_arguments_is_said(asked: dict[str, Any], message: str) -> None:
    """Not just the name of a Python error."""
    async with serving() as world:
        response = await world.container.get(LLMClient).get_response("hi", **asked)
        assert response.response_type is ResponseType.ERROR
        with pytest.raises(RequestError, match=message):
            raise response.error or AssertionError
        assert world.alpha.requests == []


async def test_a_model_that_costs_too_much_is_followed_by_the_next_one() -> None:
    """The limit of a call holds at each of them; the cheap one keeps to it."""
    models = {"m": {"price": {"input": 1_000_000, "output": 1_000_000}}}
    cheap = {"m": {"price": {"input": 1, "output": 1}}}
    async with serving(providers={"alpha": {"models": models}, "beta": {"models": cheap}}) as world:
        response = await world.container.get(LLMClient).get_response(
            "hi", preferred_models=["alpha/m", "beta/m"], auto=False, cost_limit=0.1, max_tokens=10
        )
        assert (response.text, world.alpha.requests) == ("hi", [])
