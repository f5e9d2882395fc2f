"""What can be configured for llama.cpp's own server."""

from typing import Annotated

from pydantic import AfterValidator, Field

from core.llm.common.units import Duration
from core.llm.providers.base.server_address import server_address
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.local_config import ServerTimeouts


class LlamaServerConfig(ProviderConfig):
    """A llama-server. How a model is loaded stands in the arguments and presets that it was started with."""

    base_url: Annotated[str, AfterValidator(server_address(8080, "llama-server"))] = Field(
        default="http://localhost:8080", description="Address of the server; without a scheme and port, http and 8080."
    )
    timeouts: ServerTimeouts = ServerTimeouts()
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take.")
    unload_timeout: Duration = Field(default=30.0, description="How long a model may take to leave memory.")
    unload_on_stop: bool = Field(
        default=False, description="Unload the models that were loaded explicitly when this provider is closed."
    )
    embedding_batch_size: int = Field(default=256, gt=0, le=10_000, description="Texts per embedding request.")
