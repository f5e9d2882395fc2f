"""The same model for what belongs together: calls of one user, of one conversation, with one prompt."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log
from typing import Final

from core.llm.routing.snapshot import Candidate, RequestView

_PREFIX: Final = 4096
"""Characters of a prompt that count: calls that share so much share what a provider has cached."""
_SPACE: Final = 2.0**64


def rendezvous(candidates: Sequence[Candidate], value: str) -> Sequence[Candidate]:
    """Every candidate draws a number for *value*, the highest is first.

    Where one is added or taken away, only the values that it wins or had move. Shares are by weight.
    """
    key = value.encode("utf-8", "surrogatepass")

    def score(candidate: Candidate) -> float:
        digest = blake2b(f"{candidate.ref}\0".encode("utf-8", "surrogatepass") + key, digest_size=8).digest()
        drawn = (int.from_bytes(digest, "big") + 1) / (_SPACE + 1)
        return candidate.weight / -log(drawn) if drawn < 1.0 else float("inf")

    return sorted(candidates, key=score, reverse=True)


def value_of(by: str) -> Callable[[RequestView], str | None]:
    """How the value of *by* is read from a request; `None` where it has none.

    *by* is `user`, `prompt` (the system prompt, or the first message where there is none), or a key of the metadata.
    """
    if by == "user":
        return lambda view: view.request.user
    if by == "prompt":
        return _prompt

    def metadata(view: RequestView) -> str | None:
        found = view.request.metadata.get(by)
        return None if found is None else str(found)

    return metadata


def _prompt(view: RequestView) -> str | None:
    messages = view.request.messages
    system = [message.text for message in messages if message.role == "system"]
    text = "\n".join(system) if system else messages[0].text if messages else ""
    return text[:_PREFIX] or None
