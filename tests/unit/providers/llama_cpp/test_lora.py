"""Adapters: loaded with their model, checked before, and part of what the model is."""

import pytest
from pydantic import ValidationError

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.llama_cpp import embedded
from core.llm.providers.llama_cpp.config import LlamaCppConfig
from tests.security.gguf_files import write_lora
from tests.unit.providers.llama_cpp.conftest import chat

pytestmark = pytest.mark.leakcheck

SHAPES = {f"blk.{layer}.attn_q.weight": (192, 192) for layer in range(4)}


@pytest.fixture
def lora(tmp_path):
    """An adapter of the embedded model that changes what it says."""
    return write_lora(tmp_path / "lora.gguf", SHAPES, fill=0.5)


def entry(*adapters, **more):
    """The embedded model with adapters."""
    return {"path": "embedded", "lora": list(adapters), **more}


async def test_an_adapter_changes_the_answers_as_strongly_as_it_is_scaled(make_provider, lora):
    """At scale 0 the model answers as it does without; the same file is loaded twice, in two processes."""
    models = {
        "tiny": "embedded",
        "off": entry({"path": lora, "scale": 0}),
        "on": entry({"path": lora, "scale": 1}),
        "short": entry(lora),
    }
    provider = await make_provider(models)
    answers = {name: (await provider.generate(chat(model=name, max_tokens=16))).content for name in models}
    assert answers["off"] == answers["tiny"]
    assert answers["on"] != answers["tiny"]
    assert answers["short"] == answers["on"]  # scale 1 where it is left out


async def test_the_adapters_are_part_of_what_a_model_is(make_provider, lora):
    """Another scale is another model in memory; the same one is the same."""
    old = await make_provider({"tiny": entry(lora)})
    pid = (await old.load_model("tiny")).pid
    same = await make_provider({"tiny": entry({"path": lora, "scale": 1.0})})
    assert (await same.model_status("tiny")).pid == pid
    assert same.placement("tiny").identity == old.placement("tiny").identity
    other = await make_provider({"tiny": entry({"path": lora, "scale": 0.5})})
    assert (await other.model_status("tiny")).pid is None
    assert other.placement("tiny").identity != old.placement("tiny").identity


async def test_an_adapter_that_cannot_be_one_is_refused_before_any_native_code_sees_it(make_provider, tmp_path, lora):
    """Missing, damaged, a whole model, or made for another kind of model: each says what it is."""
    cut = tmp_path / "cut.gguf"
    cut.write_bytes((tmp_path / "lora.gguf").read_bytes()[:-40])
    other = write_lora(tmp_path / "other.gguf", SHAPES, architecture="gpt2")
    bad = {
        "missing": (str(tmp_path / "none.gguf"), "there is no file"),
        "cut": (str(cut), "cut off"),
        "model": (str(embedded.path()), "is no LoRA adapter"),
        "other": (other, "was made for gpt2, the model is llama"),
        "pickle": (str(tmp_path / "adapter.bin"), "may hold a pickle"),
    }
    provider = await make_provider({name: entry(path) for name, (path, _) in bad.items()})
    for name, (_, reason) in bad.items():
        with pytest.raises(ModelLoadError, match=reason):
            await provider.load_model(name)
        assert (await provider.model_status(name)).pid is None
    swapped = await make_provider({"tiny": lora})
    with pytest.raises(ModelLoadError, match="name it under `lora`"):
        await swapped.load_model("tiny")


async def test_an_adapter_for_other_tensors_is_refused_at_the_load(make_provider, tmp_path):
    """Only the engine can see that; what it says is told."""
    strange = write_lora(tmp_path / "strange.gguf", {"blk.0.attn_q.weight": (64, 192)})
    provider = await make_provider({"tiny": entry(strange)})
    with pytest.raises(ModelLoadError, match="refuses the file") as caught:
        await provider.load_model("tiny")
    assert "lora" in caught.value.output.lower()


async def test_adapters_obey_the_rules_of_model_files_S35_S41(make_provider, tmp_path, lora):
    """Where they lie, and what they hold."""
    provider = await make_provider({"far": entry(lora)}, models_dir="/srv/models")
    with pytest.raises(ModelLoadError, match="leaves models_dir"):
        await provider.load_model("far")
    wrong = await make_provider({"tiny": entry({"path": lora, "sha256": "0" * 64})})
    with pytest.raises(ModelLoadError, match="does not have the configured sha256"):
        await wrong.load_model("tiny")


@pytest.mark.parametrize("lora", ["x.gguf", [{"scale": 1}], [{"path": "x.gguf", "scale": float("nan")}], [""]])
def test_what_cannot_be_an_adapter_is_refused_in_the_configuration(lora):
    """A list of paths or mappings, each with a finite scale."""
    with pytest.raises(ValidationError):
        LlamaCppConfig(models={"m": {"path": "m.gguf", "lora": lora}})
