"""Loads, crashes and ends of real torch workers."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.providers.base.provider import Progress
from core.llm.providers.base.response import TextDelta
from tests.transformers import tiny
from tests.transformers.conftest import chat

MINUTE = 60.0

pytestmark = [pytest.mark.timeout(600)]


async def gone(pid: int) -> None:
    """Return once the process has ended."""
    async with asyncio.timeout(MINUTE):
        with suppress(psutil.NoSuchProcess):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.02)


async def test_F142_fifty_first_calls_are_one_load(make_provider: Callable[..., Any]) -> None:
    """Whatever each of them wants; unloading gives all memory back, and the next call loads again."""
    provider = await make_provider()

    answers = await asyncio.gather(*[provider.generate(chat("Say hello")) for _ in range(50)])

    assert {answer.content for answer in answers} == {tiny.ANSWERS["Say hello"]}
    assert [event.state for event in provider.told if event.kind == "load" and event.state == "ready"] == ["ready"]
    assert any(event.message == "importing torch" for event in provider.told)
    status = await provider.model_status("tiny")
    assert (status.state, provider.in_memory("tiny")) == ("ready", True)
    assert status.memory_bytes > 100 * 2**20
    assert provider.placement("tiny").device == "cpu"
    assert (await provider.unload_model("tiny")).state == "unloaded"
    assert not psutil.pid_exists(status.pid)


async def test_a_load_tells_how_far_it_is(make_provider: Callable[..., Any]) -> None:
    """In steps that never go back, to whoever loads and as events."""
    provider = await make_provider()
    told: list[Progress] = []

    await provider.load_model("tiny", told.append)

    steps = [one.completed for one in told if one.completed is not None]
    assert [told[0].message, told[-1].message] == ["loading", "ready"]
    assert steps == sorted(steps)
    assert steps[-1] == next(one.total for one in told if one.total is not None)


@pytest.mark.parametrize("moment", ["load", "generation", "unload"])
async def test_F137_a_worker_that_is_killed_harms_nobody(make_provider: Callable[..., Any], moment: str) -> None:
    """A load is tried once more; calls that had begun fail typed, and the next one starts it again."""
    provider = await make_provider()
    children = psutil.Process().children
    before = {child.pid for child in children()}
    if moment == "load":
        call = asyncio.ensure_future(provider.generate(chat("Say hello")))
        async with asyncio.timeout(MINUTE):
            while not (new := {child.pid for child in children()} - before):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        os.kill(new.pop(), signal.SIGKILL)
        assert (await call).content == tiny.ANSWERS["Say hello"]
    else:
        pid = (await provider.load_model("tiny")).pid
        stream = provider.stream_generate(chat("Count", stream=True, raw={"logit_bias": {"2": -1000}}))
        with pytest.raises(ProviderError) as caught:
            async for event in stream:
                if isinstance(event, TextDelta) and psutil.pid_exists(pid):
                    ending = asyncio.ensure_future(provider.unload_model("tiny")) if moment == "unload" else None
                    await asyncio.sleep(0)
                    with suppress(ProcessLookupError):  # it may be dying already
                        os.kill(pid, signal.SIGKILL)
        assert caught.value.code in {"worker_crashed", "worker_stopped"}
        if ending is not None:
            assert (await ending).state in {"unloaded", "failed"}
        await gone(pid)

    async with asyncio.timeout(MINUTE):
        while True:
            try:
                answer = await provider.generate(chat("Say hello"))
                break
            except ProviderError as error:
                assert error.code == "worker_restarting"  # noqa: PT017 - only this one is waited for
                await asyncio.sleep(error.retry_after or 0.1)
    assert answer.content == tiny.ANSWERS["Say hello"]


async def test_a_replaced_model_is_loaded_anew(
    make_provider: Callable[..., Any], model_folder: Path, tmp_path: Path
) -> None:
    """With the next call; a damaged one changes nothing."""
    folder = tiny.copy(model_folder, tmp_path / "m")
    weights, new = folder / "model.safetensors", folder / "new"
    provider = await make_provider({"tiny": str(folder)})
    first = (await provider.load_model("tiny")).pid
    good = weights.read_bytes()
    for content in (good[:1000], good):
        new.write_bytes(content)
        new.replace(weights)
        assert (await provider.generate(chat("Say hello"))).content == tiny.ANSWERS["Say hello"]
        assert ((await provider.model_status("tiny")).pid == first) is (content != good)
    assert any("serves on" in event.message for event in provider.told)


async def test_F138_memory_that_runs_out_is_told_as_such(make_provider: Callable[..., Any]) -> None:
    """By words that the rules of residency know, and by a code that nobody tries again with the same request."""
    from core.llm.providers.transformers.memory import out_of_memory
    from core.llm.residency.loading import is_out_of_memory

    provider = await make_provider(memory_limit="150MiB")
    with pytest.raises(ModelLoadError) as caught:
        await provider.load_model("tiny")
    assert is_out_of_memory(caught.value), caught.value.output

    with pytest.raises(RuntimeError) as refused:
        torch.empty(10**15)
    told = out_of_memory(refused.value)
    assert told is not None
    assert told.code == "out_of_memory"
    assert out_of_memory(RuntimeError("shapes do not match")) is None


async def test_F140_what_only_the_library_can_refuse_is_explained(
    make_provider: Callable[..., Any], model_folder: Path, tmp_path: Path
) -> None:
    """Weights that no file has are not made up, and no process is left."""
    folder = tiny.copy(model_folder, tmp_path / "m")
    tiny.edit(folder, "config.json", num_hidden_layers=3, layer_types=None)
    provider = await make_provider({"tiny": {"path": str(folder), "device": "cpu"}})

    with pytest.raises(ModelLoadError, match="lack 9 weights"):
        await provider.load_model("tiny")
    status = await provider.model_status("tiny")
    assert (status.state, status.pid) == ("failed", None)
    tiny.edit(folder, "config.json", auto_map={"AutoConfig": "x.Y"})
    with pytest.raises(ModelLoadError, match="trust_remote_code"):
        await provider.load_model("tiny")


async def test_a_template_that_never_ends_is_stopped_in_the_worker(
    make_provider: Callable[..., Any], model_folder: Path
) -> None:
    """S39: the call is refused, and the worker goes on."""
    endless = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"
    provider = await make_provider({"tiny": {"path": str(model_folder), "device": "cpu", "chat_template": endless}})

    with pytest.raises(ProviderError, match="ran for more than") as caught:
        await provider.generate(chat("Say hello"))
    assert caught.value.type == "invalid_request"
    assert (await provider.model_status("tiny")).state in {"ready", "in_use"}


async def test_a_prompt_format_takes_the_place_of_a_template(
    make_provider: Callable[..., Any], model_folder: Path, tmp_path: Path
) -> None:
    """Without either there is no chat."""
    folder = tiny.copy(model_folder, tmp_path / "m")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tiny.edit(folder, "tokenizer_config.json", chat_template=None)
    models = {"tiny": {"path": str(folder), "prompt_format": "chatml"}, "bare": {"path": str(folder)}}
    provider = await make_provider(models)

    assert (await provider.generate(chat("Say hello"))).content == tiny.ANSWERS["Say hello"]
    assert provider.facts("bare").lacks("chat")
    assert not provider.facts("bare").lacks("embeddings")
