"""A configuration as a tree that remembers, for every key and value, where it was written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import SecretStr

from core.llm.common.exceptions import ConfigIssue
from core.llm.common.secrets import MASK, redact

Path = tuple[str | int, ...]

MAX_DEPTH: Final = 50
"""Levels a configuration may be nested."""

_PRINTABLE_KEY: Final = re.compile(r"[\w.:/@+-]{1,80}")


@dataclass(frozen=True, slots=True)
class Origin:
    """A place where something was written."""

    layer: str
    """The file, the environment variable, or `code`."""
    line: int | None = None
    column: int | None = None

    def issue(
        self, message: str, path: Path = (), *, suggestion: str | None = None, warning: bool = False
    ) -> ConfigIssue:
        """Something that is wrong here."""
        return ConfigIssue(
            message=message,
            path=dotted(path),
            file=self.layer,
            line=self.line,
            column=self.column,
            suggestion=suggestion,
            severity="warning" if warning else "error",
        )


CODE: Final = Origin("code")
"""Values that were passed in by the program."""


@dataclass(slots=True)
class Node:
    """One value: a mapping of nodes, a list of nodes, or a scalar."""

    value: Any = field(repr=False)
    at: Origin
    key_at: Origin | None = None
    """Where its key stands, for a value in a mapping."""
    plain: bool = False
    """Written without quotes: a value that is wholly a substitution takes the type it looks like."""
    literal: bool = False
    """Already final: `${…}` in it means itself."""
    text: str | None = field(default=None, repr=False)
    """What a variable held, where `value` is the number or boolean it looks like: a text field takes this instead."""
    secret: bool = False
    under: "Node | None" = field(default=None, repr=False)
    """What a lower layer said, which this value replaces."""

    @property
    def key_origin(self) -> Origin:
        """Where to point for a complaint about the key."""
        return self.key_at or self.at


def find(root: Node, path: Sequence[str | int]) -> Node | None:
    """The node at *path*, or None."""
    node: Node | None = root
    for step in path:
        if node is None:
            return None
        if isinstance(node.value, dict):
            node = node.value.get(step)
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every node below and including *node*, parents first."""
    yield path, node
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from walk(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from walk(child, (*path, index))


def copy(node: Node) -> Node:
    """A tree of its own with the same places."""
    if isinstance(node.value, dict):
        return replace(node, value={key: copy(child) for key, child in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, value=[copy(child) for child in node.value])
    return replace(node)


def from_data(data: Any, origin: Origin = CODE, *, literal: bool = False) -> Node:
    """Wrap plain Python values, all of one origin."""
    if isinstance(data, Mapping):
        children = {str(key): from_data(value, origin, literal=literal) for key, value in data.items()}
        return Node(children, origin)
    if isinstance(data, list | tuple):
        return Node([from_data(value, origin, literal=literal) for value in data], origin)
    if isinstance(data, SecretStr):
        return Node(data.get_secret_value(), origin, literal=True, secret=True)
    return Node(data, origin, literal=literal)


def printable_key(key: object) -> str:
    """*key* as it may stand in a message: a key can be a secret that slipped one column to the left."""
    text = str(key)
    return text if _PRINTABLE_KEY.fullmatch(text) and redact(text) == text else MASK


def dotted(path: Sequence[str | int]) -> str:
    """`providers.openai.models[2]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{printable_key(step)}" if text else printable_key(step)
    return text


def parse_dotted(root: Node, path: str) -> Path | None:
    """The steps of a dotted *path*. Keys may hold dots themselves: the longest key that exists wins."""
    steps: list[str | int] = []
    node, rest = root, path
    while rest:
        if isinstance(node.value, list):
            match = re.match(r"\[?(\d+)\]?\.?", rest)
            if match is None or int(match[1]) >= len(node.value):
                return None
            steps.append(int(match[1]))
            node, rest = node.value[int(match[1])], rest[match.end() :]
            continue
        keys = node.value if isinstance(node.value, dict) else {}
        fitting = [key for key in keys if rest == key or rest.startswith((f"{key}.", f"{key}["))]
        if not fitting:
            return None
        key = max(fitting, key=len)
        steps.append(key)
        node, rest = keys[key], rest[len(key) :].removeprefix(".")
    return tuple(steps)
