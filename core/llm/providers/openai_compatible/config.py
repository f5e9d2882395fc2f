"""What can be configured for a server that speaks the OpenAI format."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from core.llm.common.units import Duration
from core.llm.dialects.openai_endpoints import Endpoint
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.prompt_format import ConfiguredPromptFormat
from core.llm.providers.config.models.provider import ProviderConfig, TimeoutOptions
from core.llm.providers.openai_compatible.presets import (
    PLAIN,
    preset_names,
    preset_needs_key,
    preset_of,
    preset_url,
    quirks_of,
)

_QUIRKS = TypeAdapter(OpenAIQuirks)


class OpenAICompatibleTimeouts(TimeoutOptions):
    """A server of one's own may have to load a model or read a long prompt first."""

    first_token: Duration = Field(
        default=120.0, description="From sending the request to the first output of a stream."
    )


def _preset(value: str | None) -> str | None:
    if value is None or value == PLAIN or value in preset_names():
        return value
    close = get_close_matches(value, preset_names(), 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join([PLAIN, *preset_names()])}"
    raise ValueError(f"unknown preset {value!r}: {hint}")


def _quirks(value: Mapping[str, Any]) -> Mapping[str, Any]:
    quirks = OpenAIQuirks.from_mapping(value)
    try:
        _QUIRKS.validate_python({name: getattr(quirks, name) for name in OpenAIQuirks.__dataclass_fields__})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return value


class OpenAICompatibleConfig(ProviderConfig):
    """A server that speaks the OpenAI format. `base_url` is enough; a preset knows what is special about a server."""

    timeouts: OpenAICompatibleTimeouts = OpenAICompatibleTimeouts()
    preset: Annotated[str | None, AfterValidator(_preset)] = Field(
        default=None,
        description="A known server, such as groq or vllm; by default recognised by base_url; `plain`: none.",
    )
    quirks: Annotated[Mapping[str, Any], AfterValidator(_quirks)] = Field(
        default_factory=dict, description="What this server does differently: `token_cap: max_completion_tokens`."
    )
    api: Endpoint = Field(default="chat", description="The chat endpoint; most servers know Chat Completions only.")
    prompt_format: ConfiguredPromptFormat | None = Field(
        default=None,
        description="For a server or model without a chat template: how the conversation is written as one prompt for "
        "/completions. A name (chatml, llama3, mistral, gemma, alpaca, plain) or a format of your own.",
    )
    embedding_batch_size: int = Field(default=256, gt=0, le=10_000, description="Texts per embedding request.")

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if not self.url:
            raise ValueError("base_url is missing: write the address with its /v1, such as http://10.0.0.5:8000/v1")
        if self.prompt_format is not None and self.api != "chat":
            raise ValueError("prompt_format goes to /completions: leave `api` out")
        return self

    @property
    def url(self) -> str:
        """The address that is used."""
        return self.base_url or preset_url(self.preset or "") or ""

    @property
    def key_needed(self) -> bool:
        """True for the services that are known to refuse whoever has no key, at their usual address."""
        name = self.preset or preset_of(self.url)
        return preset_needs_key(name) and preset_of(self.url) == name

    @property
    def wire(self) -> OpenAIQuirks:
        """The quirks that hold: those of the preset, and the configured ones over them."""
        return quirks_of(self.preset or preset_of(self.url), self.quirks)
