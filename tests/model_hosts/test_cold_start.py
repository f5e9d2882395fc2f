"""Servers that load a model with its first call, where nothing stands under `residency`: that load is no slow answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.llm.common.exceptions import LLMError
from core.llm.testing.ollama_script import OllamaAnswer
from tests.model_hosts.server_benches import LlamaRouterBench, LMStudioBench, LocalAIBench, OllamaBench, ServerBench
from tests.residency.service import Served

pytestmark = pytest.mark.leakcheck


@pytest.fixture(params=[OllamaBench, LocalAIBench, LlamaRouterBench])
async def bench(request) -> AsyncIterator[ServerBench]:
    bench = request.param()
    async with bench.server:
        yield bench


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaBench]:
    bench = OllamaBench()
    async with bench.server:
        yield bench


def served(bench: ServerBench, **timeouts: str) -> Served:
    return Served(
        {
            "providers": {"host": {**bench.entry(), "timeouts": timeouts}},
            "health_check": {"enabled": False},
            "retry": {"max_retries": 0},
        }
    )


async def streamed(host: Served, model: str = "host/a") -> str:
    async with host.llm.stream("hi", model=model) as stream:
        return "".join([event.text async for event in stream])


async def test_F147_a_load_that_is_longer_than_the_first_output_may_take_fails_no_call(bench):
    """It is told of, and once the model is there no call asks for more than its answer."""
    bench.slow(4.5)
    async with served(bench, first_token="3500ms") as host:
        assert await streamed(host)
        assert ("load", "loading") in {(event.kind, event.state) for event in host.told}
        before = bench.requests()
        assert await streamed(host)
        assert bench.requests() == before + 1
        assert bench.loads() == ["a"]


async def test_F147_a_loaded_model_that_does_not_answer_is_as_slow_as_ever(ollama):
    """The limit holds for everything but the load."""
    async with served(ollama, first_token="300ms") as host:
        await host.models.load("host/a")
        silence = asyncio.Event()
        ollama.server.script(OllamaAnswer("one", hold=silence, hold_after=0))
        with pytest.raises(LLMError, match=r"no output within 0\.3 s"):
            await streamed(host)
        silence.set()


async def test_F147_a_call_whose_model_cannot_be_loaded_says_what_the_server_says(ollama):
    """The question beforehand is no new way to fail."""
    async with served(ollama, first_token="5s") as host:
        with pytest.raises(LLMError, match="damaged"):
            await streamed(host, "host/broken")


async def test_F147_the_calls_own_time_holds_while_its_model_loads(ollama):
    """A deadline is a deadline."""
    ollama.slow(20.0)
    async with served(ollama, first_token="2s", total="10m") as host:
        with pytest.raises(LLMError, match=r"deadline|timeout"):
            async with host.llm.stream("hi", model="host/a", timeout=0.5) as stream:
                async for _ in stream:
                    pass


async def test_a_server_that_keeps_what_it_is_told_to_load_is_not_told_to():
    """LM Studio lets go of what a call has loaded, after its time; a load by hand would stay for ever."""
    bench = LMStudioBench()
    async with bench.server, served(bench, first_token="20s") as host:
        assert await streamed(host)
        assert [call.path for call in bench.server.calls] == ["/v1/chat/completions"]


async def test_without_a_limit_of_its_own_a_server_is_asked_nothing_beforehand(ollama):
    """The default limit is longer than loads are."""
    async with served(ollama) as host:
        assert await streamed(host)
        assert [call.path for call in ollama.server.calls] == ["/api/chat"]


async def test_F33_F147_a_server_that_keeps_failing_is_not_asked_whether_its_model_is_loaded(ollama):
    """Its callers are told at once that it is left alone; nothing is sent, and nobody waits for what it does not say."""
    async with served(ollama, first_token="2s") as host:
        await ollama.server.stop()
        for _ in range(3):
            with pytest.raises(LLMError):
                await streamed(host)
        asked = 0

        async def status(model: str) -> None:
            nonlocal asked
            asked += 1

        host.llm._holder.current.providers["host"].model_status = status
        with pytest.raises(LLMError) as caught:
            await streamed(host)
        assert caught.value.code == "circuit_open"
        assert asked == 0
