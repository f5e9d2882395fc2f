"""Guardrails, cache and single flight as a host uses them: in the module and in the configuration."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from core.container import Container
from core.llm import (
    Allow,
    Block,
    GuardedRequest,
    Guardrail,
    LLMService,
    NotCached,
    PiiMasking,
    ProviderError,
    ProviderModule,
)
from core.llm.testing import SCRIPTED, FakeClock, Script
from tests.unit.llm.support import serving, settings


class Letter(BaseModel):
    """An object to ask for."""

    to: str
    text: str


class NoZebra(Guardrail):
    """Nothing about zebras."""

    window = 5

    def check_output(self, text: str) -> Allow | Block:
        return Block("an animal that must not be named") if "zebra" in text else Allow()


@asynccontextmanager
async def guarded(*rails: Guardrail, **config: Any) -> AsyncIterator[tuple[LLMService, Script]]:
    """A service with guardrails, and what its provider says."""
    script = Script.named(f"guarded-{id(rails)}")
    module = ProviderModule(
        settings({"alpha": script}, **config),
        watch=False, env={}, plugins=[SCRIPTED], clock=FakeClock(), guardrails=rails,
    )  # fmt: skip
    async with Container([module]) as container:
        yield container.get(LLMService), script


async def test_g32_a_host_guards_its_calls() -> None:
    """Whole answers, streams and objects: nothing that is blocked comes out, and the error tells nothing of it."""
    async with guarded(NoZebra()) as (llm, script):
        for _ in range(2):
            script.will_stream("a ze", "bra", " and more")
        with pytest.raises(ProviderError) as whole:
            await llm.generate("hi")
        seen: list[str] = []
        with pytest.raises(ProviderError) as streamed:
            async with llm.stream("hi") as stream:
                async for event in stream:
                    seen.append(event.text)
        for said in ('{"to": "a zebra", "text": ""}', '{"to": "a z\\u0065bra", "text": ""}'):
            script.will_answer(said)
            with pytest.raises(ProviderError) as of_object:
                await llm.generate_object("hi", Letter)
            assert of_object.value.code == "guardrail"
        for _ in range(2):
            script.will_answer("a zebra, and no object")
        with pytest.raises(ProviderError) as misfit:
            await llm.generate_object("hi", Letter)
        assert misfit.value.code == "guardrail"
        assert misfit.value.__context__ is None or "zebra" not in str(vars(misfit.value.__context__))
        assert "".join(seen) in {"", "a", "a "}
        for error in (whole.value, streamed.value):
            assert (error.type, error.code) == ("content_filter", "guardrail")
            assert "zebra" not in str(error)
        assert whole.value.trace is not None
        assert whole.value.trace.attempts[0].billing == "settled"
        assert len(script.requests) == 6, "nobody else was asked"


async def test_personal_data_stays_here_and_comes_back_in_objects() -> None:
    """The model writes to a placeholder; the object has the address."""
    async with guarded(PiiMasking()) as (llm, script):
        script.will_answer('{"to": "[EMAIL_1]", "text": "hi"}')
        response = await llm.generate_object("write to ada@example.org", Letter)
        assert response.object == Letter(to="ada@example.org", text="hi")
        script.will_stream('{"to": "[EMA', 'IL_1]", "text', '": "hi"}')
        async with llm.stream_object("write to ada@example.org", Letter) as stream:
            async for _ in stream:
                pass
        assert stream.object == Letter(to="ada@example.org", text="hi")
        assert "ada@" not in repr([request.messages for request in script.requests])


async def test_counting_tokens_sends_nothing_that_a_guardrail_keeps_here() -> None:
    """A provider that counts is sent the request."""

    class NoSecret(Guardrail):
        def check_input(self, request: GuardedRequest) -> Allow | Block:
            return Block("a secret") if "secret" in request.messages[0].text else Allow()

    async with guarded(PiiMasking(), NoSecret()) as (llm, _):
        counted = await llm.count_tokens("write to Ada Lovelace <ada@example.org>")
        assert (counted.tokens, counted.source) == (5, "provider")
        with pytest.raises(ProviderError, match="guardrail NoSecret stopped the request"):
            await llm.count_tokens("the secret")


async def test_g32_cached_answers_are_guarded_too() -> None:
    """An answer that was kept before a guardrail began to object is stopped like any other."""
    rail = NoZebra()
    async with guarded(rail, cache={"enabled": True}) as (llm, script):
        script.will_answer("a zebra")
        for _ in range(2):
            with pytest.raises(ProviderError, match="guardrail NoZebra stopped the answer"):
                await llm.generate("hi")
        assert len(script.requests) == 1


async def test_g23_a_configured_cache_answers_again() -> None:
    """Streams too; a request may ask for it alone; embeddings are never kept."""
    async with serving("alpha", cache={"enabled": True}) as world:
        assert not (await world.service.generate("hi")).cached
        again = await world.service.generate("hi")
        assert (again.cached, again.content) == (True, "hi")
        async with world.service.stream("hi", cache="only") as stream:
            response = await stream.response()
        assert (response.cached, response.content) == (True, "hi")
        assert len(world.alpha.requests) == 1
        with pytest.raises(NotCached):
            await world.service.generate("something else", cache="only")
        for _ in range(2):
            await world.service.embed("hi")
        assert len(world.alpha.embeddings) == 2


async def test_a_request_for_the_cache_only_is_refused_where_there_is_none() -> None:
    """It would be sent and paid for."""
    async with serving("alpha") as world:
        with pytest.raises(NotCached, match=r"`cache\.enabled` is false"):
            await world.service.generate("hi", cache="only")
        assert not (await world.service.generate("hi", cache=True)).cached
        assert world.leases() == 0


async def test_f102_identical_calls_of_a_service_are_sent_once() -> None:
    """And the next configuration has the answers of this one, as long as they mean the same."""
    async with serving("alpha", cache={"enabled": True}) as world:
        gate = world.alpha.will_hold("one for all")
        calls = [asyncio.create_task(world.service.generate("hi")) for _ in range(20)]
        await gate.reached()
        gate.open()
        answers = await asyncio.gather(*calls)
        assert {answer.content for answer in answers} == {"one for all"}
        assert sum(not answer.cached for answer in answers) == 1
        assert len(world.alpha.requests) == 1
        assert world.leases() == 0


async def test_without_any_of_it_nothing_is_in_the_way() -> None:
    """What is not configured is no layer."""
    async with serving("alpha") as world:
        names: list[str] = []
        handler: Any = world.holder.current.handler
        while handler is not None:
            names.append(handler.__module__.rpartition(".")[2])
            cells = {
                name: cell.cell_contents
                for name, cell in zip(handler.__code__.co_freevars, handler.__closure__ or (), strict=True)
            }
            handler = cells.get("inner")
        assert not {"cache", "single_flight", "guardrails", "hedge"} & set(names)
        assert names[-1] == "fallback"
