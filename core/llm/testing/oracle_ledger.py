"""What the usage ledger must say of a call: one closed row for each request that arrived, with what it has used."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from core.llm.common.types import Usage
from core.llm.state.rows import AttemptRow
from core.llm.testing.call_log import CallRecord, user_of
from core.llm.testing.fault_injector import Injected


def rows_by_call(rows: Sequence[AttemptRow], calls: Sequence[CallRecord]) -> Mapping[int, list[AttemptRow]]:
    """Each row with the number of its call: by its user, or by the trace of a call that has one."""
    numbers = {user_of(call.number): call.number for call in calls}
    numbers |= {call.trace.call_id: call.number for call in calls if call.trace is not None}
    found: dict[int, list[AttemptRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.number):
        number = numbers.get(row.call_id) or numbers.get(row.user or "")
        if number is not None:
            found[number].append(row)
    return found


def repeated(rows: Sequence[AttemptRow]) -> Iterator[str]:
    """Attempts that were written down twice."""
    counted = Counter(row.attempt_id for row in rows)
    yield from (f"I3 attempt {one} has {count} rows" for one, count in counted.items() if count > 1)


def complaints(
    call: CallRecord, rows: Sequence[AttemptRow], arrived: Sequence[Injected], tokens: Callable[[str], Usage] | None
) -> Iterator[str]:
    """Where the *rows* of *call* and what *arrived* at the upstreams disagree; calls that were left count too."""
    for row in rows:
        if row.state == "open":
            yield f"I3 attempt {row.number} at {row.provider} is still open in the ledger"
    for provider in {row.provider for row in rows} | {entry.upstream for entry in arrived}:
        here = [row for row in rows if row.provider == provider]
        requests = [entry for entry in arrived if entry.upstream == provider]
        # A request that broke may not have arrived; one that was answered has, whole or in part.
        least = sum(row.state in {"settled", "estimated"} and row.error is None for row in here)
        if not least <= len(requests) <= len(here):
            yield f"I3 {len(requests)} requests arrived at {provider}, the ledger has {least} to {len(here)}"
        if tokens is None:
            continue
        counted = [tokens(entry.text) for entry in requests]
        for row in here:
            if row.state == "settled" and row.usage not in counted:
                yield f"I4 attempt {row.number} is booked with {row.usage}, {provider} counted otherwise"
    if call.response is not None and not any(row.usage == call.response.usage for row in rows):
        yield f"I4 the caller was told {call.response.usage}, the ledger has no such row"
