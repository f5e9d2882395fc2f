"""Environment variables that override single values: `LLM__PROVIDERS__OPENAI__TIMEOUTS__TOTAL=30s`.

Two underscores separate keys. A key is matched without regard to case, and any character a variable name cannot hold is
written as one underscore: provider `my-server` is `MY_SERVER`, model `qwen3:8b` is `QWEN3_8B`.
"""

import re
from collections.abc import Mapping
from typing import Final

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.layers import merge
from core.llm.providers.config.scalars import retyped
from core.llm.providers.config.tree import Node, Origin, Path, dotted, find, walk

PREFIX: Final = "LLM__"
_FOREIGN: Final = re.compile(r"[^a-z0-9]+")


def apply_overrides(tree: Node, env: Mapping[str, str], issues: list[ConfigIssue]) -> Node:
    """*tree* with every `LLM__…` variable of *env* laid over it; complaints are added to *issues*."""
    for name in sorted(env):
        if not name.startswith(PREFIX):
            continue
        origin = Origin(name)
        segments = name.removeprefix(PREFIX).split("__")
        if not all(segments):
            issues.append(origin.issue("a key is missing between the underscores", suggestion="write LLM__KEY__KEY=…"))
            continue
        path = _locate(tree, segments, origin, issues)
        if path is None:
            continue
        node = _value(env[name], origin, path, issues)
        for step in reversed(path):
            node.key_at = origin
            node = Node({step: node}, origin)
        tree = merge(tree, node)
    return tree


def _normal(key: str) -> str:
    return _FOREIGN.sub("_", key.lower())


def _locate(tree: Node, segments: list[str], origin: Origin, issues: list[ConfigIssue]) -> tuple[str, ...] | None:
    path: tuple[str, ...] = ()
    for segment in segments:
        node = find(tree, path)
        wanted = _normal(segment)
        if node is not None and node.value is not None and not isinstance(node.value, dict):
            kind = "a list" if isinstance(node.value, list) else "a single value"
            where = f"{node.at.layer}:{node.at.line}" if node.at.line else node.at.layer
            issues.append(
                origin.issue(
                    f"cannot override a part of {kind}",
                    path,
                    suggestion=f"write it as a mapping in {where}, or replace all of it",
                )
            )
            return None
        keys = [key for key in (node.value if node is not None and node.value else {}) if _normal(key) == wanted]
        if len(keys) > 1:
            issues.append(
                origin.issue(f"fits several keys: {', '.join(keys)}", path, suggestion="rename one of them in the file")
            )
            return None
        path = (*path, keys[0] if keys else segment.lower())
    return path


def _value(text: str, origin: Origin, path: Path, issues: list[ConfigIssue]) -> Node:
    if text[:1] in {"[", "{"}:
        # PyYAML is imported when a value is a list or a mapping, not with the library.
        from core.llm.providers.config.yaml_tree import parse_yaml  # noqa: PLC0415 - see above

        found: list[ConfigIssue] = []
        node = parse_yaml(text, origin.layer, found)
        if node is not None and not found:
            for _, child in walk(node):
                child.literal = True
                child.at = child.key_at = origin
            return node
        issues.append(
            origin.issue(
                "not a YAML list or mapping", path, suggestion=f"write {dotted(path[-1:])} as [a, b] or {{a: b}}"
            )
        )
    if text in {"null", "~"}:
        return Node(None, origin)
    value = retyped(text)
    return Node(value, origin, literal=True, text=None if isinstance(value, str) else text)
