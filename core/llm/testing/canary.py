"""A secret that sings when it gets out: unique, recognisable, and looked for in every form it may take."""

import base64
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretStr

_DEPTH: Final = 8
_PLAIN = (bool, int, float, complex, type(None))


class SecretLeaked(AssertionError):
    """A secret was found where it must not be."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One place where the secret was found, and in which form."""

    where: str
    form: str

    def __str__(self) -> str:
        return f"{self.where} ({self.form})"


class SecretCanary:
    """A unique secret, and the search for it.

    ```python
    canary = SecretCanary()
    provider = build(api_key=canary.secret)
    ...
    canary.check(error, log_text, tmp_path)      # raises SecretLeaked and says where
    ```
    """

    def __init__(self, prefix: str = "sk-canary") -> None:
        # `+`, `/` and `=` are what makes the URL-encoded form differ from the plain one.
        self.secret: Final = f"{prefix}-{secrets.token_hex(12)}+/={secrets.token_hex(6)}"
        """What to use as the API key, token or password under test."""
        self._watched: list[tuple[str, Any]] = []
        middle, _, end = self.secret.split("-")[-1].partition("+/=")
        self._forms = _forms_of(self.secret) | {middle: "its middle", end: "its end"}

    def __repr__(self) -> str:
        return "SecretCanary(***)"

    def watch(self, where: str, thing: Any) -> None:
        """Have *thing* searched by the next `check` as well: a list that fills, a file, a `StringIO`."""
        self._watched.append((where, thing))

    def find(self, *things: Any) -> list[Leak]:
        """Every place among *things* that holds the secret, as it is or encoded.

        Searched are texts, bytes, files and whole folders (`Path`), containers, objects with their attributes and their
        `repr`, and exceptions with message, arguments, notes, attributes, cause and context.
        """
        leaks: dict[Leak, None] = {}
        seen: dict[int, Any] = {}
        for number, thing in enumerate(things):
            label = f"argument {number + 1}" if len(things) > 1 else type(thing).__name__
            leaks.update(dict.fromkeys(self._search(thing, label, seen, 0)))
        return list(leaks)

    def check(self, *things: Any) -> None:
        """Search *things* and everything that is watched.

        Raises:
            SecretLeaked: the secret was found; the text lists the places and does not repeat it.
        """
        leaks = self.find(*things)
        seen: dict[int, Any] = {}
        for where, thing in self._watched:
            leaks.extend(self._search(thing, where, seen, 0))
        if leaks:
            places = "\n".join(f"  {leak}" for leak in dict.fromkeys(leaks))
            raise SecretLeaked(f"the secret got out in {len(dict.fromkeys(leaks))} place(s):\n{places}")

    def _search(self, thing: Any, where: str, seen: dict[int, Any], depth: int) -> Iterator[Leak]:
        if isinstance(thing, str | bytes | bytearray | memoryview):
            yield from self._in_text(thing, where)
            return
        if isinstance(thing, _PLAIN) or depth > _DEPTH or id(thing) in seen or thing is self:
            return
        # Keeping the object keeps its id from being given to another one.
        seen[id(thing)] = thing
        if isinstance(thing, os.PathLike):
            yield from self._in_path(Path(thing), where)
            return
        for label, part in _parts_of(thing):
            yield from self._search(part, where + label, seen, depth + 1)

    def _in_text(self, text: str | bytes | bytearray | memoryview, where: str) -> Iterator[Leak]:
        plain = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
        for form, name in self._forms.items():
            if form in plain:
                yield Leak(where, name)
                return

    def _in_path(self, path: Path, where: str) -> Iterator[Leak]:
        if path.is_dir():
            for entry in sorted(path.rglob("*")):
                if entry.is_file():
                    yield from self._in_path(entry, f"{where}/{entry.relative_to(path)}")
                yield from self._in_text(entry.name, f"the name of {where}/…")
        elif path.is_file():
            yield from self._in_text(path.read_bytes(), f"{where}:{path.name}" if path.name not in where else where)


def _forms_of(secret: str) -> dict[str, str]:
    raw = secret.encode()
    forms = {
        secret: "as it is",
        quote(secret, safe=""): "URL-encoded",
        quote_plus(secret): "URL-encoded",
        secret[::-1]: "reversed",
        raw.hex(): "in hexadecimal",
    }
    # Base64 of a text that contains the secret differs with the secret's offset modulo three; the inner part does not.
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inner = encode(bytes(offset) + raw).decode().rstrip("=")
            forms[inner[4 if offset else 0 : -4]] = "in base64"
    return forms


def _parts_of(thing: Any) -> Iterable[tuple[str, Any]]:
    """What hangs on *thing*, each with how to get there."""
    if isinstance(thing, SecretStr):
        # Holding the value is what it is for; showing it is not.
        return [(" in str()", str(thing)), (" in repr()", repr(thing))]
    if isinstance(thing, Mapping):
        return [
            part
            for key, value in list(thing.items())
            for part in ((" key", key), (f"[{key if isinstance(key, str | int) else '…'}]", value))
        ]
    if isinstance(thing, list | tuple | set | frozenset) or type(thing).__name__ == "deque":
        return [(f"[{number}]", value) for number, value in enumerate(list(thing))]
    if hasattr(thing, "getvalue"):
        return [(" content", thing.getvalue())]
    if isinstance(thing, BaseException):
        return _parts_of_exception(thing)
    parts: list[tuple[str, Any]] = [(" in repr()", repr(thing)), (" in str()", str(thing))]
    if callable(thing) or type(thing).__module__ in {"asyncio", "builtins", "threading", "_thread", "re"}:
        return parts
    return parts + _attributes_of(thing)


def _parts_of_exception(error: BaseException) -> Iterable[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = [
        (" in str()", str(error)),
        (" in repr()", repr(error)),
        (".args", error.args),
        (".__notes__", getattr(error, "__notes__", ())),
        (".__cause__", error.__cause__),
        (".__context__", error.__context__),
    ]
    if isinstance(error, BaseExceptionGroup):
        parts.append((".exceptions", error.exceptions))
    return parts + _attributes_of(error)


def _attributes_of(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, BaseModel):
        names = list(type(thing).model_fields)
    elif is_dataclass(thing) and not isinstance(thing, type):
        names = [one.name for one in fields(thing)]
    else:
        names = list(getattr(thing, "__dict__", {}))
    return [(f".{name}", getattr(thing, name, None)) for name in names]
