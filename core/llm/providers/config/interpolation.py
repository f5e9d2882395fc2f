"""`${NAME}` in scalar values, the way Compose files write it.

`${V}`, `${V:-default}`, `${V-default}`, `${V:?message}`, `${V?message}`, `${V:+instead}`, `${V+instead}`; the colon
counts an empty variable as unset; defaults may hold further substitutions; `$$` is a dollar sign, any other `$` is
itself. One pass: what a variable holds is never looked at again, so a value can inject neither structure nor another
substitution.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OPERATOR: Final = re.compile(r":?[-?+]")
_MAX_NESTING: Final = 20


class BadSubstitution(ValueError):
    """The text is not a substitution that can be read."""


class UnsetVariable(LookupError):
    """A variable that is needed is not set."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"environment variable {name} {reason}")
        self.name = name


@dataclass(slots=True)
class Substituted:
    """The result, and what went into it."""

    text: str
    whole: bool
    """The text was one substitution and nothing else."""
    variables: list[str] = field(default_factory=list)
    """Every variable that was asked for."""
    values: list[str] = field(default_factory=list)
    """What came from outside; may be secret."""


def substitute(text: str, variables: Mapping[str, str]) -> Substituted:
    """Replace every `${…}` in *text*.

    Raises:
        BadSubstitution: the text cannot be read; the message says why.
        UnsetVariable: a variable without a default is not set, or `:?` demands it.
    """
    reader = _Reader(text, variables)
    result = reader.read(depth=0)
    return Substituted(result, whole=reader.whole, variables=reader.names, values=reader.values)


class _Reader:
    """Reads once from left to right."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._at = 0
        self._variables = variables
        self.names: list[str] = []
        self.values: list[str] = []
        self.whole = False

    def read(self, depth: int, *, wanted: bool = True) -> str:
        """Text up to the end, or inside braces up to the closing one. Not *wanted*: an unused default."""
        if depth > _MAX_NESTING:
            raise BadSubstitution(f"`${{` is nested deeper than {_MAX_NESTING} levels")
        out: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if depth and character == "}":
                return "".join(out)
            if self._text.startswith("$$", self._at):
                out.append("$")
                self._at += 2
            elif self._text.startswith("${", self._at):
                start = self._at
                self._at += 2
                out.append(self._expression(depth, wanted=wanted))
                self.whole = depth == 0 and start == 0 and self._at == len(self._text)
            else:
                out.append(character)
                self._at += 1
        if depth:
            raise BadSubstitution("`${` is never closed: add `}`, or write `$$` for a dollar sign")
        return "".join(out)

    def _expression(self, depth: int, *, wanted: bool) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise BadSubstitution(
                "after `${` comes the name of a variable: letters, digits and `_`; write `$$` for a dollar sign"
            )
        name = match.group()
        self._at = match.end()
        operator = _OPERATOR.match(self._text, self._at)
        value = self._variables.get(name)
        present = value is not None and (value != "" or operator is None or not operator.group().startswith(":"))
        argument = ""
        kind = operator.group()[-1] if operator else ""
        if operator:
            self._at = operator.end()
            argument = self.read(depth + 1, wanted=wanted and (present if kind == "+" else not present and kind == "-"))
        if not self._text.startswith("}", self._at):
            raise BadSubstitution(
                f"`${{{name}` is never closed: add `}}`, or use one of `:-` `-` `:?` `?` `:+` after the name"
            )
        self._at += 1
        if not wanted:
            return ""
        self.names.append(name)
        if kind == "+":
            return argument if present else ""
        if present and value is not None:
            self.values.append(value)
            return value
        if kind == "-":
            return argument
        raise UnsetVariable(name, f"is not set: {argument}" if argument else "is not set")
