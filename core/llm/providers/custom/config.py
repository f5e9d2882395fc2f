"""What can be configured for models of one's own."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from core.llm.common.units import Duration
from core.llm.providers.base.prompt_format import ConfiguredPromptFormat
from core.llm.providers.config.models.provider import ModelOptions
from core.llm.providers.custom.derived import IMPORT_PATH, check_entry, engine_of
from core.llm.providers.local_config import PATH, Device, LocalConfig, Quantization, by_name

Isolation = Literal["process", "none"]

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_SHORT: Final = (
    "model_path", "engine", "device", "quantization", "cache_dir", "isolation", "licence_check", "prompt_format",
    "sha256", "options",
)  # fmt: skip
"""What describes the only model of a provider that has no `models`."""


class CustomModelOptions(ModelOptions):
    """One model: where it is, what runs it, and how it is loaded. A change of how it is loaded loads it anew."""

    model_path: str | None = Field(
        default=None,
        min_length=1,
        description="A GGUF file, or a directory with safetensors. A relative path is below `models_dir`, or below the "
        "current directory where there is none. A class of your own may do without.",
    )
    engine: str | None = Field(
        default=None,
        description="llama_cpp, transformers, or your own class as `package.module:Class`. Unset: by what `model_path` "
        "names, a .gguf file for llama_cpp and a directory for transformers.",
    )
    device: Device = Field(default="auto", description="auto, cpu, cuda, cuda:1 …, mps.")
    quantization: Quantization = Field(default="none", description="When loading; a GGUF file is what it is already.")
    cache_dir: str | None = Field(
        default=None, description="Where the engine may keep files; for transformers the hub's cache."
    )
    prompt_format: ConfiguredPromptFormat | None = Field(
        default=None,
        description="How a conversation is written as one prompt, past the model's own template. A name (chatml, "
        "llama3, mistral, gemma, alpaca, plain) or a format of your own; no tools then.",
    )
    sha256: str | Mapping[str, str] | None = Field(
        default=None, description="Checked before each load: of the file, or in a directory `{model.safetensors: …}`."
    )
    licence_check: str | None = Field(
        default=None, description="Your function as `package.module:function`; it has to let each load pass."
    )
    allow_pickle: bool = Field(default=False, description="Let .bin, .pt and the like be loaded; they can run code.")
    isolation: Isolation = Field(
        default="process",
        description="A class of your own runs in a process of its own; `none`: in threads of this one.",
    )
    parallel: int = Field(default=1, ge=1, le=256, description="Calls of a class of your own at the same time.")
    options: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Further load options: of a model of that engine (`n_ctx`, `lora`, `dtype` …), or whatever your "
        "class wants.",
    )

    @field_validator("licence_check")
    @classmethod
    def _is_an_import_path(cls, value: str | None) -> str | None:
        if value is not None and not IMPORT_PATH.fullmatch(value):
            raise ValueError("licence_check is a function as `package.module:function`")
        return value

    @field_validator("sha256")
    @classmethod
    def _is_a_digest(cls, value: str | Mapping[str, str] | None) -> str | Mapping[str, str] | None:
        digests = value.values() if isinstance(value, Mapping) else () if value is None else (value,)
        if not all(_DIGEST.fullmatch(digest) for digest in digests):
            raise ValueError("a sha256 has 64 hexadecimal digits")
        names = value if isinstance(value, Mapping) else ()
        if any(PurePath(name).name != name for name in names):
            raise ValueError("sha256 names files of the directory itself, without a path")
        return value

    @model_validator(mode="after")
    def _can_be_run(self) -> "CustomModelOptions":
        check_entry(self)
        return self


def _at_path(text: str) -> Mapping[str, str]:
    return {"model_path": text}


class CustomConfig(LocalConfig):
    """Models of one's own, each in a process of its own, loaded with the first call or by `load_model`.

    The fields of a model may stand here as well where there is only one; it is called after its file then.
    """

    models: Annotated[Mapping[str, Annotated[CustomModelOptions, PATH]], by_name(_at_path)] = Field(
        default_factory=dict,
        description="Models by a name of your choice: `mine: model.gguf`, or a mapping with `model_path` and options.",
    )
    model_path: str | None = Field(
        default=None, min_length=1, description="Of the only model, where there is no `models`."
    )
    engine: str | None = Field(default=None, description="As for `model_path`.")
    device: str | None = Field(default=None, description="As for `model_path`.")
    quantization: Quantization | None = Field(default=None, description="As for `model_path`.")
    cache_dir: str | None = Field(default=None, description="As for `model_path`.")
    isolation: Isolation | None = Field(default=None, description="As for `model_path`.")
    licence_check: str | None = Field(default=None, description="As for `model_path`.")
    prompt_format: ConfiguredPromptFormat | None = Field(default=None, description="As for `model_path`.")
    sha256: str | Mapping[str, str] | None = Field(default=None, description="As for `model_path`.")
    options: Mapping[str, Any] = Field(default_factory=dict, description="As for `model_path`.")
    licence_timeout: Duration = Field(
        default=30.0, description="How long `licence_check` may take; then it has not passed."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_model(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not any(data.get(field) is not None for field in _SHORT):
            return data
        if data.get("models") not in (None, {}):
            named = next(field for field in _SHORT if data.get(field) is not None)
            raise ValueError(f"{named} stands beside models: write it into the model that it is meant for")
        entry = {field: data[field] for field in _SHORT if data.get(field) is not None}
        name = data.get("default_model") or _name_of(entry)
        return {**data, "models": {name: entry}}

    @model_validator(mode="after")
    def _names_a_model(self) -> "CustomConfig":
        if not self.models:
            raise ValueError("name a model: `model_path: model.gguf`, or several under `models`")
        self.check_default_model()
        return self

    def engine_of(self, model: str) -> str:
        """What runs *model*."""
        return engine_of(self.models[model])


def _name_of(entry: Mapping[str, Any]) -> str:
    named = entry.get("model_path") or str(entry.get("engine")).rpartition(":")[2]
    return PurePath(str(named)).stem if str(named).lower().endswith(".gguf") else PurePath(str(named)).name or "model"
