"""The Ollama provider keeps the provider contract, over real HTTP."""

import asyncio

import pytest

from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.provider import OllamaProvider
from core.llm.testing import ContractUpstream, ProviderContract, UpstreamAnswer, UpstreamFailure, provider_services
from core.llm.testing.contract_upstream import RETRY_AFTER
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer

CHAT, EMBED = "/api/chat", "/api/embed"
MODEL = OllamaModelSpec("contract-model", ("completion", "tools", "thinking", "embedding"))


class OllamaUpstream(ContractUpstream):
    """Steers the scripted server."""

    def __init__(self, server: OllamaServer) -> None:
        self.server = server
        self._gates: list[asyncio.Event] = []

    @property
    def received(self):
        return [call.body for call in self.server.calls if call.path in {CHAT, EMBED}]

    @property
    def open_calls(self):
        return self.server.open_streams

    def answer(self, answer: UpstreamAnswer) -> None:
        hold = None
        if answer.hold_after is not None:
            hold = asyncio.Event()
            self._gates.append(hold)
        usage = answer.usage
        self.server.script(
            OllamaAnswer(
                answer.pieces[: answer.cut_after],
                (answer.thinking,) if answer.thinking else "",
                [(call.name, call.arguments) for call in answer.tool_calls],
                tool_ids=False,
                done_reason="length" if answer.finish == "length" else "stop",
                counts=False if usage is None else (usage.input, usage.output),
                cut=answer.cut_after is not None,
                hold=hold,
                hold_after=answer.hold_after or 0,
            )
        )

    def answer_vectors(self, vectors):
        self.server.script_vectors(vectors)

    def fail(self, failure: UpstreamFailure, *, secret: str) -> None:
        match failure:
            case "unauthorised":
                self.server.fail(CHAT, 401, f"invalid key {secret}")
            case "rate_limited":
                self.server.fail(CHAT, 429, "slow down", headers={"retry-after": f"{RETRY_AFTER:g}"})
            case "model_not_found":
                self.server.fail(CHAT, 404, "model 'contract-model' not found")
            case "invalid_request":
                self.server.fail(CHAT, 400, "json: cannot unmarshal string into Go struct field")
            case "server_error":
                self.server.fail(CHAT, 500, "llama runner process has terminated")
            case "not_an_answer":
                self.server.fail(CHAT, 200, b"<html><body>Please sign in</body></html>")
            case "unreachable":
                self.server.shut()

    def release(self) -> None:
        for gate in self._gates:
            gate.set()


class TestOllama(ProviderContract):
    """Tool arguments travel as objects, so they cannot be broken text; tokens have two buckets."""

    lacks = frozenset({"broken_arguments"})
    usage_buckets = frozenset({"input", "output"})

    @pytest.fixture
    async def upstream(self):
        async with OllamaServer(MODEL) as server:
            yield OllamaUpstream(server)

    @pytest.fixture
    async def provider(self, upstream):
        provider = OllamaProvider(OllamaConfig(base_url=upstream.server.url), provider_services("ollama"))
        await provider.start()
        yield provider
        await provider.close()
