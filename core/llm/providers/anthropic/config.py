"""What can be configured for Anthropic."""

from typing import ClassVar, Literal

from pydantic import Field

from core.llm.providers.base.timeouts import ThinkingTimeouts
from core.llm.providers.config.models.frozen import Frozen
from core.llm.providers.config.models.provider import ProviderConfig


class PromptCacheOptions(Frozen):
    """Where prompts end that later requests share."""

    at: Literal["auto"] | tuple[Literal["tools", "system"] | int, ...] = Field(
        default="auto",
        description="Breakpoints: after the tools, the system text, or a message by index (-1 is the last).",
    )
    ttl: Literal["5m", "1h"] | None = Field(
        default=None, description="How long the provider keeps it; an hour costs more."
    )


class AnthropicConfig(ProviderConfig):
    """An account at Anthropic, or a server that speaks its format."""

    needs_key: ClassVar[bool] = True

    timeouts: ThinkingTimeouts = ThinkingTimeouts()
    base_url: str = Field(
        default="https://api.anthropic.com",
        description="Without `/v1`; only for a proxy or another server of this format.",
    )
    auth: Literal["x-api-key", "bearer"] = Field(default="x-api-key", description="How the key travels.")
    version: str = Field(default="2023-06-01", description="The `anthropic-version` header.")
    betas: tuple[str, ...] = Field(
        default=(), description="Beta features, sent as `anthropic-beta` with every request."
    )
    prompt_cache: PromptCacheOptions | None = Field(
        default=None, description="Prompt-cache hints for requests that give none of their own."
    )
    structured: Literal["native", "tool"] = Field(
        default="native", description="`tool` for servers without structured output of their own."
    )
    signatures: bool = Field(default=True, description="False for servers whose thinking carries no signature.")
