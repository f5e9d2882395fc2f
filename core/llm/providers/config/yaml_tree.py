"""Read YAML into a located tree, and refuse what YAML would let pass in silence.

The tree is built from parse events, without recursion and without the constructor: duplicate keys are seen before
merges are applied, aliases are counted as they are expanded, and no tag can create an object.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.scalars import AmbiguousScalar, typed
from core.llm.providers.config.tree import MAX_DEPTH, Node, Origin, Path, printable_key

MAX_ALIASED_NODES: Final = 10_000
"""Nodes that aliases and merges may add to a file."""
_PURE_LIMIT: Final = 256 * 1024
_STANDARD_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "null", "bool", "int", "float")}
_TEXT_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_FAST: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Refused(Exception):
    """The rest of the file cannot be read."""


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open."""

    node: Node
    anchor: str | None
    pending: tuple[str, Origin] | None = None
    """The key whose value comes next."""
    merges: list[Node] = field(default_factory=list)
    ignored: bool = False
    """A complex key: read over, never used."""


def parse_yaml(text: str, file: str, issues: list[ConfigIssue]) -> Node | None:
    """The tree of *text*, or None where nothing can be made of it; every complaint is added to *issues*."""
    builder = _Builder(file, issues)
    try:
        for event in yaml.parse(text, Loader=_FAST):
            builder.take(event)
    except _Refused:
        return None
    except yaml.YAMLError as error:
        issues.append(_syntax_issue(text, file, error))
        return None
    return builder.root


class _Builder:
    """Consumes parse events; `root` is the result."""

    def __init__(self, file: str, issues: list[ConfigIssue]) -> None:
        self.root: Node | None = None
        self._file = file
        self._issues = issues
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0
        self._aliased = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._refuse(event, "a second document begins here", "keep one document: remove the `---`")
            case _:
                pass

    def _origin(self, event: Any) -> Origin:
        return Origin(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _path(self) -> Path:
        steps: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.node.value, list):
                steps.append(len(frame.node.value))
            elif frame.pending:
                steps.append(frame.pending[0])
        return tuple(steps)

    def _complain(self, origin: Origin, message: str, suggestion: str | None = None, path: Path | None = None) -> None:
        self._issues.append(origin.issue(message, self._path() if path is None else path, suggestion=suggestion))

    def _refuse(self, event: Any, message: str, suggestion: str | None = None) -> None:
        self._complain(self._origin(event), message, suggestion)
        raise _Refused

    def _open(self, event: Any) -> None:
        origin = self._origin(event)
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if event.tag not in (None, "!") and event.tag not in _STANDARD_TAGS:
            self._complain(origin, "tags are not allowed here", "remove the word that begins with `!`")
        node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], origin)
        frame = _Frame(node, event.anchor)
        if self._expects_key():
            self._complain(origin, "a key must be text", "quote it; `{{ … }}` templates are not rendered here")
            frame.ignored = True
        self._stack.append(frame)

    def _close(self) -> None:
        frame = self._stack.pop()
        for merged in frame.merges:
            for key, child in merged.value.items():
                frame.node.value.setdefault(key, child)
        if frame.ignored:
            self._stack[-1].pending = ("", frame.node.at)
            return
        self._place(frame.node, frame.anchor)

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].pending is None

    def _scalar(self, event: Any) -> None:
        origin = self._origin(event)
        if self._expects_key():
            self._key(event, origin)
            return
        node = Node(event.value, origin)
        if event.tag is not None and event.tag not in _TEXT_TAGS and event.tag not in _STANDARD_TAGS:
            self._complain(origin, "tags are not allowed here", "quote a value that begins with `!`")
        elif (event.implicit[0] and event.tag is None) or event.tag in _STANDARD_TAGS:
            node.plain = True
            try:
                node.value = typed(event.value)
            except AmbiguousScalar as ambiguous:
                self._complain(origin, "this value is ambiguous", str(ambiguous))
        self._place(node, event.anchor)

    def _key(self, event: Any, origin: Origin) -> None:
        frame, key = self._stack[-1], event.value
        if event.implicit[0]:
            try:
                text = isinstance(typed(key), str)
            except AmbiguousScalar:
                text = False
            if not text:
                self._complain(origin, "a key must be text", f'quote it: "{printable_key(key)}"')
        if event.anchor is not None:
            self._anchors[event.anchor] = Node(key, origin)
        if key != "<<" and key in frame.node.value:
            first = frame.node.value[key].key_origin
            path = (*self._path(), key)
            self._complain(origin, f"duplicate key, first written in line {first.line}", "remove one of the two", path)
        frame.pending = (key, origin)

    def _alias(self, event: Any) -> None:
        origin = self._origin(event)
        if self._expects_key():
            self._refuse(event, "a key must be text, not an alias", "write the key out")
        if any(frame.anchor == event.anchor for frame in self._stack):
            self._refuse(event, "this alias stands inside what it refers to", "remove the alias")
        target = self._anchors.get(event.anchor)
        if target is None:
            self._complain(
                origin, "there is no anchor of this name before this line", "quote a value that begins with `*`"
            )
            self._place(Node(None, origin), None)
            return
        self._place(self._expand(target, event, len(self._stack)), None)

    def _expand(self, node: Node, event: Any, depth: int) -> Node:
        self._aliased += 1
        if self._aliased > MAX_ALIASED_NODES:
            self._refuse(event, f"aliases expand to more than {MAX_ALIASED_NODES} values", "write the values out")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(node.value, dict):
            value: Any = {key: self._expand(child, event, depth + 1) for key, child in node.value.items()}
        elif isinstance(node.value, list):
            value = [self._expand(child, event, depth + 1) for child in node.value]
        else:
            value = node.value
        return replace(node, value=value)

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
            return
        assert frame.pending is not None  # noqa: S101 - the parser hands out keys and values in pairs
        key, key_at = frame.pending
        if key == "<<":
            self._merge(frame, node)
        else:
            node.key_at = key_at
            frame.node.value[key] = node
        frame.pending = None

    def _merge(self, frame: _Frame, node: Node) -> None:
        sources = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(source.value, dict) for source in sources):
            self._complain(node.at, "`<<` merges mappings only", "refer to a mapping", self._path()[:-1])
            return
        frame.merges.extend(sources)


# What the scanner quotes may be a piece of a secret; token names such as '<block end>' and single characters are not.
_QUOTED: Final = re.compile(r"(?<![^\s(])'(?!<)[^']{2,}'")
_ADVICE: Final = (
    ("'\\t'", "indent with spaces, not tabs"),
    ("cannot start any token", "put the value in quotes"),
    ("mapping values are not allowed", "put a value that holds `: ` in quotes, and check the indentation"),
    ("could not find expected ':'", "write `key: value`"),
    ("expected <block end>", "check the indentation"),
    ("expected <block mapping", "check the indentation"),
    ("expected ',' or", "close the bracket or add the missing comma"),
    ("quoted scalar", "close the quotes"),
    ("escape character", "use single quotes, or double the backslash"),
)


def _syntax_issue(text: str, file: str, error: yaml.YAMLError) -> ConfigIssue:
    if len(text) <= _PURE_LIMIT:
        try:
            for _ in yaml.parse(text, Loader=yaml.SafeLoader):
                pass
        except yaml.YAMLError as better:
            error = better
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        problem = _QUOTED.sub("'…'", error.problem or "cannot be read")
        context = f"{_QUOTED.sub('…', error.context)}: " if error.context else ""
        line, column = mark.line + 1, mark.column + 1
        signs = f"{error.context} {error.problem}"
        advice = next((advice for sign, advice in _ADVICE if sign in signs), "check this line and the one above")
        if "flow" in context and "${" in "".join(text.splitlines()[mark.line : mark.line + 1]):
            advice = 'inside { } and [ ], put "${…}" in quotes'
        return Origin(file, line, column).issue(f"not valid YAML: {context}{problem}", suggestion=advice)
    position = getattr(error, "position", 0)
    before = text[:position] if isinstance(position, int) else ""
    origin = Origin(file, before.count("\n") + 1, position - before.rfind("\n"))
    return origin.issue(
        "a control character is not allowed here", suggestion="remove it, or write it as an escape in double quotes"
    )
