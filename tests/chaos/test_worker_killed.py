"""The process of a local model is killed while it works for four calls: F137, WK-01, WK-03."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.container import Container
from core.llm import EventBus, LLMService, ModelEvent, ProviderError, ProviderModule
from core.llm.providers.llama_cpp import local_model
from core.llm.testing import EventRecorder, WireServer
from core.llm.testing.wire_dialects import openai_answer, openai_stream
from core.llm.testing.wire_steps import answer, stream
from tests.reload.live_config import until

pytestmark = pytest.mark.leakcheck

ENDLESS = {"local": {"ignore_eos": True}}


@pytest.fixture
async def spare() -> AsyncIterator[WireServer]:
    """The server that calls fall back to."""
    async with WireServer() as server:
        server.when(lambda request: "stream" in request.path, stream(openai_stream("from the spare")))
        server.otherwise(answer(openai_answer("from the spare")))
        yield server


@pytest.fixture
async def container(spare: WireServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Container]:
    """A local model that is not tried again with two spares behind it, and another one that is."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.chaos.stalling_llama_worker")
    config: dict[str, Any] = {
        "default_model": "mine",
        "models": {
            "mine": {"use": "local/tiny", "fallback": ["whole"]},
            "mine_streamed": {"use": "local/tiny", "fallback": ["streamed"]},
        },
        "providers": {
            "local": {"type": "llama_cpp", "models": {"tiny": "embedded"}, "max_retries": 0},
            "patient": {"type": "llama_cpp", "models": {"tiny": "embedded"}},
            "whole": {"type": "openai_compatible", "base_url": spare.url, "models": ["m"]},
            "streamed": {"type": "openai_compatible", "base_url": f"{spare.url}/stream", "models": ["m"]},
        },
        "retry": {"initial_delay": "10ms"},
    }
    async with Container([ProviderModule({"llm_service": config})]) as running:
        yield running


class Reader:
    """Reads a stream and keeps what it was given."""

    def __init__(self, llm: LLMService) -> None:
        self.stream = llm.stream("Tell me something", model="local/tiny", extra=ENDLESS)
        self.text = ""

    async def begin(self) -> None:
        """Read until there is some text."""
        await self.stream.open()
        while len(self.text) < 5:
            self.text += (await anext(self.stream)).text

    async def broken(self) -> ProviderError:
        """Read on to the error that must come."""
        with pytest.raises(ProviderError) as caught:
            async for event in self.stream:
                self.text += event.text
        return caught.value


async def pid_of(llm: LLMService) -> int:
    """The process of the model."""
    pid = (await llm.model_status("local/tiny")).pid
    assert pid is not None
    return pid


async def test_a_killed_worker_fails_only_its_calls_and_only_those_with_output_F137(
    container: Container, tmp_path: Path
) -> None:
    """Two streams say exactly what they had delivered; two calls without output are answered by the next candidate."""
    llm = container.get(LLMService)
    await llm.load_model("local/tiny")
    pid = await pid_of(llm)
    readers = [Reader(llm), Reader(llm)]
    await asyncio.gather(*[reader.begin() for reader in readers])
    files = [tmp_path / "one", tmp_path / "two"]
    silent = asyncio.create_task(llm.generate(f"stall:{files[0]}", model="mine"))
    silent_stream = llm.stream(f"stall:{files[1]}", model="mine_streamed")
    opening = asyncio.create_task(silent_stream.open())
    bystander = asyncio.create_task(llm.generate("hi", model="whole/m"))
    await until(lambda: all(file.exists() for file in files))
    with EventRecorder(container.get(EventBus)) as events:
        os.kill(pid, signal.SIGKILL)
        errors = await asyncio.gather(*[reader.broken() for reader in readers])
        response = await silent
        async with await opening as events_of_stream:
            streamed = "".join([event.text async for event in events_of_stream])
            final = await events_of_stream.response()
        assert (await bystander).content == "from the spare"
        crashes = [event for event in events.of(ModelEvent) if event.kind == "crash"]

    for reader, error in zip(readers, errors, strict=True):
        assert (error.type, error.code, error.retryable) == ("server_error", "worker_crashed", False)
        assert (error.provider, error.model) == ("local", "tiny")
        assert error.partial is not None
        assert error.partial.text == reader.text
        assert len(reader.text) >= 5
        assert error.billing == "estimated"
        assert "SIGKILL" in str(error)
        assert error.trace is not None
    assert response.content == streamed == "from the spare"
    assert (response.provider, final.provider) == ("whole", "streamed")
    for one in (response, final):
        assert [attempt.decision for attempt in one.trace.attempts] == ["next_candidate", "answered"]
        assert one.trace.attempts[0].billing == "none"
        assert "SIGKILL" in one.trace.candidates[0].reason
    assert len(crashes) == 1

    assert (await llm.generate("What is dependency injection?", model="local/tiny")).content
    again = await pid_of(llm)
    assert again != pid
    assert not psutil.pid_exists(pid)


async def test_a_call_without_output_is_tried_again_on_the_next_worker_F137(
    container: Container, tmp_path: Path
) -> None:
    """Where there is no other candidate; the caller notices nothing but the trace."""
    llm = container.get(LLMService)
    await llm.load_model("local/tiny")
    pid = await pid_of(llm)
    files = [tmp_path / "one", tmp_path / "two"]
    calls = [asyncio.create_task(llm.generate(f"stall:{file}", model="patient/tiny")) for file in files]
    await until(lambda: all(file.exists() for file in files))
    first = (await llm.model_status("patient/tiny")).pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    responses = await asyncio.gather(*calls)
    for response in responses:
        assert response.content
        assert [attempt.decision for attempt in response.trace.attempts] == ["retry", "answered"]
    assert (await llm.model_status("patient/tiny")).pid != first
    assert await pid_of(llm) == pid
