"""What can be configured for an LM Studio server."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from core.llm.common.units import Duration
from core.llm.providers.base.model_source import PullHosts
from core.llm.providers.base.server_address import server_address
from core.llm.providers.config.models.frozen import A_LIST, Frozen
from core.llm.providers.config.models.provider import ModelOptions, ProviderConfig, named_models
from core.llm.providers.local_config import ServerTimeouts


class LMStudioLoadOptions(Frozen):
    """How a model is loaded; what is not set is LM Studio's default for that model."""

    context_length: int | None = Field(default=None, gt=0, description="Tokens of prompt and answer together.")
    eval_batch_size: int | None = Field(
        default=None, gt=0, description="Prompt tokens computed at once (llama.cpp engine)."
    )
    flash_attention: bool | None = Field(default=None, description="Optimised attention (llama.cpp engine).")
    num_experts: int | None = Field(
        default=None, gt=0, description="Experts of a mixture-of-experts model (llama.cpp engine)."
    )
    offload_kv_cache_to_gpu: bool | None = Field(
        default=None, description="`false`: the KV cache stays in main memory."
    )

    def wire(self) -> dict[str, Any]:
        """The options that are set."""
        return self.model_dump(exclude_none=True)


class LMStudioModelOptions(ModelOptions):
    """One model: its facts, and how it is loaded."""

    options: LMStudioLoadOptions | None = Field(default=None, description="Over those of the provider, one by one.")
    keep_alive: Duration | None = Field(default=None, description="Overrides the provider's `keep_alive`.")

    @model_validator(mode="after")
    def _one_way_of_loading(self) -> Self:
        if self.keep_alive is not None and self.options is not None and self.options.wire():
            raise ValueError(
                "`keep_alive` and `options` exclude each other: LM Studio gives a time to live only to models that it "
                "loads by itself, and those with its own options"
            )
        return self


class LMStudioConfig(ProviderConfig):
    """An LM Studio server and how its models are loaded."""

    base_url: Annotated[str, AfterValidator(server_address(1234, "LM Studio"))] = Field(
        default="http://localhost:1234", description="Address of the server; without a scheme and port, http and 1234."
    )
    models: Annotated[Mapping[str, LMStudioModelOptions], BeforeValidator(named_models), A_LIST] = Field(
        default_factory=dict, description="Models by key: a list, or a mapping with facts and options."
    )
    timeouts: ServerTimeouts = ServerTimeouts()
    options: LMStudioLoadOptions = Field(
        default=LMStudioLoadOptions(), description="How every model is loaded, such as `context_length: 16384`."
    )
    keep_alive: Duration | None = Field(
        default=None,
        description="How long a model that LM Studio loads by itself stays in memory after a call. Unset: the server "
        "decides (an hour).",
    )
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take.")
    unload_timeout: Duration = Field(default=30.0, description="How long a model may take to leave memory.")
    pull_stall_timeout: Duration = Field(default=300.0, description="How long a download may make no progress.")
    pull_from: PullHosts = ("huggingface.co", "hf.co", "lmstudio.ai")
    unload_on_stop: bool = Field(
        default=False, description="Unload the models that were loaded explicitly when this provider is closed."
    )
    embedding_batch_size: int = Field(default=256, gt=0, le=10_000, description="Texts per embedding request.")

    @model_validator(mode="after")
    def _one_way_of_loading(self) -> Self:
        if self.keep_alive is not None and self.options.wire():
            raise ValueError(
                "`keep_alive` and `options` exclude each other: LM Studio gives a time to live only to models that it "
                "loads by itself, and those with its own options"
            )
        return self

    def options_of(self, model: str) -> dict[str, Any]:
        """How *model* is loaded, as LM Studio wants it; empty: LM Studio may load it by itself."""
        entry = self.models.get(model)
        if entry is None:
            return self.options.wire()
        if entry.keep_alive is not None:
            return {}
        return {**self.options.wire(), **(entry.options.wire() if entry.options is not None else {})}

    def ttl_of(self, model: str) -> int | None:
        """Whole seconds that *model* stays in memory after a call where LM Studio loads it by itself."""
        entry = self.models.get(model)
        own = entry.keep_alive if entry is not None else None
        seconds = own if own is not None else self.keep_alive
        return None if seconds is None or self.options_of(model) else math.ceil(seconds)
