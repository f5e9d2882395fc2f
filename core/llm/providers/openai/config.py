"""What can be configured for OpenAI."""

from typing import ClassVar

from pydantic import Field

from core.llm.dialects.openai_endpoints import Endpoint
from core.llm.providers.base.timeouts import ThinkingTimeouts
from core.llm.providers.config.models.provider import ProviderConfig


class OpenAIConfig(ProviderConfig):
    """An account at OpenAI."""

    needs_key: ClassVar[bool] = True

    timeouts: ThinkingTimeouts = ThinkingTimeouts()
    base_url: str = Field(default="https://api.openai.com/v1", description="Only for a proxy in front of OpenAI.")
    api: Endpoint = Field(default="auto", description="The chat endpoint; `auto` chooses by model and request.")
    organization: str | None = Field(
        default=None, description="Id of the organization to bill, where the key has several."
    )
    project: str | None = Field(default=None, description="Id of the project to bill, where the key has several.")
    embedding_batch_size: int = Field(default=2048, gt=0, le=2048, description="Texts per embedding request.")
