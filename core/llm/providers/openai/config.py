"""What can be configured for OpenAI."""

from typing import ClassVar

from pydantic import Field

from core.llm.common.units import Duration
from core.llm.dialects.openai_endpoints import Endpoint
from core.llm.providers.config.models.provider import ProviderConfig, TimeoutOptions


class OpenAITimeouts(TimeoutOptions):
    """Models that think before they answer may be silent for minutes."""

    first_token: Duration = Field(
        default=300.0, description="From sending the request to the first output of a stream."
    )
    idle: Duration = Field(default=120.0, description="Between two network reads once the answer has begun.")
    progress: Duration = Field(default=300.0, description="Between two pieces of output; pings do not count.")


class OpenAIConfig(ProviderConfig):
    """An account at OpenAI."""

    needs_key: ClassVar[bool] = True

    timeouts: OpenAITimeouts = OpenAITimeouts()
    base_url: str = Field(default="https://api.openai.com/v1", description="Only for a proxy in front of OpenAI.")
    api: Endpoint = Field(default="auto", description="The chat endpoint; `auto` chooses by model and request.")
    organization: str | None = Field(
        default=None, description="Id of the organization to bill, where the key has several."
    )
    project: str | None = Field(default=None, description="Id of the project to bill, where the key has several.")
    embedding_batch_size: int = Field(default=2048, gt=0, le=2048, description="Texts per embedding request.")
