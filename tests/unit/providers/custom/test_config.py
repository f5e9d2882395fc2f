"""What can be written in the YAML for models of one's own, and which engine runs them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.llm.providers.custom import PROVIDER
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.derived import engine_config
from core.llm.providers.custom.provider import CustomProvider
from core.llm.testing.services import provider_services


@pytest.mark.parametrize(
    ("entry", "engine"),
    [
        ({"model_path": "a/model.gguf"}, "llama_cpp"),
        ({"model_path": "a/MODEL.GGUF"}, "llama_cpp"),
        ({"model_path": "embedded"}, "llama_cpp"),
        ({"model_path": "a/model"}, "transformers"),
        ({"model_path": "a/model", "engine": "acme.llm:Engine"}, "acme.llm:Engine"),
        ({"engine": "acme.llm:Engine"}, "acme.llm:Engine"),
    ],
)
def test_the_path_chooses_the_engine_where_nobody_else_does(entry, engine):
    """A file for llama.cpp, a directory for Transformers."""
    assert CustomConfig(models={"m": entry}).engine_of("m") == engine


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"model_path": "/srv/acme-7b.q4.gguf"}, "acme-7b.q4"),
        ({"model_path": "/srv/acme.v2/"}, "acme.v2"),
        ({"engine": "acme.llm:Engine"}, "Engine"),
        ({"model_path": "/srv/x.gguf", "default_model": "mine"}, "mine"),
    ],
)
def test_one_model_needs_no_name(fields, name):
    """It is called after its file, its class, or `default_model`."""
    config = CustomConfig(**fields)
    assert list(config.models) == [name]


def test_what_stands_beside_the_only_path_belongs_to_its_model():
    """Every field of a model may."""
    config = CustomConfig(
        model_path="/srv/m", device="cuda:1", quantization="4bit", cache_dir="/c", options={"dtype": "float16"}
    )
    entry = config.models["m"]
    assert (entry.device, entry.quantization, entry.cache_dir) == ("cuda:1", "4bit", "/c")
    assert entry.options == {"dtype": "float16"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "name a model"),
        ({"models": {"m": {}}}, "model_path is missing"),
        ({"models": {"m": {"engine": "llama_cpp"}}}, "model_path is missing"),
        ({"models": {"m": "m.gguf"}, "device": "cpu"}, "device stands beside models"),
        ({"models": {"m": "m.gguf"}, "default_model": "n"}, "none of the models"),
        ({"model_path": "m.gguf", "engine": "vllm"}, "unknown engine 'vllm'"),
        ({"model_path": "m.gguf", "engine": "acme.llm"}, "package.module:Class"),
        ({"model_path": "m.gguf", "quantization": "4bit"}, "quantized already"),
        ({"model_path": "m.gguf", "device": "gpu"}, "unknown device 'gpu'"),
        ({"model_path": "m.gguf", "isolation": "none"}, "isolation none is for classes of your own"),
        ({"model_path": "m/model.safetensors"}, "give the directory it lies in"),
        ({"model_path": "m.gguf", "sha256": {"m.gguf": "0" * 64}}, "as one text"),
        ({"model_path": "m", "sha256": "0" * 64}, "a line for each file"),
        ({"model_path": "m.gguf", "options": {"nctx": 5}}, "options.nctx"),
        ({"model_path": "m.gguf", "options": {"n_ctx": 1}}, "options.n_ctx"),
        ({"model_path": "m.gguf", "options": {"path": "/etc/passwd"}}, "has a place of its own"),
        ({"model_path": "m", "options": {"trust_remote_code": "perhaps"}}, "options.trust_remote_code"),
        ({"model_path": "m.gguf", "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_started(fields, reason):
    """With what to write instead."""
    with pytest.raises(ValidationError, match=reason):
        CustomConfig(**fields)


@pytest.mark.parametrize(
    ("device", "counts_on"), [("auto", "cpu"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")]
)
def test_a_gguf_model_counts_on_the_device_that_was_written(device, counts_on):
    """In front of llama.cpp as in front of the other engines: memory budgets are by device."""
    config = CustomConfig(models={"m": {"model_path": "m.gguf", "device": device}})
    assert CustomProvider(config, provider_services("mine")).placement("m").device == counts_on


def test_llama_cpp_gets_what_it_calls_by_other_names():
    """Device, paths and limits; the further options as they are."""
    config = CustomConfig(
        models={
            "cpu": {"model_path": "m.gguf", "device": "cpu", "sha256": "0" * 64},
            "gpu": {"model_path": "m.gguf", "device": "cuda:1", "options": {"n_ctx": 512, "lora": ["l.gguf"]}},
        },
        models_dir="/srv", model_roots=("/data",), load_timeout="5m", unload_timeout="7s", memory_limit="1GiB",
        max_waiting=3, timeouts={"total": "9s"},
    )  # fmt: skip
    cpu, gpu = engine_config(config, "cpu"), engine_config(config, "gpu")
    assert (cpu.models["cpu"].n_gpu_layers, cpu.models["cpu"].sha256) == (0, "0" * 64)
    assert (gpu.models["gpu"].n_gpu_layers, gpu.models["gpu"].engine) == (None, {"main_gpu": 1})
    assert (gpu.models["gpu"].n_ctx, gpu.models["gpu"].lora[0].path) == (512, "l.gguf")
    assert (cpu.models_dir, cpu.model_roots, cpu.load_timeout, cpu.unload_timeout) == ("/srv", ("/data",), 300, 7)
    assert (cpu.memory_limit, cpu.max_waiting, cpu.timeouts.total) == (2**30, 3, 9)
    assert list(cpu.models) == ["cpu"]


def test_transformers_gets_what_it_calls_by_other_names():
    """The cache is the provider's there."""
    entry = {
        "model_path": "m",
        "device": "cuda",
        "quantization": "8bit",
        "cache_dir": "/c",
        "options": {"max_batch": 2},
    }
    config = engine_config(CustomConfig(models={"m": entry}, models_dir="/srv"), "m")
    model = config.models["m"]
    assert (model.path, model.device, model.quantization, model.max_batch) == ("m", "cuda", "8bit", 2)
    assert (config.cache_dir, config.models_dir) == ("/c", "/srv")


def test_the_folder_describes_itself_without_any_engine():
    """It needs nothing that is not installed anyway."""
    assert (PROVIDER.name, PROVIDER.extra, PROVIDER.local) == ("custom", None, True)
    assert PROVIDER.config_class() is CustomConfig
    assert PROVIDER.provider_class().__name__ == "CustomProvider"


def test_the_class_of_the_documentation_is_the_one_that_runs():
    """What stands on the page is the file, to the letter."""
    root = Path(__file__).parents[4]
    example = (root / "docs/examples/custom_engine/bigrams.py").read_text()
    assert f"```python\n{example}```" in (root / "docs/providers/custom.md").read_text()
    assert example.count("\n") < 60
