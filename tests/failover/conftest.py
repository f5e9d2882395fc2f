"""Cells of the failover table: one situation, one wire format, streaming or not, twenty times faster than real."""

from collections.abc import AsyncIterator

import pytest

from core.llm.pipeline.breaker import Breaker
from tests.leaks import Resources, assert_nothing_left


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """A failure costs neither a task nor a connection."""
    before = Resources.now()
    yield
    await assert_nothing_left(before)


@pytest.fixture
def fast_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker that waits a twentieth of its time, like everything here."""
    monkeypatch.setattr(Breaker, "FIRST_OPEN", Breaker.FIRST_OPEN / 20)
    monkeypatch.setattr(Breaker, "LONGEST_OPEN", Breaker.LONGEST_OPEN / 20)
