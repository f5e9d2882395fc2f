"""One immutable world: a configuration, its providers, and the targets of calls."""

import pytest

from core.llm.common.exceptions import ProviderError, UnknownProvider
from core.llm.common.types import ModelRef
from core.llm.testing import SecretCanary
from tests.unit.runtime.support import Watched, World, a_config


async def test_a_target_is_made_once_and_shared() -> None:
    """All calls to one model go through the same layers."""
    runtime = await World().build(a_config(a={}))
    first = await runtime.target(ModelRef("a", "m"))
    assert await runtime.target(ModelRef("a", "m")) is first
    assert await runtime.target(ModelRef("a", "other")) is not first
    assert first.handler is not None


@pytest.mark.parametrize(
    ("options", "model"),
    [({"default_model": "d"}, "d"), ({"models": ["first", "second"]}, "first"), ({"models": []}, "discovered")],
)
async def test_the_default_model_is_the_configured_one_the_first_listed_or_what_the_provider_finds(
    options: dict[str, object], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In that order."""

    async def find(self: Watched) -> str:
        return "discovered"

    monkeypatch.setattr(Watched, "resolve_default_model", find)
    runtime = await World().build(a_config(a=options))
    assert (await runtime.target(ModelRef("a", ""))).ref == ModelRef("a", model)


async def test_a_provider_without_any_model_says_what_to_set() -> None:
    """It is an error of that candidate, so a chain goes on."""
    runtime = await World().build(a_config(a={"models": []}))
    with pytest.raises(ProviderError, match="set `default_model` or `models`") as caught:
        await runtime.target(ModelRef("a", ""))
    assert (caught.value.type, caught.value.code) == ("model_not_found", "no_default_model")


async def test_a_provider_that_raises_while_it_looks_for_its_model_is_a_failed_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its exception crosses neither the chain nor the public interface, and its text is nowhere."""
    canary = SecretCanary()

    async def find(self: Watched) -> str:
        raise KeyError(canary.secret)

    monkeypatch.setattr(Watched, "resolve_default_model", find)
    runtime = await World().build(a_config(a={"models": []}))
    with pytest.raises(ProviderError, match="raised KeyError") as caught:
        await runtime.target(ModelRef("a", ""))
    assert caught.value.provider == "a"
    canary.check(caught.value)


async def test_asking_for_a_provider_that_is_off_says_why() -> None:
    """And for an unknown one which there are."""
    runtime = await World().build(a_config(a={}, b={"enabled": False}))
    assert runtime.provider("a") is runtime.providers["a"]
    with pytest.raises(UnknownProvider, match="provider 'b' is off: enabled: false"):
        runtime.provider("b")
    with pytest.raises(UnknownProvider, match="there are: a"):
        runtime.provider("c")
