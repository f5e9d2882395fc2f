"""S08, S09, S10, S14 where a route says `continue`: another model goes on from what was delivered, or nobody does."""

import json
from typing import Any

import pytest

from core.container import Container
from core.llm import LLMService, ProviderError, ProviderModule, UsageLedger
from core.llm.testing import FaultInjector, FaultPlan, Rule, WireServer
from core.llm.testing.fault_dialects import OPENAI
from core.llm.testing.fault_plan import Fault, cut, garbled, reset, stall, unfinished

BEGUN, REST = "one two three ", "four five six"
BREAKS: tuple[Fault, ...] = (cut(after=3), reset(after=3), garbled(after=3), stall(after=3), unfinished(after=3))


def config(primary: str, spare: str, prefill: str, idle: float) -> dict[str, Any]:
    """Two servers of the same format; *prefill* says how the second one is given the beginning of its answer."""
    common = {"type": "openai_compatible", "api_key": "sk-1", "models": ["m"]}
    return {
        "models": {"chat": {"use": "primary/m", "fallback": ["spare/m"], "mid_stream": "continue"}},
        "default_model": "chat",
        "providers": {
            "primary": {**common, "base_url": primary, "timeouts": {"idle": idle}},
            "spare": {**common, "base_url": spare, "quirks": {"prefill": prefill}},
        },
        "health_check": {"enabled": False},
    }


@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("prefill", ["trailing", "continue_final_message", "none"])
async def test_S08_S09_S10_S14_a_broken_stream_is_continued_where_a_model_takes_its_beginning(
    fault: Fault, prefill: str
) -> None:
    """Word for word, with one request at each server; where nobody can be prefilled the error has what was delivered."""
    faults = FaultInjector(FaultPlan(Rule(fault)))
    delivered: list[str] = []
    async with WireServer() as primary, WireServer() as spare:
        faults.attach(primary, OPENAI, name="primary", text=BEGUN + REST)
        faults.attach(spare, OPENAI, name="spare", text=REST, plan=FaultPlan())
        # Only a stall is waited out; a machine may be slow with everything else.
        settings = config(primary.url, spare.url, prefill, idle=0.5 if fault.name.startswith("stall") else 60)
        module = ProviderModule({"llm_service": settings}, watch=False, env={})
        async with Container([module]) as container:
            llm, ledger = container.get(LLMService), container.get(UsageLedger)
            error = None
            try:
                async with llm.stream("count", timeout=60) as events:
                    async for event in events:
                        delivered.append(event.text)
                    response = await events.response()
            except ProviderError as broken:
                error = broken
            rows = await ledger.rows()
    if prefill == "none":
        assert error is not None
        assert error.partial is not None
        assert error.partial.text == "".join(delivered) == BEGUN
        assert spare.requests == []
        return
    assert error is None
    assert "".join(delivered) == response.content == BEGUN + REST
    assert (len(primary.requests), len(spare.requests)) == (1, 1)
    *_, last = json.loads(spare.requests[0].body)["messages"]
    assert (last["role"], last["content"]) == ("assistant", BEGUN.rstrip())
    assert [(row.provider, row.state) for row in rows] == [("spare", "settled"), ("primary", "estimated")]
