"""What can be written in the YAML for local models."""

import pytest
from pydantic import ValidationError

from core.llm.providers.llama_cpp import PROVIDER
from core.llm.providers.llama_cpp.config import LlamaCppConfig


def test_a_model_may_be_written_as_its_path():
    """`tiny: embedded` is short for `tiny: {path: embedded}`."""
    short = LlamaCppConfig(models={"tiny": "embedded"})
    assert short == LlamaCppConfig(models={"tiny": {"path": "embedded"}})
    assert short.models["tiny"].path == "embedded"


def test_units_are_understood():
    """Durations and sizes as everywhere."""
    config = LlamaCppConfig(
        models={"m": {"path": "m.gguf", "prompt_cache": "1GiB"}}, load_timeout="10m", memory_limit="20GiB"
    )
    assert config.load_timeout == 600
    assert config.memory_limit == 20 * 2**30
    assert config.models["m"].prompt_cache == 2**30


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"models": {}},
        {"models": {"m": None}},
        {"models": {"m": ""}},
        {"models": {"m": {}}},
        {"models": ["m"]},
        {"models": {"m": {"path": "m.gguf", "n_ctx": 0}}},
        {"models": {"m": {"path": "m.gguf", "sha256": "abc"}}},
        {"models": {"m": {"path": "m.gguf", "nctx": 512}}},
        {"models": {"m": "m.gguf"}, "default_model": "n"},
    ],
)
def test_what_cannot_work_is_refused(fields):
    """Before anything is started."""
    with pytest.raises(ValidationError):
        LlamaCppConfig(**fields)


def test_the_folder_describes_itself_without_the_engine():
    """Discovery imports neither the provider nor xllamacpp."""
    assert (PROVIDER.name, PROVIDER.extra, PROVIDER.local) == ("llama_cpp", "local", True)
    assert PROVIDER.config_class() is LlamaCppConfig
    assert PROVIDER.provider_class().__name__ == "LlamaCppProvider"
