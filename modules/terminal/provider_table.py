"""Providers as a table: how each is."""

from collections.abc import Mapping

from core.llm import HealthReport, ProviderStatus
from modules.terminal.table import columns, wrapped

TITLES = ("PROVIDER", "TYPE", "STATE", "DETAIL")


def provider_lines(
    providers: Mapping[str, ProviderStatus], checks: Mapping[str, HealthReport], width: int | None = None
) -> list[str]:
    """How calls have gone and what *checks* have just said; what keeps calls away is told below, at its full length."""
    rows, notes = [], []
    for one in providers.values():
        state, detail, well = _condition(one, checks.get(one.name))
        rows.append((one.name, one.type, state, detail if well else ""))
        if detail and not well:
            notes += wrapped(f"{one.name}: {detail}", width)
    return [*columns(TITLES, rows, width=width), *notes] if rows else ["no provider is configured"]


def _condition(status: ProviderStatus, check: HealthReport | None) -> tuple[str, str, bool]:
    """The state, what there is to say of it, and whether it is a good one."""
    if status.state != "ready" or check is None:
        return status.state, status.reason, status.state == "ready"
    if not check.probed:
        return "not asked", check.detail, True
    return ("ready", check.detail, True) if check.healthy else ("unhealthy", check.detail, False)
