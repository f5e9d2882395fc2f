"""A thousand random faults, half of them in each of two chains: the library's account is what the servers saw."""

import asyncio
import os

import pytest

from core.container import Container
from core.llm import EventBus, LLMService, ProviderModule, UsageLedger
from core.llm.pipeline.breaker import Breaker
from core.llm.testing import EventRecorder, FaultInjector, FaultPlan, Rule, SecretCanary, WireServer
from core.llm.testing.call_log import CallLog
from core.llm.testing.fault_dialects import WIRE_DIALECTS
from core.llm.testing.fault_plan import ANY_FAULT, silence, stall
from core.llm.testing.oracle import Bounds, Oracle
from tests.chaos.suites.measure import LoopLag
from tests.leaks import Resources

pytestmark = pytest.mark.leakcheck

SEED = int(os.environ.get("CORE_LLM_CHAOS_SEED", "20261120"))
FAULTS = 500  # for each of the two chains
AT_ONCE = 25
DEADLINE = 3.0
CHAINS = [("openai", "anthropic", "ollama"), ("gemini", "openai_responses", "bedrock")]


def config_of(chain: tuple[str, ...], servers: list[WireServer], secret: str) -> dict:
    """A chain of providers, one for each server, each in another wire format."""
    providers = {}
    for name, server in zip(chain, servers, strict=True):
        settings = dict(WIRE_DIALECTS[name].provider)
        if "api_key" in settings:
            settings["api_key"] = secret
        providers[name] = {
            **settings,
            "base_url": server.url,
            "models": {"m": {"context_window": 9000, "max_output_tokens": 100}},
            "timeouts": {"connect": 1, "first_token": 0.5, "idle": 0.5, "total": 1.5},
            "rate_limits": {"adaptive_concurrency": False},  # it has tests of its own, and would hold most calls back
        }
    first, *rest = (f"{name}/m" for name in chain)
    return {
        "llm_service": {
            "default_model": "any",
            "models": {"any": {"use": first, "fallback": rest}},
            "providers": providers,
            "retry": {"initial_delay": "2ms", "max_delay": "20ms"},
            "health_check": {"enabled": False},
        }
    }


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
async def test_F104_a_thousand_random_faults_are_told_as_they_were(chain, logged, monkeypatch) -> None:
    """Three providers fail at random, calls run side by side, some are left: all accounts agree in the end.

    Requests per provider and per call stay within what is configured, and no call outlives its deadline.
    """
    # With every second request failing, a breaker that waits for seconds would leave nothing to look at.
    monkeypatch.setattr(Breaker, "FIRST_OPEN", 0.02)
    monkeypatch.setattr(Breaker, "LONGEST_OPEN", 0.05)
    canary, before = SecretCanary(), Resources.now()
    # Faults that last as long as the limits are rare, or the test would do nothing but wait for them.
    plan = FaultPlan(Rule(silence(), stall(after=3), probability=0.01), Rule(*ANY_FAULT, probability=0.5), seed=SEED)
    faults = FaultInjector(plan)
    servers = [WireServer() for _ in chain]
    for name, server in zip(chain, servers, strict=True):
        await server.start()
        faults.attach(server, WIRE_DIALECTS[name], name=name)
    try:
        module = ProviderModule(config_of(chain, servers, canary.secret), watch=False, env={})
        async with Container([module]) as container:
            calls = CallLog(container.get(LLMService), users=True)
            recorder = EventRecorder(container.get(EventBus))

            async def caller(number: int) -> None:
                while sum(entry.fault is not None for entry in faults.timeline) < FAULTS:
                    kind = (len(calls.calls) + number) % 7
                    if kind == 0:
                        await calls.stream(timeout=DEADLINE, leave_after=2)
                    elif kind % 2:
                        await calls.stream(timeout=DEADLINE)
                    else:
                        await calls.generate(timeout=DEADLINE)
                    await asyncio.sleep(0.002)  # where all rest, a call ends at once

            async with LoopLag() as lag:
                await asyncio.gather(*(caller(number) for number in range(AT_ONCE)))
            recorder.close()
            rows = await container.get(UsageLedger).rows(limit=10_000)
    finally:
        for server in servers:
            await server.stop()
    oracle = Oracle(
        faults,
        calls,
        recorder,
        # A used connection that breaks is replaced once for each call, free of charge; and the machine may be late.
        Bounds(after_deadline=1 + lag.stood, under_way=0.25 + lag.stood, left_closed_within=0.25 + lag.stood),
        rows=rows,
        left_behind=lambda: Resources.now().beyond(before),
        leaks=lambda: [str(leak) for leak in canary.find(logged, [str(call.error) for call in calls.calls])],
    )
    await oracle.verify(within=20)
    assert sum(call.response is not None for call in calls.calls) > 50
    assert max(call.ended - call.began for call in calls.calls) <= DEADLINE + 1 + lag.stood
