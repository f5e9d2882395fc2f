"""F10, F11, I5: used connections that are dead cost a call one request more than it may make, wherever they are."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from core.container import Container
from core.llm import LLMService, ProviderError, ProviderModule
from core.llm.common.exceptions import AllAttemptsFailed
from core.llm.testing import FaultInjector, FaultPlan, Rule, WireServer
from core.llm.testing.call_log import CallLog
from core.llm.testing.fault_dialects import OPENAI
from core.llm.testing.fault_plan import reset
from core.llm.testing.oracle import Bounds, Oracle
from core.llm.testing.wire_dialects import openai_answer, openai_stream
from core.llm.testing.wire_steps import Rst, WaitFor, answer, script
from core.llm.testing.wire_steps import stream as wire_stream

ATTEMPTS = 4


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_F10_F163_a_pool_full_of_dead_connections_costs_one_free_repetition(stream: bool) -> None:
    """A load balancer that has forgotten all of them answers each with a reset; the server behind it is well."""
    together = asyncio.Event()
    async with WireServer() as server:
        provider = {**OPENAI.provider, "base_url": server.url, "models": ["m"]}
        config = {"providers": {"one": provider}, "health_check": {"enabled": False}, "retry": {"max_retries": 0}}
        module = ProviderModule({"llm_service": config}, watch=False, env={})
        async with Container([module]) as container:
            llm = container.get(LLMService)
            whole, streamed = answer(openai_answer("hello")), wire_stream(openai_stream("hello"))
            server.otherwise(script(WaitFor(together), *whole.steps))
            calls = [asyncio.create_task(llm.generate("hello", model="one/m")) for _ in range(4)]
            await server.wait_for_requests(4)
            together.set()
            await asyncio.gather(*calls)
            healthy = streamed if stream else whole
            server.choose(lambda request: script(Rst()) if request.connection.number <= 4 else healthy)
            if stream:
                response = await llm.stream("hello", model="one/m").response()
            else:
                response = await llm.generate("hello", model="one/m")
    assert response.content == "hello"
    assert response.trace is not None
    assert [attempt.error_type for attempt in response.trace.attempts] == ["network_error", None]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_F10_F11_I5_many_dead_connections_cost_one_request_beyond_max_attempts(stream: bool) -> None:
    """Three servers that were used a moment ago take the request and reset the connection, each time they are asked."""
    faults = FaultInjector(FaultPlan(Rule(reset(), between=(0, float("inf")))))
    names = ("one", "two", "three")
    async with AsyncExitStack() as stack:
        providers = {}
        for name in names:
            server = await stack.enter_async_context(WireServer())
            faults.attach(server, OPENAI, name=name)
            providers[name] = {**OPENAI.provider, "base_url": server.url, "models": ["m"]}
        first, *rest = (f"{name}/m" for name in names)
        config = {
            "models": {"any": {"use": first, "fallback": rest}},
            "providers": providers,
            "retry": {"initial_delay": "1ms", "max_delay": "2ms", "max_attempts": ATTEMPTS},
            "health_check": {"enabled": False},
        }
        module = ProviderModule({"llm_service": config}, watch=False, env={})
        container = await stack.enter_async_context(Container([module]))
        llm = container.get(LLMService)
        resetting, faults.plan = faults.plan, FaultPlan()
        for name in names:
            assert await llm.generate("hello", model=f"{name}/m")
        faults.plan = resetting
        faults.timeline.clear()
        calls = CallLog(llm)
        call = await (calls.stream if stream else calls.generate)(model="any", timeout=10)
        await Oracle(faults, calls, bounds=Bounds(per_call=ATTEMPTS + 1)).verify()
    assert isinstance(call.error, ProviderError | AllAttemptsFailed)
    assert len(faults.timeline) == ATTEMPTS + 1, faults.report()
