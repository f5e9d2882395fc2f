"""What can be configured for llama.cpp's own server."""

from typing import Annotated

from pydantic import AfterValidator, Field

from core.llm.common.units import Duration
from core.llm.providers.base.server_address import server_address
from core.llm.providers.config.models.provider import ProviderConfig, TimeoutOptions


class LlamaServerTimeouts(TimeoutOptions):
    """Longer than elsewhere: the first answer waits until the router has loaded the model."""

    first_token: Duration = Field(
        default=300.0, description="From sending the request to the first output, loading the model included."
    )
    idle: Duration = Field(default=120.0, description="Between two network reads once the answer has begun.")
    progress: Duration = Field(default=120.0, description="Between two pieces of output.")
    total: Duration = Field(default=1800.0, description="The whole attempt.")


class LlamaServerConfig(ProviderConfig):
    """A llama-server. How a model is loaded stands in the arguments and presets that it was started with."""

    base_url: Annotated[str, AfterValidator(server_address(8080, "llama-server"))] = Field(
        default="http://localhost:8080", description="Address of the server; without a scheme and port, http and 8080."
    )
    timeouts: LlamaServerTimeouts = LlamaServerTimeouts()
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take.")
    unload_timeout: Duration = Field(default=30.0, description="How long a model may take to leave memory.")
    unload_on_stop: bool = Field(
        default=False, description="Unload the models that were loaded explicitly when this provider is closed."
    )
    embedding_batch_size: int = Field(default=256, gt=0, le=10_000, description="Texts per embedding request.")
