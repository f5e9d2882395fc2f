"""F10, F11, I5: used connections that are dead cost a call one request more than it may make, wherever they are."""

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

ATTEMPTS = 4


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
