"""What can be configured for AWS Bedrock."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from core.llm.providers.base.timeouts import ThinkingTimeouts
from core.llm.providers.config.models.frozen import Frozen
from core.llm.providers.config.models.provider import ProviderConfig

CachePlace = Literal["tools", "system", "messages"]


class GuardrailOptions(Frozen):
    """A guardrail that is applied to every chat call."""

    id: str = Field(min_length=1, description="Identifier or ARN of the guardrail.")
    version: str = Field(default="DRAFT", description="Its version: a number, or DRAFT.")
    trace: Literal["enabled", "disabled", "enabled_full"] | None = Field(
        default=None, description="Whether the answer's `raw` says what the guardrail found."
    )
    stream: Literal["sync", "async"] | None = Field(
        default=None,
        description="`async` streams while the guardrail still looks; `sync`, the service's default, holds back.",
    )
    only_last_message: bool = Field(
        default=False, description="Look at the texts of the last user message only, not at the whole conversation."
    )


class PromptCacheOptions(Frozen):
    """Where the prompt is marked for the provider's prompt cache."""

    at: tuple[CachePlace, ...] = Field(
        default=("tools", "system"), description="After the tools, after the system prompt, after the last message."
    )
    ttl: Literal["5m", "1h"] | None = Field(
        default=None, description="How long a mark lasts; unset: the service decides."
    )


class BedrockConfig(ProviderConfig):
    """An AWS account and region.

    With `api_key` (or the environment variable AWS_BEARER_TOKEN_BEDROCK) calls carry an API key for Bedrock. Otherwise
    they are signed, with the keys given here, or with what the AWS CLI would use: environment, profile, SSO, metadata.
    """

    region: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2,}(-[a-z]+)+-\d+$",
        examples=["eu-central-1"],
        description="Such as us-east-1; unset: AWS_REGION, else the region of the profile.",
    )
    profile: str | None = Field(default=None, description="Profile of the AWS configuration files.")
    access_key_id: str | None = Field(
        default=None, description="Instead of the credential chain, with `secret_access_key`."
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Of the same access key.")
    session_token: SecretStr | None = Field(default=None, description="Of temporary credentials.")
    base_url: str | None = Field(
        default=None, description="Instead of https://bedrock-runtime.REGION.amazonaws.com: a VPC endpoint or a proxy."
    )
    control_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$",
        examples=["https://bedrock.example.com"],
        description="Where models are listed; unset: the region's, or derived from base_url.",
    )
    timeouts: ThinkingTimeouts = ThinkingTimeouts()
    guardrail: GuardrailOptions | None = None
    prompt_cache: PromptCacheOptions | None = None
    embedding_concurrency: int = Field(
        default=8,
        gt=0,
        le=256,
        description="Embedding requests in flight for one call, where a model takes one text each.",
    )

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: set both, or neither")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key beside it")
        return self
