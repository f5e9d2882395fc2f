"""Read TOML into the same tree as YAML.

`tomllib` gives values without places, so the lines of tables and keys are found by a scan of the text. The scan only
serves messages: where it finds nothing, a value has the place of its parent.
"""

import re
import tomllib
from typing import Any, Final

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.tree import MAX_DEPTH, Node, Origin

_SYNTAX_PLACE: Final = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_QUOTED: Final = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")
_PART: Final = r"""(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_DOTTED: Final = rf"{_PART}(?:\s*\.\s*{_PART})*"
_LINE: Final = re.compile(rf"^(\s*)(?:\[\[?\s*({_DOTTED})\s*\]\]?|({_DOTTED})\s*=)")

Places = dict[tuple[str, ...], Origin]


def parse_toml(text: str, file: str, issues: list[ConfigIssue]) -> Node | None:
    """The tree of *text*, or None where it is not TOML; every complaint is added to *issues*."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        issues.append(_syntax_issue(text, file, str(error)))
        return None
    except RecursionError:
        issues.append(Origin(file, 1, 1).issue(f"nested deeper than {MAX_DEPTH} levels"))
        return None
    try:
        return _node(data, Origin(file, 1, 1), (), _places(text, file))
    except RecursionError:
        issues.append(Origin(file, 1, 1).issue(f"nested deeper than {MAX_DEPTH} levels"))
        return None


def _node(data: Any, at: Origin, path: tuple[str, ...], places: Places) -> Node:
    if len(path) > MAX_DEPTH:
        raise RecursionError
    if isinstance(data, dict):
        children = {}
        for key, value in data.items():
            child_at = places.get((*path, key), at)
            children[key] = _node(value, child_at, (*path, key), places)
            children[key].key_at = child_at
        return Node(children, at)
    if isinstance(data, list):
        return Node([_node(value, at, path, places) for value in data], at)
    # TOML has dates of its own; no field takes one, and text reads better in the message than an object would.
    return Node(data if isinstance(data, str | int | float | bool) else str(data), at)


def _places(text: str, file: str) -> Places:
    places: Places = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.match(line)
        if match is None:
            continue
        origin = Origin(file, number, match.start(2 if match[2] else 3) + 1)
        path = tuple(part.strip("\"'") for part in re.findall(_PART, match[2] or match[3]))
        if match[2]:
            table = path
        else:
            path = (*table, *path)
        for depth in range(1, len(path) + 1):
            places.setdefault(path[:depth], origin)
    return places


def _syntax_issue(text: str, file: str, message: str) -> ConfigIssue:
    place = _SYNTAX_PLACE.search(message)
    lines = text.splitlines() or [""]
    line, column = (int(place[1]), int(place[2])) if place and place[1] else (len(lines), len(lines[-1]) + 1)
    problem = _QUOTED.sub("…", _SYNTAX_PLACE.sub("", message))
    return Origin(file, line, column).issue(
        f"not valid TOML: {problem[:1].lower()}{problem[1:]}",
        suggestion="put text in double quotes, write tables as [name]",
    )
