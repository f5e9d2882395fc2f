"""What can be configured for models that run on this machine."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from core.llm.common.units import Duration, Size
from core.llm.providers.base.prompt_format import ConfiguredPromptFormat
from core.llm.providers.config.models.frozen import Also, Frozen
from core.llm.providers.config.models.provider import ModelOptions
from core.llm.providers.local_config import PATH, LocalConfig, by_name

EMBEDDED = "embedded"
"""The `path` that means the model which ships with this library."""


class LoraOptions(Frozen):
    """An adapter that changes a model a little, made for that very model."""

    path: str = Field(min_length=1, description="The GGUF file of the adapter; relative paths begin as for models.")
    scale: float = Field(default=1.0, ge=-100, le=100, description="How strongly it counts; 0 turns it off.")
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$", description="Checked before each load.")


def _lora(value: object) -> object:
    if isinstance(value, list | tuple):
        return [{"path": entry} if isinstance(entry, str) else entry for entry in value]
    return value


class LlamaCppModelOptions(ModelOptions):
    """One GGUF file: its facts, and how it is loaded. A change of how it is loaded loads it anew."""

    path: str = Field(
        min_length=1,
        description="The GGUF file, or `embedded` for the model that ships with the library. A relative path is "
        "below `models_dir`, or below the current directory where there is none.",
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-fA-F]{64}$", description="Checked before each load of a changed file."
    )
    n_ctx: int | None = Field(
        default=None,
        ge=64,
        le=10_000_000,
        description="Tokens of prompt and answer of one call; unset: what it was trained for, at most 8192.",
    )
    n_parallel: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Calls at the same time, each with `n_ctx` tokens of memory; unset: 1, embedded: 4.",
    )
    n_threads: int | None = Field(default=None, ge=1, le=1024, description="Unset: half of the processors.")
    n_gpu_layers: int | None = Field(
        default=None, ge=-1, le=100_000, description="Layers on the GPU; unset: as many as fit."
    )
    lora: Annotated[tuple[Annotated[LoraOptions, Also("text", "text")], ...], BeforeValidator(_lora)] = Field(
        default=(),
        max_length=16,
        description="Adapters that are loaded with the model: paths, or `{path: …, scale: 0.5}`.",
    )
    n_batch: int = Field(default=2048, ge=32, le=65536, description="Tokens of a prompt that are computed at once.")
    chat_template: str | None = Field(default=None, description="A Jinja template in place of the one in the file.")
    prompt_format: ConfiguredPromptFormat | None = Field(
        default=None,
        description="For a file without a chat template: how a conversation is written as one prompt. A name (chatml, "
        "llama3, mistral, gemma, alpaca, plain) or a format of your own; no tools then.",
    )
    embeddings: bool = Field(default=True, description="Whether the model may be used for embeddings as well.")
    mmap: bool = Field(
        default=True,
        description="`false` reads the file into memory, so that overwriting it does not disturb a loaded model.",
    )
    prompt_cache: Size = Field(default=64 * 2**20, description="Memory for prompts that may come again.")
    engine: Mapping[str, Any] = Field(
        default_factory=dict, description="Further load parameters by llama.cpp's names, such as `rope_freq_base`."
    )

    @model_validator(mode="after")
    def _has_one_template(self) -> "LlamaCppModelOptions":
        if self.prompt_format is not None and self.chat_template is not None:
            raise ValueError("prompt_format stands beside chat_template: keep one of the two")
        return self


def _at_path(text: str) -> Mapping[str, str]:
    return {"path": text}


class LlamaCppConfig(LocalConfig):
    """GGUF models, each in a process of its own, loaded with the first call or by `load_model`."""

    models: Annotated[Mapping[str, Annotated[LlamaCppModelOptions, PATH]], by_name(_at_path)] = Field(
        default_factory=dict,
        description="Models by a name of your choice: `tiny: embedded`, or a mapping with `path` and options.",
    )
    load_timeout: Duration = Field(default=300.0, description="How long loading a model may take.")
    memory_limit: Size | None = Field(
        default=None, description="Memory each worker process may allocate, the mapped model file excluded."
    )

    @model_validator(mode="after")
    def _names_a_model(self) -> "LlamaCppConfig":
        if not self.models:
            raise ValueError("name at least one model, such as `models: {tiny: embedded}`")
        self.check_default_model()
        return self
