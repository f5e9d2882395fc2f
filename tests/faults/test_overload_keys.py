"""F117: keys are replaced while fifty callers are busy, on a real wire; F17: all of them may be dead."""

import asyncio
from typing import Self

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.common.exceptions import LLMError
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.testing import wire_dialects as wire
from core.llm.testing.wire_server import WireRequest, WireServer
from core.llm.testing.wire_steps import Stall, answer, script

CALLERS = 50
OLD, NEW = "sk-old-0123456789abcdef", "sk-new-0123456789abcdef"


def config_with(server: WireServer, keys, **provider):
    """One provider at *server*."""
    return {
        "llm_service": {
            "default_model": "only/m",
            "providers": {
                "only": {"type": "openai", "base_url": server.url, "allow_insecure": True, "models": ["m"],
                         "api_keys": keys, **provider},
            },
            "retry": {"initial_delay": 0.01, "max_retries": 2},
            "health_check": {"enabled": False},
        }
    }  # fmt: skip


def key_of(request: WireRequest) -> str:
    """The key that a request carries."""
    return request.headers["authorization"].removeprefix("Bearer ")


class Gatekeeper:
    """A server that knows which keys are good."""

    def __init__(self, server: WireServer, *good: str) -> None:
        self.server = server
        self.good = set(good)
        server.when(
            lambda request: key_of(request) not in self.good,
            answer(wire.openai_error("Incorrect API key provided", code="invalid_api_key"), 401),
        )
        # Slow enough that every caller has a request in flight when something changes.
        slow = answer(wire.openai_answer("fine")).steps
        server.otherwise(script(Stall(0.02), *slow))


class Callers:
    """Callers who ask again and again."""

    def __init__(self, llm: LLMService) -> None:
        self.llm = llm
        self.failures: list[LLMError] = []
        self.answers = 0
        self.stopping = False

    async def __aenter__(self) -> Self:
        self.tasks = [asyncio.create_task(self._ask()) for _ in range(CALLERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping = True
        await asyncio.gather(*self.tasks)

    async def answered(self, more: int) -> None:
        """Wait until so many further calls were answered."""
        wanted = self.answers + more
        async with asyncio.timeout(30):
            while self.answers < wanted and not self.failures:
                await asyncio.sleep(0.01)

    async def _ask(self) -> None:
        while not self.stopping:
            try:
                await self.llm.generate("hi")
                self.answers += 1
            except LLMError as error:
                self.failures.append(error)
                return


@pytest.mark.parametrize("overlap", [True, False], ids=["both-valid-for-a-while", "old-one-refused-at-once"])
async def test_f117_a_key_is_replaced_under_load_without_a_failed_call(overlap, no_leaks):
    """No call fails, and a second after the change nobody uses the old key any more."""
    async with WireServer() as server:
        gate = Gatekeeper(server, OLD)
        async with Container([ProviderModule(config_with(server, [OLD]), watch=False, env={})]) as container:
            async with Callers(container.get(LLMService)) as callers:
                await callers.answered(2 * CALLERS)
                gate.good.add(NEW)
                if not overlap:
                    gate.good.discard(OLD)
                result = await container.get(ProviderConfigManager).replace(
                    config_with(server, [{"key": NEW, "weight": 2}])
                )
                changed = asyncio.get_running_loop().time()
                assert result.status == "applied"
                await callers.answered(4 * CALLERS)
                gate.good.discard(OLD)
                await callers.answered(4 * CALLERS)
    assert callers.failures == []
    assert [request for request in server.requests if request.at > changed + 1.0 and key_of(request) == OLD] == []
    assert sum(key_of(request) == NEW for request in server.requests) >= 8 * CALLERS - 100


async def test_f117_a_call_that_waits_for_its_retry_goes_on_with_the_new_key(no_leaks):
    """It began on the old configuration, and the old key is refused by the time it is sent again."""
    async with WireServer() as server:
        gate = Gatekeeper(server, OLD)
        server.will(answer(wire.openai_error("come back later"), 503, {"Retry-After": "1.2"}))
        async with Container([ProviderModule(config_with(server, [OLD]), watch=False, env={})]) as container:
            call = asyncio.create_task(container.get(LLMService).generate("hi"))
            await server.wait_for_requests(1)
            await container.get(ProviderConfigManager).replace(config_with(server, [NEW]))
            gate.good = {NEW}
            assert (await call).content == "fine"
    assert [key_of(request) for request in server.requests] == [OLD, NEW]


async def test_f117_a_key_that_is_withdrawn_before_anybody_edits_costs_no_call_where_there_is_another(no_leaks):
    """Fifty calls learn it at the same moment: each goes on with the other key, whatever retries are left."""
    async with WireServer() as server:
        gate = Gatekeeper(server, OLD, NEW)
        async with Container([ProviderModule(config_with(server, [OLD, NEW]), watch=False, env={})]) as container:
            async with Callers(container.get(LLMService)) as callers:
                await callers.answered(2 * CALLERS)
                gate.good.discard(OLD)
                await callers.answered(4 * CALLERS)
    assert callers.failures == []
    refused = [request for request in server.requests[2 * CALLERS :] if key_of(request) == OLD]
    assert len(refused) <= 4 * CALLERS


async def test_f17_when_all_keys_are_dead_one_error_says_so_and_nothing_more_is_sent(no_leaks):
    """Three requests find it out; the fourth call is told at once what to correct."""
    keys = [f"sk-dead-{number}-0123456789" for number in range(3)]
    async with WireServer() as server:
        Gatekeeper(server)
        async with Container([ProviderModule(config_with(server, keys), watch=False, env={})]) as container:
            llm = container.get(LLMService)
            for _ in range(3):
                with pytest.raises(LLMError) as caught:
                    await llm.generate("hi")
            error = caught.value
            status = llm.get_provider_status()["only"]
    assert (error.type, error.code, error.retryable) == ("authentication", "key_refused", False)
    assert "refused all 3 keys" in str(error)
    assert "Correct api_keys" in str(error)
    assert {key_of(request) for request in server.requests} == set(keys)
    assert len(server.requests) == 3
    assert status.state == "quarantined"
    assert len(status.parts) == 3


async def test_f96_a_limit_of_one_key_of_three_moves_its_calls_to_the_others(no_leaks):
    """The limited key is not used before its time, and no caller notices."""
    keys = [f"sk-key-{number}-0123456789" for number in range(3)]
    async with WireServer() as server:
        limited = answer(wire.openai_error("Rate limit reached", type="requests"), 429, {"Retry-After": "30"})
        server.when(lambda request: key_of(request) == keys[1], limited)
        server.otherwise(answer(wire.openai_answer("fine")))
        async with Container([ProviderModule(config_with(server, keys), watch=False, env={})]) as container:
            llm = container.get(LLMService)
            for _ in range(30):
                assert (await llm.generate("hi")).content == "fine"
            assert llm.get_provider_status()["only"].state == "degraded"
    used = [key_of(request) for request in server.requests]
    assert used.count(keys[1]) == 1
    assert min(used.count(keys[0]), used.count(keys[2])) >= 14
