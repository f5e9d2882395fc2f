"""JSON out of what a model wrote. Pure.

Only what stands around or between values is mended: fences, prose, commas too many, closing brackets too few. No value
is ever made up, completed or chosen among several.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

MAX_LENGTH: Final = 2_000_000
"""Longer texts are read as they are, or not at all."""
_FENCE: Final = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_BEGINS_JSON: Final = re.compile(r'\{\s*["}]|\[\s*["{\[\]\d-]')
_BRACKET_OR_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"?)|[{}\[\]]', re.DOTALL)
_MAX_BLOCKS: Final = 64
_CLOSING: Final = {"{": "}", "[": "]"}


class Reading(NamedTuple):
    """One way to read a text as JSON."""

    text: str
    value: Any
    repairs: tuple[str, ...]
    """What was mended, in words; empty where the text was JSON as it stood."""


def readings(text: str, *, complete: bool) -> list[Reading]:
    """The different values that *text* can be read as; one where it is JSON as it stands.

    *complete* says that the model had finished, so that brackets that are missing were forgotten and not cut off.
    """
    plain = text.strip().removeprefix("\ufeff")
    exact = _parsed(plain)
    if exact is not None:
        return [Reading(plain, exact[0], ())]
    if len(plain) > MAX_LENGTH:
        return []
    found: list[Reading] = []
    for block, repair in _blocks(plain):
        _add(found, block, (repair,) if repair else ())
    if not found and complete:
        closed = _closed(plain)
        if closed is not None:
            _add(found, closed, ("closing brackets were missing",))
    return found


def _add(found: list[Reading], text: str, repairs: tuple[str, ...]) -> None:
    parsed = _parsed(text)
    if parsed is None:
        text, repairs = _without_spare_commas(text), (*repairs, "a comma was too many")
        parsed = _parsed(text)
    if parsed is not None and all(parsed[0] != one.value for one in found):
        found.append(Reading(text, parsed[0], repairs))


def _parsed(text: str) -> tuple[Any] | None:
    """The value of *text* in a tuple, because it may be null."""
    try:
        return (from_json(text, allow_inf_nan=False),)
    except ValueError:
        return None


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """What in *text* may be JSON: the content of fences, else every balanced block in the prose."""
    fenced = [match.group(1).strip() for match in _FENCE.finditer(text)]
    if fenced:
        for block in fenced[:_MAX_BLOCKS]:
            yield block, "a code fence stood around it"
        return
    position = count = 0
    while count < _MAX_BLOCKS:
        start = _next_opening(text, position)
        if start < 0:
            return
        end = _end_of(text, start)
        if end < 0:
            if _BEGINS_JSON.match(text, start):
                # The rest is one cut value: what stands inside of it is a part of the answer, not the answer.
                return
            position = start + 1
            # A bracket in prose that never closes must not make this quadratic.
            count += 1
            continue
        around = start > 0 or end < len(text)
        yield text[start:end], "text stood around it" if around else ""
        position = end
        count += 1


def _next_opening(text: str, position: int) -> int:
    places = [place for place in (text.find("{", position), text.find("[", position)) if place >= 0]
    return min(places, default=-1)


def _brackets(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """Place and letter of every bracket outside strings; a quote in its place stands for a string without an end."""
    for match in _BRACKET_OR_STRING.finditer(text, start):
        if not match["end"]:
            yield match.start(), text[match.start()]


def _end_of(text: str, start: int) -> int:
    """Where the block that begins at *start* has ended; -1 where it never does."""
    missing: list[str] = []
    for place, letter in _brackets(text, start):
        if letter in _CLOSING:
            missing.append(_CLOSING[letter])
        elif not missing or missing.pop() != letter:
            return -1
        elif not missing:
            return place + 1
    return -1


def _closed(text: str) -> str | None:
    """*text* from its first bracket with the brackets that are missing at its end; `None` in the middle of a value."""
    start = _next_opening(text, 0)
    if start < 0:
        return None
    body = text[start:].removesuffix("```").rstrip()
    missing: list[str] = []
    for _, letter in _brackets(body):
        if letter in _CLOSING:
            missing.append(_CLOSING[letter])
        elif not missing or missing.pop() != letter:
            return None
    # After a bare word or number nobody knows whether it was all of it; after a colon or comma a value is missing.
    if not missing or body[-1] not in '"}]':
        return None
    return body + "".join(reversed(missing))


def _without_spare_commas(text: str) -> str:
    """*text* without commas that stand before a closing bracket."""
    kept: list[str] = []
    begin = 0
    for place, letter in _brackets(text):
        if letter in "}]":
            comma = len(text[begin:place].rstrip()) - 1 + begin
            if comma >= begin and text[comma] == ",":
                kept.append(text[begin:comma])
                begin = comma + 1
            kept.append(text[begin:place])
            begin = place
    return "".join(kept) + text[begin:]
