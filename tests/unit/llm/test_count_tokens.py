"""How many tokens a prompt has, and who says so."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.types import Usage
from core.llm.providers.base.request import ChatRequest
from core.llm.testing import ScriptedProvider
from tests.unit.llm.support import World, serving


class Counting:
    """Stands in for the count of a provider: raises what is queued, then counts to nine."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.keys: list[str | None] = []

    async def __call__(self, provider: ScriptedProvider, request: ChatRequest) -> int:
        self.keys.append(request.api_key)
        if self.errors:
            raise self.errors.pop(0)
        return 9

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Counting":
        """Let every scripted provider count like this."""

        async def count_tokens(provider: ScriptedProvider, request: ChatRequest) -> int:
            return await self(provider, request)

        monkeypatch.setattr(ScriptedProvider, "count_tokens", count_tokens)
        return self


def stale() -> ProviderError:
    """A connection that the server had closed while nobody used it."""
    return ProviderError("network_error", "closed before any answer", code="stale_connection")


async def test_a_count_of_the_provider_is_exact_and_bound_to_itself() -> None:
    """Nothing about it is an estimate."""
    async with serving() as world:
        counted = await world.service.count_tokens("three words here")
        assert (counted.tokens, counted.low, counted.high, counted.source) == (3, 3, 3, "provider")
        assert not counted.estimated
        assert counted.note == ""


async def test_a_stale_connection_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing about the server; a second one in a row is believed."""
    counting = Counting(stale()).install(monkeypatch)
    async with serving() as world:
        assert (await world.service.count_tokens("hi")).tokens == 9
        assert len(counting.keys) == 2
        counting.errors = [stale(), stale()]
        counted = await world.service.count_tokens("hi")
        assert (counted.estimated, counted.source) == (True, "estimate")
        assert "closed before any answer" in counted.note


@pytest.mark.parametrize("kind", ["server_error", "rate_limit", "authentication", "model_not_found", "timeout"])
async def test_what_says_nothing_about_the_request_makes_an_estimate(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note has the reason, and the provider is called as before: counting has limits of its own."""
    error = ProviderError(kind, "not today", status_code=500, retry_after=60)
    counting = Counting(error).install(monkeypatch)
    async with serving() as world:
        counted = await world.service.count_tokens("one two three four")
        assert counted.estimated
        assert counted.low <= 4 <= counted.high
        assert "not today" in counted.note
        assert len(counting.keys) == 1
        assert (await world.service.generate("hi")).provider == "alpha"
        assert world.service.get_provider_status()["alpha"].state == "ready"


async def test_a_request_that_the_provider_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be refused as a call too, so a number would be misleading."""
    Counting(ProviderError("invalid_request", "no such role")).install(monkeypatch)
    async with serving() as world:
        with pytest.raises(ProviderError, match="no such role"):
            await world.service.count_tokens("hi")
        assert world.leases() == 0


async def test_the_count_is_asked_for_with_a_key_of_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """As calls are."""
    counting = Counting().install(monkeypatch)
    async with serving(providers={"alpha": {"api_key": "key-0123456789"}}) as world:
        await world.service.count_tokens("hi")
        assert counting.keys == ["key-0123456789"]


def no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripted providers cannot count any more, and say so as a server without the endpoint does."""
    Counting(*[UnsupportedFeature("alpha cannot count tokens") for _ in range(9)]).install(monkeypatch)


async def ask(world: World, tokens: Mapping[str, int]) -> None:
    """Make a call for each prompt, which the provider then reports to have had so many tokens."""
    for prompt, count in tokens.items():
        world.alpha.will_answer("ok", usage=Usage(input=count, output=1))
        await world.service.generate(prompt)


async def test_estimates_are_calibrated_by_what_calls_report_also_across_a_reload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After three calls the bound is narrower, and a new configuration starts with what the old one learnt."""
    no_counter(monkeypatch)
    async with serving() as world:
        prompt = "some words " * 40
        first = await world.service.count_tokens(prompt)
        assert (first.source, first.note) == ("estimate", "alpha cannot count tokens")
        await ask(world, {"some words " * size: 20 + 3 * size for size in (20, 50, 80)})
        second = await world.service.count_tokens(prompt)
        assert second.source == "calibrated"
        assert second.estimated
        assert second.low <= 140 <= second.high
        assert second.high - second.low < first.high - first.low
        config = world.manager.current
        await world.manager.replace(config.model_copy(update={"timeout": 77.0}))
        assert world.holder.current.generation == 2
        assert await world.service.count_tokens(prompt) == second
        assert (await world.service.count_tokens(prompt, model="beta/m")).source == "estimate"


async def test_usage_that_is_missing_is_estimated_by_the_same_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sometimes leaves the usage out is billed as it counts."""
    no_counter(monkeypatch)
    async with serving() as world:
        await ask(world, {"some words " * size: 20 + 3 * size for size in (20, 50, 80)})
        world.alpha.will_answer("ok", usage=Usage(estimated=True))
        response = await world.service.generate("some words " * 40)
        assert response.usage.estimated
        assert abs(response.usage.input - 140) < 15
