"""Secrets: `{env: NAME}` and `{file: path}`, what a key may look like, and what happens when there is none.

A secret that is not there switches its provider off and says why; it never fails the file. Nothing here puts a value
into a message.
"""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.sources import SourceReader, TooLarge, user_path
from core.llm.providers.config.tree import Node
from core.llm.providers.config.tree import Path as TreePath

MAX_SECRET_BYTES: Final = 64 * 1024
_KEY_FIELDS: Final = frozenset({"api_key", "api_keys"})
_NO_HEADER_TEXT: Final = re.compile(r"[^\t\x20-\x7e]")
_NO_KEY_TEXT: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(slots=True)
class SecretReader:
    """Resolves the secrets of one load."""

    env: Mapping[str, str]
    reader: SourceReader
    issues: list[ConfigIssue]
    unset: dict[TreePath, str] = field(default_factory=dict)
    """Secrets that are not there, with the reason."""
    required: set[TreePath] = field(default_factory=set)
    """Those of them that were asked for without allowing that there is none."""
    known: set[str] = field(default_factory=set)
    """Every secret that was seen: no message may contain one."""

    def resolve(self, node: Node, path: TreePath) -> None:
        """Replace the reference in *node* by what it refers to, and check that it can be sent."""
        node.secret = True
        if isinstance(node.value, dict):
            self._refer(node, path)
        if isinstance(node.value, str) or node.text is not None:
            self._check(node, path)

    def _refer(self, node: Node, path: TreePath) -> None:
        kinds = list(node.value)
        target = node.value[kinds[0]].value if len(kinds) == 1 else None
        if kinds not in (["env"], ["file"]) or not isinstance(target, str) or not target:
            self._complain(node, path, "a secret is text, {env: NAME} or {file: path}", "write one of the three")
            node.value = None
            return
        if kinds == ["env"]:
            value = self.env.get(target)
            if not value:
                self.required.add(path)
                self.unset[path] = f"environment variable {target} is {'empty' if value == '' else 'not set'}"
        else:
            value = self._read(node, path, target)
            if not value:
                self.required.add(path)
        node.value, node.literal = value or None, True

    def _read(self, node: Node, path: TreePath, target: str) -> str | None:
        # Relative to the file that names it, like an include.
        file = user_path(target)
        if not file.is_absolute() and node.at.line is not None:
            file = Path(node.at.layer).parent / file
        try:
            data = self.reader.read(file, MAX_SECRET_BYTES, secret=True)
            text = None if data is None else data.decode()
        except TooLarge as problem:
            self._complain(node, path, f"the secret file {problem}", "point it at a file that holds the key alone")
            return None
        except UnicodeDecodeError:
            self._complain(node, path, "the secret file is not UTF-8 text", "store the key as plain text")
            return None
        except OSError as error:
            self._complain(node, path, f"the secret file cannot be read: {error.strerror}", "check its permissions")
            return None
        if text is None:
            self.unset[path] = f"there is no file {file}"
            return None
        if _open_to_others(file) and not _mounted(file):
            self._complain(node, path, "others can read the secret file", f"chmod 600 {file}", warning=True)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            self.unset[path] = f"the file {file} is empty"
        return text

    def _check(self, node: Node, path: TreePath) -> None:
        text = str(node.value if node.text is None else node.text)
        if not text:
            node.value = None
            self.unset.setdefault(path, "it is empty")
            return
        stripped = text.rstrip("\r\n")
        kind = next((step for step in path if step in _KEY_FIELDS or step == "headers"), None)
        if kind is None:
            self.known.add(text)
            return
        if stripped != text:
            self._complain(node, path, "ends in a line break, which was removed", "remove it", warning=True)
            node.value = text = stripped
        self.known.add(text)
        if kind == "headers":
            if _NO_HEADER_TEXT.search(text):
                self._complain(node, path, "holds characters that a header cannot carry", "use ASCII on one line")
        elif _NO_KEY_TEXT.search(text) or text[0] in "\"'" or text[-1] in "\"'":
            self._complain(
                node,
                path,
                "holds spaces, quotes, line breaks or non-ASCII characters",
                "copy the key again, without quotes",
            )

    def _complain(self, node: Node, path: TreePath, message: str, suggestion: str, *, warning: bool = False) -> None:
        self.issues.append(node.at.issue(message, path, suggestion=suggestion, warning=warning))


def _open_to_others(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        # Rotated away since it was read: the next load looks again.
        return False


def _mounted(file: Path) -> bool:
    """Orchestrators mount secrets world-readable into a file system of their own; that is not the user's slip."""
    return str(file.absolute()).startswith(("/run/secrets/", "/var/run/secrets/"))
