"""The oracle reads the usage ledger too: each lie in it is found, also about calls that left no trace."""

from dataclasses import replace

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule, UsageLedger
from core.llm.common.types import Usage
from core.llm.state.rows import AttemptRow
from core.llm.testing import FaultInjector, FaultPlan, Rule, WireServer
from core.llm.testing.call_log import CallLog
from core.llm.testing.fault_dialects import WIRE_DIALECTS
from core.llm.testing.fault_plan import refuse
from core.llm.testing.oracle import Oracle


async def a_run() -> tuple[FaultInjector, CallLog, list[AttemptRow]]:
    """A call that was repeated, and a stream that was left; with what the ledger says of them."""
    faults = FaultInjector(FaultPlan(Rule(refuse(503), ordinals=[1]), seed=5))
    async with WireServer() as server:
        faults.attach(server, WIRE_DIALECTS["openai"], name="one")
        config = {
            "default_model": "one/m",
            "providers": {"one": {**WIRE_DIALECTS["openai"].provider, "base_url": server.url}},
            "retry": {"initial_delay": "1ms"},
            "health_check": {"enabled": False},
        }
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            calls = CallLog(container.get(LLMService), users=True)
            await calls.generate(timeout=5)
            await calls.stream(leave_after=2)
            return faults, calls, list(await container.get(UsageLedger).rows())


def lose(rows: list[AttemptRow], index: int) -> None:
    del rows[index]


def leave_open(rows: list[AttemptRow], index: int) -> None:
    rows[index] = replace(rows[index], state="open")


def write_twice(rows: list[AttemptRow], index: int) -> None:
    rows.append(replace(rows[index]))


def book_another_usage(rows: list[AttemptRow], index: int) -> None:
    rows[index] = replace(rows[index], state="settled", usage=Usage(input=12345))


@pytest.mark.parametrize("index", [0, 1], ids=["left", "answered"])
@pytest.mark.parametrize(
    ("lie", "invariant"), [(lose, "I3"), (leave_open, "I3"), (write_twice, "I3"), (book_another_usage, "I4")]
)
async def test_each_lie_of_the_ledger_is_found(lie, invariant: str, index: int) -> None:
    """Without it there is no complaint."""
    faults, calls, rows = await a_run()
    assert [row.user for row in rows] == ["call 2", "call 1", "call 1"]
    assert list(Oracle(faults, calls, rows=rows).broken()) == []
    lie(rows, index)
    found = list(Oracle(faults, calls, rows=rows).broken())
    assert any(one.startswith(invariant) for one in found), found
