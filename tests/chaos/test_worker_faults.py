"""Faults around a real worker process: the embedded model answers where the plan lets it."""

import pytest

from core.container import Container
from core.llm import EventBus, LLMService, ProviderModule, UsageLedger
from core.llm.factory.discovery import builtin_spec
from core.llm.testing import EventRecorder, FaultInjector, FaultPlan, Rule
from core.llm.testing.call_log import CallLog
from core.llm.testing.fault_plan import cut, refuse
from core.llm.testing.oracle import Oracle
from tests.leaks import Resources, assert_nothing_left

pytestmark = pytest.mark.leakcheck


async def test_faults_around_a_worker_process_are_told_as_they_were() -> None:
    """Refusals are repeated, a stream that is cut is an error, one that is left stops the model; all accounts agree."""
    pytest.importorskip("xllamacpp", reason="the engine of the embedded model is an extra")
    spec = builtin_spec("llama_cpp")
    assert spec is not None
    before = Resources.now()
    faults = FaultInjector(FaultPlan(Rule(refuse(503), ordinals=[1]), Rule(cut(after=2), ordinals=[3]), seed=7))
    config = {
        "default_model": "local/tiny",
        "providers": {"local": {"type": "llama_cpp", "models": {"tiny": "embedded"}}},
        "retry": {"initial_delay": "1ms"},
        "health_check": {"enabled": False},
    }
    module = ProviderModule({"llm_service": config}, watch=False, env={}, plugins=[faults.around(spec)])
    async with Container([module]) as container:
        calls = CallLog(container.get(LLMService), users=True)
        with EventRecorder(container.get(EventBus)) as recorder:
            await calls.generate("What does the retry layer do?", timeout=100, max_tokens=30)
            broken = await calls.stream("What is a breaker?", timeout=100, max_tokens=30)
            left = await calls.stream("What is a lease?", leave_after=2, timeout=100, max_tokens=30)
            whole = await calls.stream("What is a ledger?", timeout=100, max_tokens=30)
            rows = await container.get(UsageLedger).rows()
            # What a model counts is not what the rig's servers count.
            await Oracle(faults, calls, recorder, rows=rows, tokens=None).verify(within=20)
    assert [entry.answered for entry in faults.timeline] == [False, True, False, True, True]
    assert broken.error is not None
    assert left.left
    assert whole.response is not None
    assert whole.response.content == whole.text
    await assert_nothing_left(before)
