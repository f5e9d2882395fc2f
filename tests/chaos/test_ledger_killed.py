"""A host is killed with -9 in the middle of its calls: what the provider got is in the ledger, exactly once."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from core.llm.accounting.ledger import UsageLedger
from core.llm.providers.config.models.service import StateOptions
from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import INPUT_TOKENS, openai_answer, openai_stream
from core.llm.testing.wire_server import WireRequest
from core.llm.testing.wire_steps import WireScript, answer, stream
from tests.chaos.hosting import host

ROUNDS = 3
ANSWER = "three small words"


def answered(request: WireRequest) -> WireScript:
    """Slow enough that some calls are always under way."""
    if request.json().get("stream"):
        return stream(openai_stream(ANSWER), gap=0.004)
    return answer(openai_answer(ANSWER))


async def test_F132_every_request_has_one_row_after_kill_9(tmp_path: Path) -> None:
    """I3: acknowledged calls are settled; what was under way is ambiguous; nothing is booked twice or lost."""
    path = tmp_path / "ledger.db"
    acknowledged: list[str] = []
    async with WireServer() as server:
        server.choose(answered)
        for number in range(1, ROUNDS + 1):
            async with host("tests.chaos.ledger_host", server.url, str(path)) as running:
                await running.tells("ready", 30)
                for _ in range(40 * number):
                    await running.tells("acknowledged", 30)
                running.process.kill()
                rest, _ = await running.process.communicate()
                told = running.told + [json.loads(line) for line in rest.decode().split("\n")[:-1]]
                acknowledged += [one["call"] for one in told if one["kind"] == "acknowledged"]
        sent = Counter(json.loads(request.body)["user"] for request in server.requests)
    ledger = UsageLedger(lambda: StateOptions(backend="sqlite", path=str(path)))
    await ledger.start()
    rows = {row.user: row for row in await ledger.rows(limit=100_000)}
    totals = await ledger.totals()
    await ledger.stop()
    assert set(sent.values()) == {1}
    assert sent.keys() <= rows.keys(), "a request that no row stands for"
    assert {row.state for row in rows.values()} <= {"settled", "ambiguous"}, "nothing stays open"
    settled = [row for row in rows.values() if row.state == "settled"]
    assert all((row.usage.input, row.usage.output) == (INPUT_TOKENS, 3) for row in settled)
    lost = len(rows) - len(settled)
    # What was being settled when the process died counts as ambiguous too: eight callers, one batch each.
    assert lost <= ROUNDS * 16
    by_call = {row.call_id: row for row in rows.values()}
    assert set(acknowledged) <= by_call.keys()
    assert sum(total.attempts for total in totals) == len(rows)


async def test_stopping_writes_every_row(tmp_path: Path) -> None:
    """SIGTERM, F127: the ledger is closed after the last call has ended."""
    path = tmp_path / "ledger.db"
    async with WireServer() as server:
        server.choose(answered)
        async with host("tests.chaos.ledger_host", server.url, str(path)) as running:
            await running.tells("ready", 30)
            for _ in range(20):
                await running.tells("acknowledged", 30)
            running.process.send_signal(2)
            await asyncio.wait_for(running.process.communicate(), 30)
        sent = {json.loads(request.body)["user"] for request in server.requests}
    ledger = UsageLedger(lambda: StateOptions(backend="sqlite", path=str(path)))
    await ledger.start()
    rows = await ledger.rows(limit=100_000)
    await ledger.stop()
    assert {row.user for row in rows} >= sent
    assert "open" not in {row.state for row in rows}
    assert "process_died" not in {row.error for row in rows}
