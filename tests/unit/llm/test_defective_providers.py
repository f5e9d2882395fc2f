"""A provider of somebody else's that returns, yields or raises what it should not: one error of ours, and nothing held."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import FinishReason
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import EmbeddingResponse, StreamEvent, StreamFinish, TextDelta
from tests.unit.llm.support import World, serving

FINISH: Final = StreamFinish(FinishReason("stop", "stop"))


def yields(*events: Any) -> Callable[[ChatRequest], AsyncIterator[StreamEvent]]:
    """A stream of *events*, some of which are none."""

    async def stream(_: ChatRequest) -> AsyncIterator[StreamEvent]:
        for event in events:
            yield event

    return stream


def raises_at_once(_: ChatRequest) -> AsyncIterator[StreamEvent]:
    """No iterator at all."""
    raise ValueError("sk-0123456789abcdef")


async def returns_none(_: object) -> None:
    """Nothing."""


async def returns_a_name() -> str:
    """The model of a provider that lists none."""
    return "m"


async def returns_one_vector(_: object) -> EmbeddingResponse:
    """One for two."""
    return EmbeddingResponse(((0.5,),), "m", "alpha")


CASES: Final[dict[str, tuple[str, str, Any]]] = {
    "none for an answer": ("generate", "generate", returns_none),
    "none for vectors": ("embed", "embed", returns_none),
    "too few vectors": ("embed", "embed", returns_one_vector),
    "no iterator": ("stream", "stream_generate", raises_at_once),
    "text first": ("stream", "stream_generate", yields("hello")),
    "none first": ("stream", "stream_generate", yields(None)),
    "text later": ("stream", "stream_generate", yields(TextDelta("hello"), "world")),
    "none later": ("stream", "stream_generate", yields(TextDelta("hello"), None, FINISH)),
}


async def ask(world: World, mode: str, model: str) -> Any:
    """One call in that mode."""
    if mode == "embed":
        return await world.service.embed(["a", "b"], model=model)
    if mode == "stream":
        return await world.service.stream("hi", model=model).response()
    return await world.service.generate("hi", model=model)


def held(world: World) -> list[int]:
    """Everything that calls hold while they run."""
    record = world.holder.current.state.upstream("alpha")
    status = record.limits.status(0.0)
    slots = sum(int(one.limit - one.left) for one in status.limits)
    return [world.leases(), record.breaker.in_flight, record.breaker.model("m").in_flight, status.in_flight, slots]


@pytest.mark.parametrize("held_back", [False, True], ids=["at-once", "buffered"])
@pytest.mark.parametrize("case", CASES)
async def test_what_a_provider_does_wrong_is_its_defect_and_holds_nothing(
    case: str, held_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first output another candidate answers; after it the error has what was delivered."""
    mode, method, defect = CASES[case]
    alias: dict[str, Any] = {"use": "alpha/m", "fallback": []}
    if held_back:
        alias["mid_stream"] = {"policy": "buffer", "buffer_tokens": 50}
    models = {"only": alias, "chain": {**alias, "fallback": ["beta/m"]}}
    providers = {"alpha": {"rate_limits": {"max_concurrency": 5}}}
    async with serving("alpha", "beta", models=models, providers=providers) as world:
        monkeypatch.setattr(world.provider("alpha"), method, defect)
        with pytest.raises(LLMError) as caught:
            await ask(world, mode, "only")
        error: Any = caught.value
        assert error.code == "provider_defect"
        assert "sk-0123456789abcdef" not in repr(error)
        assert held(world) == [0] * 5
        if "later" in case and not held_back:
            assert error.partial.text == "hello"
        else:
            assert (await ask(world, mode, "chain")).provider == "beta"
        assert held(world) == [0] * 5


def raises(*_: object) -> Any:
    """As a method that should say something."""
    raise ValueError("sk-0123456789abcdef")


@pytest.mark.parametrize("method", ["facts", "check", "resolve_default_model"])
async def test_a_defect_that_shows_before_anything_is_sent_leads_on_too(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has nobody else gets one error of ours; what the exception said may be a secret."""
    models = {"only": {"use": "alpha", "fallback": []}, "chain": {"use": "alpha", "fallback": ["beta/m"]}}
    providers = {"alpha": {"models": []}}
    async with serving("alpha", "beta", models=models, providers=providers, parameter_policy="error") as world:
        if method != "resolve_default_model":
            monkeypatch.setattr(world.provider("alpha"), "resolve_default_model", returns_a_name)
        monkeypatch.setattr(world.provider("alpha"), method, raises)
        with pytest.raises(LLMError) as caught:
            await ask(world, "generate", "only")
        assert getattr(caught.value, "code", None) == "provider_defect"
        assert "sk-0123456789abcdef" not in repr(caught.value)
        assert (await ask(world, "generate", "chain")).provider == "beta"
        assert held(world) == [0] * 5


@pytest.mark.parametrize("method", ["facts", "check"])
async def test_a_defect_that_shows_before_anything_is_sent_is_foretold(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`explain` names it, and who is asked in its place."""
    models = {"chain": ["alpha/m", "beta/m"]}
    async with serving("alpha", "beta", models=models, parameter_policy="error") as world:
        monkeypatch.setattr(world.provider("alpha"), method, raises)
        first, second = world.service.explain("hi", model="chain").candidates
        assert (first.verdict, second.verdict) == ("skipped", "first")
        assert "raised ValueError" in first.reason
        assert "sk-0123456789abcdef" not in first.reason


@pytest.mark.parametrize(
    "alias", [{"strategy": "cost"}, {"where": {"min_context_window": 1000}}], ids=["strategy", "where"]
)
async def test_a_model_that_cannot_be_looked_at_spoils_no_choice(
    alias: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of it; the others are chosen from as before."""
    providers = {"beta": {"models": {"m": {"context_window": 9000}}}}
    models = {"any": {"use": ["alpha/m", "beta/m"], **alias}}
    async with serving("alpha", "beta", models=models, providers=providers) as world:
        monkeypatch.setattr(world.provider("alpha"), "facts", raises)
        assert (await ask(world, "generate", "any")).provider == "beta"


async def test_the_defect_of_who_comes_next_spoils_no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether somebody else could be asked is looked at after each failure."""
    async with serving("alpha", "beta", models={"chain": ["alpha/m", "beta/m"]}, retries=1) as world:
        monkeypatch.setattr(world.provider("beta"), "facts", raises)
        world.alpha.will_raise(ProviderError("server_error", "for a moment"))
        world.alpha.will_answer("well again")
        assert (await ask(world, "generate", "chain")).content == "well again"


async def test_an_iterator_that_fails_to_close_takes_nothing_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything was delivered; the log has the rest."""

    class Unclosable(AsyncIterator[StreamEvent]):
        def __init__(self) -> None:
            self.events: list[StreamEvent] = [TextDelta("hello"), FINISH]

        async def __anext__(self) -> StreamEvent:
            if not self.events:
                raise StopAsyncIteration
            return self.events.pop(0)

        async def aclose(self) -> None:
            raise ValueError("already closed")

    async with serving("alpha") as world:
        provider: BaseLLMProvider = world.provider("alpha")
        monkeypatch.setattr(provider, "stream_generate", lambda _: Unclosable())
        assert (await world.service.stream("hi").response()).content == "hello"
        assert held(world) == [0] * 5
