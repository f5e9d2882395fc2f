"""Rows in memory: bounded, with sums over all that ever was."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from loguru import logger

from core.llm.common.types import Cost, Usage
from core.llm.state import memory
from core.llm.state.holds import Claim, Scope
from core.llm.state.memory import MemoryStore
from core.llm.state.rows import AttemptRow

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def settled(store: MemoryStore, number: int) -> AttemptRow:
    """An attempt that cost a dime."""
    row = AttemptRow(f"c-{number}", f"c{number % 3}", number, "alpha", "m", START + timedelta(seconds=number))
    store.begin(row)
    row.book("settled", Usage(10, output=1), Cost(Decimal("0.1")))
    store.settle(row)
    return row


async def test_S63_rows_are_bounded_and_the_sums_are_not_lost(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 5)
    store = MemoryStore()
    for number in range(12):
        settled(store, number)
    assert [row.number for row in await store.rows(None, None, 100)] == [11, 10, 9, 8, 7]
    (total,) = await store.totals(None)
    assert (total.attempts, total.input, total.output, total.amount) == (12, 120, 12, Decimal("1.2"))


async def test_rows_are_found_by_call_and_by_time():
    store = MemoryStore()
    for number in range(9):
        settled(store, number)
    assert [row.number for row in await store.rows("c1", None, 100)] == [7, 4, 1]
    assert [row.number for row in await store.rows(None, START + timedelta(seconds=7), 100)] == [8, 7]
    (total,) = await store.totals(START + timedelta(seconds=7))
    assert total.attempts == 2


async def test_an_open_row_is_seen_and_not_summed():
    store = MemoryStore()
    store.begin(AttemptRow("c-1", "c", 1, "alpha", "m", START))
    assert [row.state for row in await store.rows(None, None, 10)] == ["open"]
    assert await store.totals(None) == ()
    assert await store.totals(START) == ()


def test_a_row_does_not_hold_on_to_what_the_provider_said():
    """Its numbers, and not the object they were read from: rows are many."""
    row = AttemptRow("c-1", "c", 1, "alpha", "m", START)
    row.book("settled", Usage(1, 2, 3, 4, 5, raw={"prompt_tokens": 1}), None)
    assert row.usage.raw is None
    assert row.usage == Usage(1, 2, 3, 4, 5)


async def test_a_budget_that_begins_with_less_than_was_spent_says_so_once(monkeypatch):
    """What the forgotten rows cost is not known here; a hard budget that begins too low is not begun in silence."""
    monkeypatch.setattr(memory, "KEPT", 5)
    store = MemoryStore()
    lines: list[str] = []
    sink = logger.add(lines.append)
    for number in range(5):
        settled(store, number).closed = True
    claim = Claim(Scope(), START, START + timedelta(days=1), 10**12)
    assert store.spent(claim, "USD") == 5 * 10**8
    assert not any("no more" in line for line in lines)
    for number in range(5, 9):
        settled(store, number).closed = True
    assert [store.spent(claim, "USD") for _ in range(3)] == [5 * 10**8] * 3
    logger.remove(sink)
    assert sum("no more" in line for line in lines) == 1


async def test_S63_sums_stay_exact_however_many_names_of_models_there_are(monkeypatch):
    """Names of models may come from outside; what is spent on the ten thousand and first is still counted."""
    monkeypatch.setattr(memory, "_NAMES_KEPT", 3)
    store = MemoryStore()
    for number in range(10):
        row = AttemptRow(f"c-{number}", "c", number, "alpha", f"m{number % 7}", START)
        store.begin(row)
        row.book("settled", Usage(1), Cost(Decimal("0.1")))
        store.settle(row)
    totals = await store.totals(None)
    assert {one.model for one in totals} == {"m0", "m1", "m2", memory.OTHERS}
    assert sum(one.attempts for one in totals) == 10
    assert sum(one.amount for one in totals) == Decimal(1)
