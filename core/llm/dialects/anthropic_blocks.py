"""Content blocks without a form of their own here: the traces of tools that run on the provider's servers, compactions.

They are carried as opaque thinking of their provider: kept in place, sent back unchanged to where they came from (a
paused turn goes on only with them), and dropped everywhere else.
"""

from typing import Any, Final

from pydantic_core import from_json

from core.llm.dialects.json import encode_json

_OPENING: Final = "{"


def carried(block: dict[str, Any]) -> str:
    """*block* as the `redacted` text of a thinking part."""
    return encode_json(block).decode()


def is_carried(redacted: str) -> bool:
    """Whether *redacted* is a block from `carried`; encrypted thinking is base64 and never begins with a brace."""
    return redacted.startswith(_OPENING)


def uncarried(redacted: str) -> dict[str, Any]:
    """The block that `carried` turned into *redacted*."""
    block: dict[str, Any] = from_json(redacted)
    return block
