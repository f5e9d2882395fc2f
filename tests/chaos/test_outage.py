"""A server goes away for a while: few attempts are spent on it, and it is used again soon after it is back."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from core.container import Container
from core.llm import AttemptFailed, EventBus, LLMService, ProviderModule
from core.llm.pipeline.breaker import Breaker
from core.llm.runtime import health
from core.llm.testing import SCRIPTED, EventRecorder
from core.llm.testing.local_server import LocalServer
from core.llm.testing.ollama_server import OllamaServer
from core.llm.testing.openai_server import OpenAIServer

pytestmark = pytest.mark.leakcheck

SERVERS: dict[str, tuple[Callable[[], LocalServer], dict[str, Any]]] = {
    "openai": (lambda: OpenAIServer("m"), {"type": "openai", "api_key": "sk-0123456789abcdef"}),
    "openai_compatible": (lambda: OpenAIServer("m"), {"type": "openai_compatible"}),
    "ollama": (lambda: OllamaServer("m"), {"type": "ollama"}),
}


@pytest.mark.parametrize("name", SERVERS)
async def test_F33_F94_checks_spare_a_server_that_is_down_and_notice_that_it_is_back(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The breaker alone would try every moment here; failing checks hold it, and the first that passes lets it try."""
    monkeypatch.setattr(Breaker, "FIRST_OPEN", 0.05)
    monkeypatch.setattr(Breaker, "LONGEST_OPEN", 0.05)
    monkeypatch.setattr(health, "OUTAGE_INTERVAL", 0.2)
    make, options = SERVERS[name]
    async with make() as server:
        config = {
            "models": {"fast": {"use": "first/m", "fallback": ["second/m"]}},
            "providers": {"first": {**options, "base_url": server.url}, "second": {"type": "scripted"}},
            "retry": {"max_retries": 0},
        }
        module = ProviderModule({"llm_service": config}, env={}, plugins=[SCRIPTED])
        async with Container([module]) as container:
            llm, failed = container.get(LLMService), EventRecorder(container.get(EventBus))

            async def answered_by() -> str | None:
                await asyncio.sleep(0.01)
                return (await llm.generate("hi", model="fast")).provider

            assert await answered_by() == "first"
            port = int(server.root.rpartition(":")[2])
            await server.stop()
            down = time.monotonic() + 1.5
            while time.monotonic() < down:
                assert await answered_by() == "second"
            attempts = [event.attempt for event in failed.of(AttemptFailed)]
            assert sum(attempt.error_type == "network_error" for attempt in attempts) == Breaker.CONSECUTIVE
            status = llm.get_provider_status()["first"]
            assert status.state == "open"
            assert "left alone" in status.reason
            await server.start(port)
            back = time.monotonic()
            while await answered_by() != "first":
                assert time.monotonic() - back < 30.0  # checks that fail keep calls away for a minute
