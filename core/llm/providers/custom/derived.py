"""From a model of one's own to the configuration of the provider whose engine runs it."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models.provider import ProviderConfig

if TYPE_CHECKING:
    from core.llm.providers.custom.config import CustomConfig, CustomModelOptions

BUILT_IN: Final = ("llama_cpp", "transformers")
IMPORT_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_EMBEDDED: Final = "embedded"
_OURS: Final = frozenset({"path", "model_path", "hub_id", "device", "quantization", "prompt_format", "sha256"})
"""Options that have a place of their own, or that would lead past the checks of a path."""


def engine_of(entry: "CustomModelOptions") -> str:
    """What runs the model: as configured, else by what its path names."""
    if entry.engine is not None:
        return entry.engine
    path = entry.model_path or ""
    return "llama_cpp" if path == _EMBEDDED or path.lower().endswith(".gguf") else "transformers"


def check_entry(entry: "CustomModelOptions") -> None:
    """Refuse what no engine could run.

    Raises:
        ValueError: says what to write instead.
    """
    engine, path = engine_of(entry), entry.model_path
    if engine not in BUILT_IN:
        if not IMPORT_PATH.fullmatch(engine):
            raise ValueError(f"unknown engine {engine!r}: use llama_cpp, transformers, or package.module:Class")
        return
    if path is None:
        raise ValueError("model_path is missing: the file or directory of the model, or `engine: package.module:Class`")
    if path.lower().endswith(".safetensors"):
        raise ValueError("model_path names one .safetensors file: give the directory it lies in, with its config.json")
    if entry.isolation == "none":
        raise ValueError(f"isolation none is for classes of your own: {engine} always runs in a process of its own")
    if taken := sorted(_OURS & entry.options.keys()):
        raise ValueError(f"options holds {taken[0]!r}, which has a place of its own in the model")
    if engine == "llama_cpp" and entry.quantization != "none":
        raise ValueError("a GGUF file is quantized already: take another file, and leave quantization out")
    if engine == "llama_cpp" and isinstance(entry.sha256, Mapping):
        raise ValueError("a GGUF model is one file: write its sha256 as one text")
    if engine == "transformers" and isinstance(entry.sha256, str):
        raise ValueError("a directory has no sha256: write `{model.safetensors: …}`, a line for each file")
    options_class: type[BaseModel] = get_args(engine_spec(engine).config_class().model_fields["models"].annotation)[1]
    try:
        options_class.model_validate(_entry(entry))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ("options", *first["loc"]))
        raise ValueError(f"{where}: {first['msg']} (as a model of {engine})") from None


def engine_spec(engine: str) -> ProviderSpec:
    """The provider whose engine is called *engine*."""
    # By name, as the factory does: a provider imports no other one.
    spec: ProviderSpec = import_module(f"core.llm.providers.{engine}").PROVIDER
    return spec


def engine_config(config: "CustomConfig", model: str) -> ProviderConfig:
    """The configuration with which the engine's own provider runs *model*, and nothing else."""
    entry = config.models[model]
    engine = engine_of(entry)
    shared = {
        field: getattr(config, field)
        for field in ("models_dir", "model_roots", "load_timeout", "unload_timeout", "memory_limit", "max_waiting")
    }
    if engine == "transformers" and entry.cache_dir is not None:
        shared["cache_dir"] = entry.cache_dir
    timeouts = config.timeouts.model_dump(exclude_unset=True)
    values = {"type": engine, "models": {model: _entry(entry)}, "timeouts": timeouts, "default_model": model, **shared}
    return engine_spec(engine).config_class().model_validate(values)


def _entry(entry: "CustomModelOptions") -> dict[str, Any]:
    values: dict[str, Any] = {"path": entry.model_path, **entry.options}
    if entry.prompt_format is not None:
        values["prompt_format"] = entry.prompt_format
    if engine_of(entry) == "transformers":
        return {
            "device": entry.device,
            "quantization": entry.quantization,
            "allow_pickle": entry.allow_pickle,
            **values,
        }
    if isinstance(entry.sha256, str):
        values["sha256"] = entry.sha256
    if entry.device == "cpu":
        values.setdefault("n_gpu_layers", 0)
    elif entry.device.startswith("cuda"):
        values["engine"] = {"main_gpu": int(entry.device[5:] or 0), **values.get("engine", {})}
    return values
