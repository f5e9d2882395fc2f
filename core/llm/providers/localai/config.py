"""What can be configured for a LocalAI server."""

from typing import Annotated

from pydantic import AfterValidator, Field

from core.llm.common.units import Duration
from core.llm.providers.base.model_source import PullHosts
from core.llm.providers.base.server_address import server_address
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.local_config import ServerTimeouts


class LocalAIConfig(ProviderConfig):
    """A LocalAI server. How a model is loaded stands in LocalAI's own YAML of that model."""

    base_url: Annotated[str, AfterValidator(server_address(8080, "LocalAI"))] = Field(
        default="http://localhost:8080", description="Address of the server; without a scheme and port, http and 8080."
    )
    timeouts: ServerTimeouts = ServerTimeouts()
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take.")
    unload_timeout: Duration = Field(default=30.0, description="How long a model may take to leave memory.")
    pull_stall_timeout: Duration = Field(default=300.0, description="How long an installation may make no progress.")
    pull_from: PullHosts = ("huggingface.co", "hf.co", "github.com", "raw.githubusercontent.com")
    unload_on_stop: bool = Field(
        default=False, description="Shut the backends down that were loaded explicitly when this provider is closed."
    )
    embedding_batch_size: int = Field(default=256, gt=0, le=10_000, description="Texts per embedding request.")
