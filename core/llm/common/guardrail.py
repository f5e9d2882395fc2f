"""What a guardrail is: a check of what goes out to a model and of what comes back, written by the host.

The pipeline calls it; see docs/guardrails.md for what it may rely on.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.llm.common.messages import Message


@dataclass(frozen=True, slots=True)
class GuardedRequest:
    """What a call is about to send."""

    messages: tuple[Message, ...]
    """The conversation; for embeddings one user message for each text."""
    mode: Literal["generate", "stream", "embed"]
    model: str | None = None
    """The model as the caller asked for it."""
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allow:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Block:
    """Stop the call. *reason* gets into the error: it must not quote what was said."""

    reason: str = "not allowed"


@dataclass(frozen=True, slots=True)
class Replace:
    """Send *messages* instead.

    Wherever a key of *restore* stands in the answer, the caller sees its value: streamed, in the arguments of tools and
    in objects too.
    """

    messages: tuple[Message, ...]
    restore: Mapping[str, str] = field(default_factory=dict)


InputVerdict = Allow | Block | Replace
OutputVerdict = Allow | Block

ALLOW = Allow()


class Guardrail(Protocol):
    """A check of requests, of answers, or of both. Derive from it and override what is to be checked.

    Each check may be a plain function, which must be quick, or a coroutine. Anything it raises, and anything it returns
    that is no verdict, counts as a refusal unless `on_error` says otherwise.
    """

    name: str = ""
    """How errors and events call it; empty: the name of the class."""
    window: int = 200
    """Characters that an output check must see together to recognise what it looks for.

    A streamed answer is held back by somewhat more than this, so that nothing is shown that would have been blocked.
    """
    on_error: Literal["block", "allow"] = "block"
    """What happens to the call where the check itself fails."""

    def check_input(self, request: GuardedRequest) -> InputVerdict | Awaitable[InputVerdict]:  # noqa: ARG002 - for those who override it
        """Look at what is about to be sent."""
        return ALLOW

    def check_output(self, text: str) -> OutputVerdict | Awaitable[OutputVerdict]:  # noqa: ARG002 - for those who override it
        """Look at a piece of the answer: text, thinking, a refusal, or a string in the arguments of a tool call.

        Pieces overlap, so that everything up to `window` characters long is seen whole at least once.
        """
        return ALLOW
