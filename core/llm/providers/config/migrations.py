"""Older shapes of the file, brought up to date in memory."""

from collections.abc import Callable, Mapping
from typing import Final

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.tree import Node

CURRENT_VERSION: Final = 1

Migration = Callable[[Node], list[str]]
"""Changes the tree of one version into the next; returns one sentence per change."""

MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""By the version that each starts from. Version 1 is the first there is."""


def migrate(
    tree: Node,
    issues: list[ConfigIssue],
    migrations: Mapping[int, Migration] = MIGRATIONS,
    current: int = CURRENT_VERSION,
) -> None:
    """Bring *tree* to the *current* version; one warning per change, an error where that is impossible."""
    node = tree.value.get("schema_version")
    if node is None or node.value is None:
        return
    version = node.value
    if isinstance(version, bool):
        # Validation would take it for the number that it can be counted as.
        message = f"must be {current}, not {str(version).lower()}"
        issues.append(node.at.issue(message, ("schema_version",), suggestion=f"write schema_version: {current}"))
        return
    if not isinstance(version, int):
        return  # validation says what is wrong with it
    if version > current:
        message = f"made for a newer release: this one reads versions up to {current}"
        issues.append(node.at.issue(message, ("schema_version",), suggestion="upgrade core-llm, or use an older file"))
        return
    while version < current:
        step = migrations.get(version)
        if step is None:
            message = f"there is no version {version}"
            issues.append(node.at.issue(message, ("schema_version",), suggestion=f"write schema_version: {current}"))
            return
        issues.extend(
            node.at.issue(change, ("schema_version",), suggestion="change the file to keep this", warning=True)
            for change in step(tree)
        )
        version += 1
    node.value = current
