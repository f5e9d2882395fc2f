"""What can be configured for Hugging Face models that run on this machine."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from core.llm.common.units import Duration
from core.llm.providers.base.prompt_format import ConfiguredPromptFormat
from core.llm.providers.config.models.provider import ModelOptions
from core.llm.providers.local_config import PATH, Device, LocalConfig, Quantization, by_name

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Schemas = Literal["auto", "enforced", "described"]

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][\w./-]{0,199}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


class TransformersModelOptions(ModelOptions):
    """One model: where it is, and how it is loaded. A change of how it is loaded loads it anew."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="The directory of the model: config.json, tokenizer and .safetensors. A relative path is below "
        "`models_dir`, or below the current directory where there is none.",
    )
    hub_id: str | None = Field(
        default=None,
        description="Instead of `path`: a model of the Hugging Face hub as `owner/name`, from the local cache.",
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of `hub_id`; `main` where it is left out."
    )
    allow_download: bool = Field(
        default=False, description="Let the worker fetch what the cache lacks. Otherwise nothing goes over the network."
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run Python code that comes with the model. Needs `revision` to be a full commit for a hub id.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Load .bin weights where there are no .safetensors; they are read without running code.",
    )
    device: Device = Field(
        default="auto", description="auto (the first GPU, else the processor), cpu, cuda, cuda:1 …, mps."
    )
    dtype: Dtype = Field(
        default="auto", description="Of the weights and the computation; `auto`: as the model was saved."
    )
    quantization: Quantization = Field(
        default="none",
        description="4bit and 8bit need `pip install bitsandbytes accelerate`, and a CPU or an NVIDIA GPU.",
    )
    max_batch: int = Field(
        default=4, ge=1, le=256, description="Calls at the same time. Those that come together are computed together."
    )
    batch_wait: Duration = Field(
        default=0.005, description="How long the first of several calls waits for others to be computed with it."
    )
    n_threads: int | None = Field(default=None, ge=1, le=1024, description="Unset: half of the processors.")
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = Field(
        default=None, description="How attention is computed; unset: what transformers chooses for the model."
    )
    chat_template: str | None = Field(default=None, description="A Jinja template in place of the model's own.")
    prompt_format: ConfiguredPromptFormat | None = Field(
        default=None,
        description="For a model without a chat template: how a conversation is written as one prompt. A name (chatml, "
        "llama3, mistral, gemma, alpaca, plain) or a format of your own; no tools then.",
    )
    embeddings: bool = Field(default=True, description="Whether the model may be used for embeddings as well.")

    @field_validator("hub_id")
    @classmethod
    def _is_a_hub_id(cls, value: str | None) -> str | None:
        if value is not None and (not HUB_ID.fullmatch(value) or ".." in value):
            raise ValueError(f"{value[:100]!r} is no hub id: write owner/name, or give a directory as `path`")
        return value

    @field_validator("revision")
    @classmethod
    def _is_a_revision(cls, value: str | None) -> str | None:
        if value is not None and (not _REVISION.fullmatch(value) or ".." in value):
            raise ValueError("revision is a branch, a tag or a commit")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "TransformersModelOptions":
        if (self.path is None) == (self.hub_id is None):
            raise ValueError("give either `path`, a directory on this machine, or `hub_id`, as owner/name")
        if self.hub_id is None and (self.revision is not None or self.allow_download):
            raise ValueError("revision and allow_download belong to `hub_id`: a directory has neither")
        if self.trust_remote_code and self.hub_id is not None and not _COMMIT.fullmatch(self.revision or ""):
            raise ValueError(
                "trust_remote_code runs what its author uploads: pin `revision` to a commit of 40 hexadecimal digits"
            )
        if self.quantization != "none" and self.device == "mps":
            raise ValueError(f"quantization {self.quantization} does not exist for mps: use cpu or cuda, or none")
        if self.quantization == "8bit" and self.dtype == "float32":
            raise ValueError(
                "quantization 8bit computes in half precision: leave dtype out, or use float16 or bfloat16"
            )
        if self.prompt_format is not None and self.chat_template is not None:
            raise ValueError("prompt_format stands beside chat_template: keep one of the two")
        return self


def _where(text: str) -> Mapping[str, str]:
    """A hub id has exactly one slash and no sign of a path; `./owner/name` is always a path."""
    return {"hub_id": text} if HUB_ID.fullmatch(text) else {"path": text}


class TransformersConfig(LocalConfig):
    """Hugging Face models, each in a process of its own, loaded with the first call or by `load_model`."""

    models: Annotated[Mapping[str, Annotated[TransformersModelOptions, PATH]], by_name(_where)] = Field(
        default_factory=dict,
        description="Models by a name of your choice: `small: ./models/small`, `small: owner/name`, or a mapping.",
    )
    pinned_revisions: bool = Field(
        default=False,
        description="Refuse a `hub_id` without a full commit as its `revision`: a branch or tag can be moved.",
    )
    cache_dir: str | None = Field(
        default=None, description="The cache of the Hugging Face hub; unset: where its own tools keep it."
    )
    schemas: Schemas = Field(
        default="auto",
        description="`enforced`: answers are held to a JSON schema token by token, by llguidance. `described`: "
        "it is put into words. `auto`: the first where llguidance is installed.",
    )
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take, a download included.")

    @model_validator(mode="after")
    def _names_a_model(self) -> "TransformersConfig":
        if not self.models:
            raise ValueError("name at least one model, such as `models: {small: ./models/small}`")
        self.check_default_model()
        for name, entry in self.models.items():
            if self.pinned_revisions and entry.hub_id is not None and not _COMMIT.fullmatch(entry.revision or ""):
                raise ValueError(f"pinned_revisions: give `{name}` a `revision`, a commit of 40 hexadecimal digits")
        return self


def raw_fields() -> frozenset[str]:
    """Fields of `extra` that the engine knows; it has no others."""
    return frozenset({"min_p", "repetition_penalty", "logit_bias", "chat_template_kwargs"})


def known_raw_field(name: str, value: Any) -> bool:
    """Whether the engine takes the raw field *name* with such a *value*."""
    match name:
        case "min_p":
            return isinstance(value, int | float) and 0 <= value <= 1
        case "repetition_penalty":
            return isinstance(value, int | float) and value > 0
        case "logit_bias" | "chat_template_kwargs":
            return isinstance(value, Mapping)
    return False
