"""What llama.cpp does otherwise than one would think: each trap is closed, and stays so."""

import asyncio
import json

import psutil
import pytest

from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.providers.llama_cpp.engine import LlamaEngine, _settings
from tests.unit.providers.llama_cpp.conftest import chat, texts

pytestmark = pytest.mark.leakcheck

PARAMS = {
    "name": "tiny", "n_ctx": 512, "n_parallel": 4, "n_threads": 1, "n_gpu_layers": 7, "n_batch": 256,
    "chat_template": None, "embeddings": True, "has_pooling": False, "mmap": True, "prompt_cache": 64 * 2**20,
    "engine": {},
}  # fmt: skip


class NoJob:
    """A call that nobody leaves."""

    cancelled = False


def settings(**changes):
    """What the engine is told for these parameters."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="the engine has no build for this platform")
    return _settings(xllamacpp, {**PARAMS, **changes}, "key")


def test_slots_share_their_memory_and_each_has_its_part():
    """Separate memories mix up the vectors of a batch; without a part of its own, a call gets a quarter (traps 1, 5)."""
    told = settings()
    assert (told.n_parallel, told.kv_unified, told.kv_unified_per_slot) == (4, True, 512)
    assert told.n_ctx == 4 * 512


def test_the_cache_of_prompts_is_bounded():
    """The engine's own default is 8 GiB (trap 3)."""
    assert settings().cache_ram_mib == 64
    assert settings(prompt_cache=0).cache_ram_mib == 0


def test_layers_on_the_gpu_are_as_configured():
    """Unset means that the engine finds out how many fit."""
    assert settings().n_gpu_layers == 7
    assert settings(n_gpu_layers=0).n_gpu_layers == 0
    assert settings(n_gpu_layers=None).n_gpu_layers == settings(n_gpu_layers=None).__class__().n_gpu_layers


async def test_where_layers_are_is_part_of_what_a_model_is(make_provider):
    """Another number of layers is loaded anew; the residency knows on which device."""
    models = {"cpu": {"path": "embedded", "n_gpu_layers": 0}, "gpu": {"path": "embedded", "n_gpu_layers": 99}}
    provider = await make_provider(models)
    cpu, gpu = provider.placement("cpu"), provider.placement("gpu")
    assert (cpu.device, gpu.device) == ("cpu", "cuda:0")
    assert cpu.identity[-1] != gpu.identity[-1]


@pytest.mark.parametrize(
    ("options", "device"),
    [
        ({}, "cpu"),
        ({"engine": {"main_gpu": 1}}, "cuda:1"),
        ({"engine": {"main_gpu": 1}, "n_gpu_layers": -1}, "cuda:1"),
        ({"engine": {"main_gpu": 1}, "n_gpu_layers": 0}, "cpu"),
    ],
)
async def test_a_model_counts_where_it_was_put(make_provider, options, device):
    """The memory budget of the second GPU is not that of the processor."""
    provider = await make_provider({"tiny": {"path": "embedded", **options}})
    assert provider.placement("tiny").device == device


@pytest.mark.parametrize("slots", [1, 4])
async def test_a_call_gets_all_of_its_context_whatever_the_number_of_slots(make_provider, slots):
    """`n_ctx` tokens for each, and the refusal names the number (trap 5)."""
    provider = await make_provider({"tiny": {"path": "embedded", "n_ctx": 256, "n_parallel": slots}})
    fits = await provider.generate(chat("word " * 90, max_tokens=1))
    assert fits.usage.input_total > 256 / 4
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat("word " * 300, max_tokens=1))
    assert caught.value.type == "context_length"
    assert "context size (256 tokens)" in caught.value.message


async def test_answers_side_by_side_equal_those_alone(make_provider):
    """Slots do not mix (trap 6)."""
    provider = await make_provider({"one": {"path": "embedded", "n_parallel": 1}, "four": "embedded"})
    questions = ["What is dependency injection?", "hello", "Who are you?", "ping"]
    alone = [(await provider.generate(chat(text, model="one", max_tokens=24))).content for text in questions]
    calls = [provider.generate(chat(text, model="four", max_tokens=24)) for text in questions]
    assert [answer.content for answer in await asyncio.gather(*calls)] == alone


@pytest.mark.parametrize("vector", [None, [], [1.0, None], [float("nan"), 1.0], "AAAA"])
async def test_a_vector_that_is_none_is_an_error_and_never_an_answer(provider, monkeypatch, vector):
    """A model whose file was overwritten answers with nulls and says nothing about it (trap 2)."""
    body = json.dumps({"data": [{"index": 0, "embedding": vector}], "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    async def answer(*_: object, **__: object):
        return {"status": 200, "body": body}

    monkeypatch.setattr(provider._models["tiny"], "request", answer)
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts("a"))
    assert caught.value.type == "protocol"


def test_nulls_in_a_batch_do_not_count_as_agreement():
    """The probe that decides whether lists may be sent compares vectors that are there."""

    class Null:
        def handle_embeddings(self, body):
            return {"data": [{"embedding": None, "index": index} for index in range(len(body["input"]))], "usage": {}}

    engine = LlamaEngine()
    engine._server = Null()
    assert engine._may_batch() is False


@pytest.mark.parametrize(
    ("raw", "reason"),
    [({"grammar": "root ::= (("}, "failed to parse grammar"), ({"json_schema": {"type": "strange"}}, "strange")],
)
async def test_a_bad_grammar_is_refused_with_its_reason_and_prints_nothing_here(provider, capfd, raw, reason):
    """The engine complains on its stderr, whatever it was told: that is the worker's, not ours (trap 4)."""
    with pytest.raises(ProviderError, match=reason) as caught:
        await provider.generate(chat("hello", raw=raw))
    assert caught.value.type == "invalid_request"
    assert (await provider.generate(chat("hello", max_tokens=2))).content
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"chat_template": "{% include 'x' %}"}, "Unknown statement: include"),
        ({"engine": {"cache_type_k": 99}}, "does not divide"),
    ],
)
async def test_what_the_engine_says_about_a_load_is_in_the_error(make_provider, entry, reason):
    """By itself it only says that it failed."""
    provider = await make_provider({"tiny": {"path": "embedded", **entry}})
    with pytest.raises(ModelLoadError, match=reason):
        await provider.load_model("tiny")


async def test_two_models_are_two_processes_and_a_crash_of_one_is_not_the_others(make_provider):
    """Several models, each with its own slots."""
    provider = await make_provider({"a": "embedded", "b": {"path": "embedded", "n_ctx": 256}})
    first, second = await provider.load_model("a"), await provider.load_model("b")
    assert first.pid != second.pid
    psutil.Process((await provider.model_status("a")).pid).kill()
    assert (await provider.generate(chat("hello", model="b", max_tokens=2))).content
