"""Aliases that admit none of their models: said when the configuration is loaded, before a call fails."""

from collections.abc import Iterator

from core.llm.common.exceptions import ConfigIssue
from core.llm.runtime.runtime import Runtime


def empty_aliases(runtime: Runtime) -> Iterator[ConfigIssue]:
    """One warning for each of them. Asks nobody: what is discovered later may change it."""
    for alias, reasons in runtime.router.admits_nobody():
        text = f"no model meets this, as far as is known now: {'; '.join(reasons)}"
        advice = "write what is missing under `models` of the provider, or ask for less"
        yield ConfigIssue(text, f"models.{alias}.where", suggestion=advice, severity="warning")
