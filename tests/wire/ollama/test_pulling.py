"""When a model is pulled by itself, and what a pull is refused for."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.ollama import disk
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.testing.ollama_script import OllamaDownload, OllamaModelSpec

pytestmark = pytest.mark.leakcheck


def chat(model: str) -> ChatRequest:
    asked = LLMRequest(messages="hi")
    return ChatRequest("ollama", model, asked, asked.messages, ModelFacts(), PhaseLimits())


def pulls(server) -> int:
    return len(server.calls_to("/api/pull"))


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_never_means_that_a_missing_model_is_an_error_ML22(make, server):
    """It is the default, since downloads take room and time."""
    provider = await make()
    server.publish("new")
    with pytest.raises(ProviderError, match="pull: when_missing"):
        await provider.generate(chat("new"))
    assert pulls(server) == 0


async def test_when_missing_pulls_once_and_only_what_is_missing_ML22(make, server):
    """For a call, a stream, vectors and a load alike."""
    provider = await make(pull="when_missing")
    server.publish("new")
    await provider.generate(chat("tiny"))
    assert pulls(server) == 0
    assert (await provider.generate(chat("new"))).content
    assert [event async for event in provider.stream_generate(chat("new"))]
    assert pulls(server) == 1


async def test_always_looks_for_a_newer_version_once_while_the_installed_one_serves_ML22(make, server):
    """A digest that differs is fetched; nobody waits for it."""
    gate = asyncio.Event()
    newer = OllamaModelSpec("tiny", size=1_234_567)
    server.publish(OllamaDownload(newer, hold=gate))
    before = server.store.find("tiny").digest
    provider = await make(pull="always")
    for _ in range(3):
        assert (await provider.generate(chat("tiny"))).content
    await until(lambda: pulls(server) == 1)
    assert server.store.find("tiny").digest == before
    gate.set()
    await until(lambda: server.store.find("tiny").digest != before)
    await provider.generate(chat("tiny"))
    assert pulls(server) == 1


async def test_always_does_not_mind_a_registry_that_is_away_ML22(make, server):
    """What is installed serves on, and a later call looks again."""
    provider = await make(pull="always")
    assert (await provider.generate(chat("tiny"))).content
    await until(lambda: pulls(server) == 1)
    await until(lambda: not provider._pulls._running)
    assert (await provider.generate(chat("tiny"))).content
    await until(lambda: pulls(server) == 2)


async def test_always_waits_for_a_model_that_is_missing_ML22(make, server):
    """The look for a newer version and the fetch are one download."""
    server.publish("new")
    provider = await make(pull="always")
    assert (await provider.load_model("new")).state == "ready"
    assert (await provider.embed(EmbeddingRequest("ollama", "embedder", ("a",), PhaseLimits()))).vectors
    assert len([call for call in server.calls_to("/api/pull") if call.body["model"] == "new"]) == 1


async def test_a_strategy_of_one_model_ML22(make, server):
    """Over that of the provider."""
    provider = await make(models={"new": {"pull": "when_missing"}})
    server.publish("new", "other")
    assert (await provider.generate(chat("new"))).content
    with pytest.raises(ProviderError):
        await provider.generate(chat("other"))


async def test_closing_ends_a_look_for_a_newer_version(make, server):
    """Nothing is left of it."""
    server.publish(OllamaDownload(OllamaModelSpec("tiny", size=2), hold=asyncio.Event()))
    provider = await make(pull="always")
    await provider.generate(chat("tiny"))
    await until(lambda: pulls(server) == 1)


def test_the_older_way_to_write_it():
    """It means `when_missing`, and does not stand beside the newer one."""
    assert OllamaConfig(auto_pull=True).pull_of("m") == "when_missing"
    assert OllamaConfig().pull_of("m") == "never"
    with pytest.raises(ValidationError, match="keep pull"):
        OllamaConfig(auto_pull=True, pull="always")


async def test_a_pull_that_does_not_fit_is_stopped_before_the_disk_is_full_F148(make, server, monkeypatch, tmp_path):
    """The disk of a server on this machine is looked at; both numbers are said, and it is no use to try again."""
    asked: list[tuple[Path, ...]] = []
    free = [80 * 2**20]

    def found(places):
        asked.append(places)
        return free[0]

    monkeypatch.setattr(disk, "_free", found)
    provider = await make(models_dir=str(tmp_path))
    gate = asyncio.Event()
    server.publish(OllamaDownload(OllamaModelSpec("new"), layers=(40 * 2**20,), hold=gate))
    with pytest.raises(
        ProviderError, match=f"{40 * 2**20} bytes are still to come and {80 * 2**20} are free"
    ) as caught:
        await provider.pull_model("new")
    assert (caught.value.code, caught.value.retryable) == ("disk_full", False)
    assert set(asked) == {(tmp_path,)}
    await until(lambda: server.library.pulls_cut == 1)
    assert "new:latest" not in server.store.installed
    free[0] = 2**40
    gate.set()
    assert (await provider.pull_model("new")).name == "new"


async def test_the_disk_of_another_machine_is_not_ours_to_look_at_F148(tmp_path):
    """Only what is configured, or the usual places of a server that is here."""
    assert disk._places("http://gpu-box:11434", None) == ()
    assert disk._places("http://gpu-box:11434", str(tmp_path)) == (tmp_path,)
    assert disk._places("http://127.0.0.1:11434", None)
    assert disk._free((tmp_path / "nowhere", tmp_path)) > 0
    assert disk._free((tmp_path / "nowhere",)) is None


async def test_a_pull_whose_digests_nobody_compared_is_not_complete_F148(make, server):
    """Whatever the last line says."""
    provider = await make()
    server.publish(OllamaDownload(OllamaModelSpec("new"), unverified=True))
    with pytest.raises(ProviderError) as caught:
        await provider.pull_model("new")
    assert (caught.value.type, caught.value.code) == ("protocol", "unverified")
