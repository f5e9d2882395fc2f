"""Servers that die, come back, and never answer, under steady calls with a fallback."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.container import Container
from core.llm import LLMService, ProviderError, ProviderModule
from core.llm.pipeline.breaker import Breaker
from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import openai_answer, openai_stream
from core.llm.testing.wire_steps import Stall, answer, script, stream
from tests.chaos.hosting import ROOT
from tests.chaos.model_server import WORDS
from tests.ports import kept_port
from tests.reload.live_config import until

pytestmark = pytest.mark.leakcheck


@asynccontextmanager
async def model_server(port: int, word: str) -> AsyncIterator[None]:
    """A server process that is killed with SIGKILL at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.model_server", str(port), word, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        yield
    finally:
        process.kill()
        await process.communicate()


def config(first: str, second: str, **first_options: Any) -> dict[str, Any]:
    """Two servers behind one alias."""
    kind = {"type": "openai_compatible", "models": ["m"]}
    return {
        "llm_service": {
            "default_model": "both",
            "models": {"both": {"use": "first/m", "fallback": ["second/m"]}},
            "providers": {
                "first": {**kind, "base_url": first, **first_options},
                "second": {**kind, "base_url": second},
            },
            "retry": {"initial_delay": "20ms", "max_delay": "100ms"},
        }
    }


class Clients:
    """Steady calls, half of them streams, and what became of each."""

    def __init__(self, llm: LLMService) -> None:
        self.llm = llm
        self.answers: Counter[str] = Counter()
        self.recent: Counter[str] = Counter()
        self.broken: list[ProviderError] = []
        self.lost: list[str] = []
        self.stopping = False

    async def whole(self) -> None:
        while not self.stopping:
            try:
                self._count((await self.llm.generate("go")).content)
            except Exception as error:
                self.lost.append(f"generate: {error!r}")
            await asyncio.sleep(0.01)

    async def streamed(self) -> None:
        while not self.stopping:
            text = ""
            try:
                async with self.llm.stream("go") as events:
                    async for event in events:
                        text += event.text
                self._count(text)
            except ProviderError as error:
                # What had begun cannot be answered by anybody else; it must say what it had delivered.
                if text and error.partial is not None and error.partial.text == text:
                    self.broken.append(error)
                else:
                    self.lost.append(f"stream after {text!r}: {error!r}")
            except Exception as error:
                self.lost.append(f"stream: {error!r}")
            await asyncio.sleep(0.01)

    def _count(self, text: str) -> None:
        words = text.split()
        if len(words) != WORDS or len(set(words)) != 1:
            self.lost.append(f"mixed: {text!r}")
        self.answers[words[0]] += 1
        self.recent[words[0]] += 1


async def test_a_server_that_is_killed_and_comes_back_costs_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is answered by one of the two; only a stream in its midst breaks, and says what it had delivered."""
    # The breaker's patience has tests of its own; here it would only make the test long.
    monkeypatch.setattr(Breaker, "FIRST_OPEN", 0.4)
    monkeypatch.setattr(Breaker, "LONGEST_OPEN", 0.8)
    with kept_port() as one, kept_port() as other:
        await _killed_and_back(one, other)


async def _killed_and_back(*ports: int) -> None:
    async with model_server(ports[1], "second"):
        module = ProviderModule(config(*[f"http://127.0.0.1:{port}" for port in ports]))
        async with Container([module]) as container:
            clients = Clients(container.get(LLMService))
            async with model_server(ports[0], "first"):
                tasks = [asyncio.create_task(clients.whole()) for _ in range(6)]
                tasks += [asyncio.create_task(clients.streamed()) for _ in range(6)]
                await until(lambda: clients.answers["first"] > 50, 60)
                assert not clients.answers["second"]
            clients.recent.clear()
            await until(lambda: clients.recent["second"] > 80, 60)
            async with model_server(ports[0], "first"):
                clients.recent.clear()
                await until(lambda: clients.recent["first"] > 50, 60)
                clients.stopping = True
                await asyncio.gather(*tasks)
            status = container.get(LLMService).get_provider_status()
    assert clients.lost == []
    assert len(clients.broken) <= 6
    assert {error.provider for error in clients.broken} <= {"first"}
    assert status["first"].last_failure is not None
    assert (status["first"].state, status["second"].consecutive_failures) == ("ready", 0)


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "generate"])
async def test_a_server_that_never_answers_is_left_within_its_limit(streamed: bool) -> None:
    """It accepts the connection and the request; the fallback answers, and the dead one was asked once only."""
    async with WireServer() as silent, WireServer() as second:
        silent.otherwise(script(Stall()))
        second.otherwise(stream(openai_stream("hello")) if streamed else answer(openai_answer("hello")))
        limits = {"first_token": "300ms"} if streamed else {"total": "300ms"}
        async with Container([ProviderModule(config(silent.url, second.url, timeouts=limits))]) as container:
            llm = container.get(LLMService)
            began = asyncio.get_running_loop().time()
            if streamed:
                async with llm.stream("go") as events:
                    response = await events.response()
            else:
                response = await llm.generate("go")
            taken = asyncio.get_running_loop().time() - began
        assert (response.content, response.provider) == ("hello", "second")
        assert 0.3 <= taken < 20
        assert len(silent.requests) == 1
        assert silent.requests[0].connection.peer_closed_at is not None
        first, answered = response.trace.attempts
        assert (first.error_type, first.decision, answered.decision) == ("timeout", "next_candidate", "answered")
