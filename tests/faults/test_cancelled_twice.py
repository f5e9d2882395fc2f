"""F125, F128: whoever is in a hurry to leave, twice, leaves the books in order and the service fit to start again."""

import asyncio

import pytest

from core.container import Container
from core.llm import ConfigError, LLMService, ProviderModule, ServiceStopping, UsageLedger
from core.llm.testing import SCRIPTED, WireServer
from core.llm.testing.wire_dialects import openai_chunk
from core.llm.testing.wire_steps import Stall, script, stream

pytestmark = pytest.mark.leakcheck


def module(url: str) -> ProviderModule:
    """One server, asked once."""
    provider = {"type": "openai_compatible", "base_url": url, "models": {"m": {"price": {"input": 1, "output": 2}}}}
    config = {"default_model": "far/m", "providers": {"far": provider}, "retry": {"max_retries": 0}}
    return ProviderModule({"llm_service": config}, env={})


@pytest.mark.parametrize("streaming", [False, True])
async def test_F125_a_call_that_is_cancelled_twice_has_one_row(streaming):
    """The second cancellation comes while the first one is being cleaned up."""
    async with WireServer() as server, Container([module(server.url)]) as container:
        llm, ledger = container.get(LLMService), container.get(UsageLedger)
        begun = asyncio.Event()

        async def call() -> None:
            if not streaming:
                await llm.generate("hi")
            async with llm.stream("hi") as events:
                async for _ in events:
                    begun.set()

        server.otherwise(
            stream([openai_chunk({"content": "one two"})], end=False).then(Stall()) if streaming else script(Stall())
        )
        task = asyncio.create_task(call())
        await asyncio.wait_for(begun.wait() if streaming else server.wait_for_requests(1, 10), 10)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (row,) = await ledger.rows()
        assert row.state == ("estimated" if streaming else "ambiguous")
        assert row.usage.input > 0
        await server.connections[0].ended.wait()


async def test_F128_a_service_can_be_stopped_twice_and_before_it_was_started():
    """And another container with the same module's configuration starts afterwards."""
    config = {"llm_service": {"default_model": "demo/m", "providers": {"demo": {"type": "scripted"}}}}
    container = Container([ProviderModule(config, plugins=[SCRIPTED])])
    await container.stop()
    container = Container([ProviderModule(config, plugins=[SCRIPTED])])
    await container.start()
    llm = container.get(LLMService)
    assert (await llm.generate("hi")).content
    await container.stop()
    await container.stop()
    with pytest.raises(ServiceStopping):
        await llm.generate("hi")
    async with Container([ProviderModule(config, plugins=[SCRIPTED])]) as again:
        assert (await again.get(LLMService).generate("hi")).content


async def test_F128_a_start_that_fails_half_way_leaves_nothing_and_can_be_repeated(tmp_path):
    """The ledger cannot be opened; once its folder is there, it can."""
    obstacle = tmp_path / "folder"
    obstacle.write_text("a file where a folder should be")
    config = {
        "llm_service": {
            "default_model": "demo/m",
            "providers": {"demo": {"type": "scripted"}},
            "state": {"backend": "sqlite", "path": str(obstacle / "ledger.db")},
        }
    }
    with pytest.raises(ConfigError, match=r"ledger.* cannot be opened.*Check `path`"):
        await Container([ProviderModule(config, plugins=[SCRIPTED])]).start()
    obstacle.unlink()
    async with Container([ProviderModule(config, plugins=[SCRIPTED])]) as container:
        assert (await container.get(LLMService).generate("hi")).content
