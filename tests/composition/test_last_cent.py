"""The last cent of a budget: calls that stream, fail, are hedged and are cancelled never spend more than there is."""

import asyncio
import random
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import BudgetExceeded, LLMError, ProviderError
from tests.unit.llm.support import World, serving

LIMIT = Decimal(1)
PER_USER = Decimal("0.5")
PRICED: dict[str, Any] = {"models": {"m": {"price": {"input": 1000, "output": 1000}}}}
ALIAS: dict[str, Any] = {
    "use": "alpha/m",
    "fallback": ["beta/m"],
    "mid_stream": "restart",
    "hedge": {"after": "10ms", "max_extra": 1.0},
}


async def call(world: World, number: int, user: str | None) -> None:
    """One call: whole, read to its end, or left in the middle."""
    if number % 3 == 0:
        await world.service.generate("hi there", model="fast", max_tokens=10, user=user)
        return
    async with world.service.stream("hi there", model="fast", max_tokens=10, user=user) as stream:
        seen = 0
        async for _ in stream:
            seen += 1
            if number % 5 == 0 and seen == 3:
                return


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_calls_at_once_spend_what_there_is_and_nothing_more(tmp_path: Path, backend: str) -> None:
    """F156: whatever becomes of them, the budget holds at every moment, and in the end the ledger says the same."""
    rng = random.Random(7)
    state = {"backend": "sqlite", "path": str(tmp_path / "state.db")} if backend == "sqlite" else {"backend": "memory"}
    costs = {
        "daily_limit": str(LIMIT),
        "limits": [{"scope": {"user": "*"}, "amount": str(PER_USER), "period": "day"}],
        "timezone": "Pacific/Kiritimati",
    }
    providers = {"alpha": PRICED, "beta": PRICED}
    async with serving(providers=providers, models={"fast": ALIAS}, costs=costs, state=state) as world:
        for script in (world.alpha, world.beta):
            for number in range(2000):
                if number % 7 == 0:
                    script.will_raise(ProviderError("server_error", "it went wrong", status_code=503))
                elif number % 7 == 1:
                    script.will_stream("a ", "b ", ProviderError("network_error", "it broke", code="body_cut"))
                else:
                    script.will_stream(*["word "] * 6)
        ledger = world.container.get(UsageLedger)
        refused = 0

        async def one(number: int) -> None:
            nonlocal refused
            try:
                await call(world, number, rng.choice(["ann", "ben", None]))
            except BudgetExceeded:
                refused += 1
            except LLMError:
                pass

        for _ in range(25):
            tasks = [asyncio.create_task(one(number)) for number in range(14)]
            await asyncio.sleep(0.002)
            for task in rng.sample(tasks, 3):
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            whole, *each = await ledger.budgets()
            assert whole.spent + whole.held <= LIMIT
            assert all(one.spent + one.held <= PER_USER for one in each)
        whole, *each = await ledger.budgets()
        assert [one.held for one in (whole, *each)] == [0] * (1 + len(each))
        assert whole.spent == sum(total.amount for total in await ledger.totals())
        assert refused
        assert whole.spent > LIMIT / 2
