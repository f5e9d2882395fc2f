"""Which of the rows in memory are found, and which count in a budget that is new."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from core.llm.common.types import Cost, Usage
from core.llm.state.holds import Claim, Scope
from core.llm.state.memory import MemoryStore
from core.llm.state.rows import AttemptRow

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def store_of(*spenders: tuple[str, str]) -> MemoryStore:
    """A dime spent by each of (alias, user)."""
    store = MemoryStore()
    for number, (alias, user) in enumerate(spenders):
        row = AttemptRow(f"a-{number}", f"c{number}", 1, "alpha", "m", START, alias=alias or None, user=user or None)
        store.begin(row)
        row.book("settled", Usage(10, output=1), Cost(Decimal("0.1")))
        store.settle(row)
        row.closed = True
    return store


def test_a_new_budget_of_an_alias_or_a_user_begins_with_what_they_have_spent() -> None:
    """A hard limit that was set after the spending holds for it as well, and for nobody else's."""
    store = store_of(("fast", "ann"), ("fast", "bob"), ("smart", "ann"), ("", ""))
    scopes = (Scope(alias="fast"), Scope(user="ann"), Scope(alias="smart", user="bob"), Scope())
    spent = [store.spent(Claim(scope, START, START + timedelta(days=1), 1), "USD") for scope in scopes]
    assert spent == [2 * 10**8, 2 * 10**8, 0, 4 * 10**8]


async def test_no_more_rows_are_given_than_were_asked_for() -> None:
    """The newest first."""
    found = await store_of(*[("fast", "ann")] * 5).rows(None, None, 2)
    assert [row.call_id for row in found] == ["c4", "c3"]
