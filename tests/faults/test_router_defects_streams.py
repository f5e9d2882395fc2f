"""Known defects of routers in wide use, by the numbers of their reports: streams that are dropped, cut, or doubled."""

import asyncio

import pytest

from core.container import Container
from core.llm import LLMRequest, LLMService, ProviderModule
from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import ProviderError
from core.llm.testing import SecretCanary
from core.llm.testing import wire_dialects as wire
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import answer
from tests.unit.llm.support import serving

CHAIN = {"chain": {"use": "alpha/m", "fallback": ["beta/m"]}, "alone": {"use": "alpha/m", "fallback": []}}
UNBILLED = pytest.param(0, id="13245-14457-30630-33736-36008-37558-39893")
PRICED = {"models": {"m": {"price": {"input": 2, "output": 10}}}}


@pytest.mark.parametrize("issue", [UNBILLED])
@pytest.mark.parametrize("how", ["left", "cancelled", "broken"])
async def test_a_stream_that_does_not_reach_its_end_is_in_the_books(issue, how):
    """What was delivered is estimated and priced, once, whoever ended it."""
    async with serving(providers={"alpha": PRICED}) as world:
        broken = [ProviderError("protocol", "cut", code="truncated")] if how == "broken" else []
        words = [f"word{number} " for number in range(9)]
        world.alpha.will_stream(*words, *broken)
        seen = asyncio.Event()

        async def consume():
            async with world.service.stream("hi there") as events:
                async for event in events:
                    if event.text and how != "broken":
                        seen.set()
                        if how == "left":
                            return
                        await asyncio.Event().wait()

        task = asyncio.create_task(consume())
        if how == "cancelled":
            await seen.wait()
            task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(
            result, {"left": type(None), "cancelled": asyncio.CancelledError, "broken": ProviderError}[how]
        )
        (row,) = await world.container.get(UsageLedger).rows()
    assert row.state == "estimated"
    assert row.usage.estimated
    assert row.usage.output >= 1
    assert row.amount is not None
    assert row.amount > 0


@pytest.mark.parametrize("issue", [pytest.param(0, id="19077-18229-32835-25843")])
@pytest.mark.parametrize("model", ["chain", "alone"])
async def test_a_stream_that_breaks_is_neither_doubled_nor_continued_by_somebody_else(issue, model):
    """The error carries exactly what was delivered; where there is no fallback nobody else is asked before it either."""
    async with serving(models=CHAIN) as world:
        world.alpha.will_stream("The quick ", "brown ", ProviderError("protocol", "cut", code="truncated"))
        texts = []
        with pytest.raises(ProviderError) as caught:
            async with world.service.stream("hi", model=model) as events:
                async for event in events:
                    texts.append(event.text)
        assert "".join(texts) == "The quick brown "
        assert caught.value.partial is not None
        assert caught.value.partial.text == "The quick brown "
        assert len(world.beta.requests) == 0
        world.alpha.will_raise(ProviderError("model_not_found", "gone"))
        if model == "alone":
            with pytest.raises(ProviderError):
                async with world.service.stream("hi", model=model) as events:
                    await events.response()
            assert len(world.beta.requests) == 0


LEAKS = [6963, 8075, 15799, 24902, 5762]


@pytest.mark.parametrize("issue", LEAKS, ids=map(str, LEAKS))
@pytest.mark.parametrize("kind", ["openai", "gemini"])
async def test_no_key_is_in_a_url_an_error_a_log_or_a_status(issue, kind, logged, no_leaks):
    """Also where the server repeats the key in its error, in a redirect, or in the middle of an answer."""
    canary = SecretCanary()
    body = wire.openai_error(f"Incorrect API key provided: {canary.secret}")
    refusals = {
        6963: answer(body, 401),
        8075: answer(body, 400),
        15799: answer(b"", 307, {"Location": f"http://127.0.0.1:1/?key={canary.secret}"}),
        24902: answer(f"<html>proxy error for ?key={canary.secret}</html>".encode(), 502),
        5762: answer(body, 500),
    }
    async with WireServer() as server:
        server.otherwise(refusals[issue])
        provider = {"type": kind, "api_key": canary.secret, "base_url": server.url, "allow_insecure": True}
        config = {"providers": {"p": provider}, "default_model": "p/m", "health_check": {"enabled": False},
                  "retry": {"max_retries": 0}}  # fmt: skip
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            llm = container.get(LLMService)
            with pytest.raises(ProviderError) as caught:
                await llm.generate("hi")
            canary.check(caught.value, str(caught.value), logged, llm.get_provider_status())
        assert canary.secret not in "".join(request.path for request in server.requests)
        assert len(server.requests) == 1


@pytest.mark.parametrize("issue", ["CVE-2024-6587"])
async def test_a_caller_cannot_send_the_key_elsewhere(issue, no_leaks):
    """There is no field for an address, and what a caller adds to the body stays in the body."""
    with pytest.raises(ValueError, match="api_base"):
        LLMRequest(messages="hi", api_base="http://evil.example")
    async with WireServer() as server, WireServer() as evil:
        server.otherwise(answer(wire.openai_answer("fine")))
        provider = {"type": "openai", "api_key": "sk-0123456789abcdef", "base_url": server.url, "allow_insecure": True}
        config = {"providers": {"p": provider}, "default_model": "p/m", "health_check": {"enabled": False}}
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            extra = {"p": {"api_base": evil.url, "base_url": evil.url}}
            await container.get(LLMService).generate("hi", extra=extra)
        assert len(server.requests) == 1
        assert evil.connections == []
