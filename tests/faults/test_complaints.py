"""The complaints about clients and routers that keep coming back, by number: retries, streams, keys and errors.

The table says for each of the thirty where it is tested.
"""

import re
from pathlib import Path

import pytest

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import Usage
from core.llm.providers.config.models.provider import TimeoutOptions
from core.llm.providers.config.models.service import LLMServiceConfig, RetryOptions
from core.llm.testing import FakeClock
from tests.unit.llm.support import serving

TESTS = Path(__file__).parents[1]
CHAIN = {"chain": {"use": "alpha/m", "fallback": ["beta/m"]}, "alone": {"use": "alpha/m", "fallback": []}}

ELSEWHERE = {
    1: "architecture/test_light_import.py",
    2: "architecture/test_light_import.py",
    3: "architecture/test_dependencies.py",
    4: "architecture/test_imports.py",
    5: "leaks.py",
    6: "leaks.py",
    9: "unit/dialects/test_anthropic_stream.py",
    15: "unit/routing/test_fit.py",
    16: "matrix",
    22: "unit/limiting",
    23: "faults/test_router_defects_budgets.py",
    24: "reload",
    27: "unit/pipeline/test_request_key.py",
    28: "unit/pipeline/test_target.py",
    29: "unit/providers/ollama",
    30: "unit/llm/test_module.py",
}
"""Complaints about something else than routing, retries, streams, keys and errors, and where their tests lie."""


def complaints_tested_here() -> set[int]:
    """Numbers in the names of the tests of this file."""
    return {int(number) for number in re.findall(r"def test_complaint_(\d+)", Path(__file__).read_text())}


def test_every_complaint_is_accounted_for():
    """None of the thirty is forgotten, and what is said to lie elsewhere lies there."""
    here = complaints_tested_here()
    assert sorted(here & ELSEWHERE.keys()) == []
    assert sorted(set(range(1, 31)) - here - ELSEWHERE.keys()) == []
    assert [place for place in ELSEWHERE.values() if not (TESTS / place).exists()] == []


async def test_complaint_07_cached_tokens_are_counted_once():
    """Buckets are disjoint: their sum is what the provider charged for."""
    async with serving(
        providers={"alpha": {"models": {"m": {"price": {"input": 2, "output": 10, "cache_read": 1}}}}}
    ) as world:
        world.alpha.will_answer("hi", usage=Usage(100, output=10, cache_read=900))
        response = await world.service.generate("hi")
    assert response.usage.total == 1010
    assert response.cost is not None
    assert response.cost.amount * 10**6 == 100 * 2 + 900 * 1 + 10 * 10


@pytest.mark.parametrize("how", ["whole", "broken"])
async def test_complaint_08_a_stream_has_its_usage_whole_or_not(how):
    """The provider's own count where it came, an estimate that says so where it did not."""
    async with serving() as world:
        if how == "whole":
            world.alpha.will_stream("Hel", "lo", usage=Usage(7, output=2))
            async with world.service.stream("hi") as events:
                response = await events.response()
            assert (response.usage.input, response.usage.output, response.usage.estimated) == (7, 2, False)
            return
        world.alpha.will_stream("Hel", "lo", ProviderError("protocol", "cut", code="truncated"))
        with pytest.raises(ProviderError) as caught:
            async with world.service.stream("hi") as events:
                await events.response()
        assert caught.value.billing == "estimated"


@pytest.mark.parametrize("policy", ["error", "restart"])
async def test_complaint_10_12_a_cut_stream_goes_on_elsewhere_only_where_that_is_asked_for(policy):
    """By default the error with what was delivered; with `restart` a reset event and the whole answer of another."""
    models = {"chain": {**CHAIN["chain"], "mid_stream": policy}}
    async with serving(models=models) as world:
        world.alpha.will_stream("The quick ", ProviderError("protocol", "cut", code="truncated"))
        world.beta.will_answer("The whole answer")
        events, error = [], None
        try:
            async with world.service.stream("hi", model="chain") as stream:
                events = [event async for event in stream]
                response = await stream.response()
        except LLMError as broken:
            error = broken
        if policy == "error":
            assert isinstance(error, ProviderError)
            assert error.partial is not None
            assert len(world.beta.requests) == 0
        else:
            assert error is None
            assert response.content == "The whole answer"
            assert "StreamReset" in [type(event).__name__ for event in events]


async def test_complaint_12_streams_restart_for_callers_that_can_redraw():
    """See complaint 10: the same test holds both; here, that nothing is reset where nothing was delivered."""
    models = {"chain": {**CHAIN["chain"], "mid_stream": "restart"}}
    async with serving(models=models) as world:
        world.alpha.will_raise(ProviderError("server_error", "down"))
        async with world.service.stream("hi", model="chain") as stream:
            names = [type(event).__name__ async for event in stream]
        assert "StreamReset" not in names


@pytest.mark.parametrize("mode", ["generate", "stream"])
async def test_complaint_11_no_fallback_means_none_in_both_modes(mode):
    """One code path: what holds for whole answers holds for streams."""
    async with serving(models=CHAIN) as world:
        world.alpha.will_raise(ProviderError("model_not_found", "gone"))
        with pytest.raises(ProviderError):
            if mode == "generate":
                await world.service.generate("hi", model="alone")
            else:
                async with world.service.stream("hi", model="alone") as events:
                    await events.response()
        assert len(world.beta.requests) == 0


async def test_complaint_13_a_stream_that_has_only_begun_may_still_fall_back():
    """The commit point is the first visible output, not the first byte."""
    async with serving(models=CHAIN) as world:
        world.alpha.will_stream(ProviderError("server_error", "down after its head"))
        async with world.service.stream("hi", model="chain") as events:
            response = await events.response()
        assert response.provider == "beta"


@pytest.mark.parametrize("mode", ["generate", "stream"])
async def test_complaint_14_a_refusal_is_reported_not_routed_around(mode):
    """Unless the alias names somebody for it."""
    async with serving(models=CHAIN) as world:
        world.alpha.will_raise(ProviderError("content_filter", "no"))
        with pytest.raises(ProviderError) as caught:
            if mode == "generate":
                await world.service.generate("hi", model="chain")
            else:
                async with world.service.stream("hi", model="chain") as events:
                    await events.response()
        assert caught.value.type == "content_filter"
        assert len(world.beta.requests) == 0


async def test_complaint_17_the_answer_and_the_error_tell_what_happened():
    """Every candidate with its reason, every attempt with its outcome."""
    async with serving(models=CHAIN) as world:
        world.alpha.will_raise(ProviderError("server_error", "down"))
        response = await world.service.generate("hi", model="chain")
        assert response.trace is not None
        assert [str(entry.target) for entry in response.trace.candidates] == ["alpha/m", "beta/m"]
        assert [attempt.decision for attempt in response.trace.attempts] == ["next_candidate", "answered"]
        world.alpha.will_raise(ProviderError("invalid_request", "no"))
        with pytest.raises(ProviderError) as caught:
            await world.service.generate("hi", model="alone")
        assert caught.value.trace is not None
        assert "no" in caught.value.trace.describe()


async def test_complaint_18_one_owner_of_retries():
    """With two retries a call makes three requests, and not the square of that."""
    clock = FakeClock(auto_advance=True)
    async with serving(clock=clock, models=CHAIN, retries=2) as world:
        for _ in range(20):
            world.alpha.will_raise(ProviderError("rate_limit", "slow down"))
        with pytest.raises(ProviderError):
            await world.service.generate("hi", model="alone")
        assert len(world.alpha.requests) == 3


async def test_complaint_19_20_a_dead_primary_is_left_alone_at_once_and_visibly():
    """After three failures, not at the next sweep; the status says until when."""
    clock = FakeClock()
    async with serving(clock=clock, models=CHAIN) as world:
        for _ in range(20):
            world.alpha.will_raise(ProviderError("network_error", "refused", code="connect"))
        for _ in range(20):
            assert (await world.service.generate("hi", model="chain")).provider == "beta"
        assert len(world.alpha.requests) == 3
        status = world.service.get_provider_status()["alpha"]
        assert status.state == "open"
        assert status.next_try is not None
        assert 3.0 < status.next_try <= 6.0


async def test_complaint_20_the_breaker_is_in_the_library():
    """See complaint 19; the same holds without a fallback: refused at once, with the time to come back."""
    clock = FakeClock()
    async with serving(clock=clock, models=CHAIN) as world:
        for _ in range(20):
            world.alpha.will_raise(ProviderError("server_error", "down"))
        for _ in range(3):
            with pytest.raises(ProviderError):
                await world.service.generate("hi", model="alone")
        with pytest.raises(ProviderError) as caught:
            await world.service.generate("hi", model="alone")
        assert caught.value.code == "circuit_open"
        assert caught.value.retry_after is not None


def test_complaint_21_every_phase_has_a_finite_limit():
    """No call waits for hours unless somebody writes that down."""
    options = TimeoutOptions()
    assert max(options.connect, options.first_token, options.idle, options.progress, options.total) <= 600.0
    assert LLMServiceConfig().timeout <= 600.0
    assert RetryOptions().max_retry_after <= 60.0


async def test_complaint_25_no_key_is_in_an_error_or_a_status():
    """Keys are told apart by a fingerprint."""
    async with serving(providers={"alpha": {"api_keys": ["sk-canary-0123456789"]}}) as world:
        world.alpha.will_raise(ProviderError("authentication", "refused"))
        with pytest.raises(ProviderError) as caught:
            await world.service.generate("hi")
        assert "canary" not in f"{caught.value!r} {caught.value.trace} {world.service.get_provider_status()}"


async def test_complaint_26_the_key_of_a_provider_is_not_fixed_at_construction():
    """The call after an edit carries the new key; the service in the caller's hand is the same object."""
    async with serving(providers={"alpha": {"api_keys": ["old-key"]}}) as world:
        await world.service.generate("hi")
        config = world.manager.current
        edited = config.providers["alpha"].model_validate(
            {"type": "scripted", "script": world.alpha.name, "models": ["m"], "api_keys": ["new-key"]}
        )
        providers = {**config.providers, "alpha": edited}
        assert (await world.manager.replace(config.model_copy(update={"providers": providers}))).status == "applied"
        await world.service.generate("hi")
        assert [request.api_key for request in world.alpha.requests] == ["old-key", "new-key"]
