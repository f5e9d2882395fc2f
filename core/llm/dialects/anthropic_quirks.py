"""How a server that speaks the Messages format differs from Anthropic's own. All of it is data."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

DEFAULT_MAX_TOKENS: Final = 4096
"""Sent where neither the request nor the facts about the model name a limit: the API refuses requests without one."""


@dataclass(frozen=True, slots=True)
class AnthropicQuirks:
    """The defaults are Anthropic's own API."""

    messages_path: str = "/v1/messages"
    count_path: str | None = "/v1/messages/count_tokens"
    """`None` where the server cannot count."""
    models_path: str = "/v1/models"
    betas: tuple[str, ...] = ()
    """Sent as `anthropic-beta` with every request."""
    structured: Literal["native", "tool"] = "native"
    """How models do structured output that have no quirk `structured` of their own."""
    signatures: bool = True
    """False where thinking carries no signature; unsigned thinking then goes back all the same."""
    body_model: bool = True
    """False where the address names the model, and the body must not."""
    prompt_cache: Any = None
    """A hint for requests that give none of their own; see `anthropic_cache`."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Raw fields of every body, such as `anthropic_version` on other clouds."""
