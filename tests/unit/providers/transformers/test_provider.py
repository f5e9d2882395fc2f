"""What the host's side knows and says without any worker."""

from pathlib import Path
from typing import Any

import pytest

from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.factory.discovery import builtin_spec
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.transformers import local_model
from core.llm.providers.transformers.config import TransformersConfig
from core.llm.providers.transformers.provider import TransformersProvider
from core.llm.testing import provider_services
from tests.unit.providers.transformers import folders

TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


async def started(models: dict[str, Any], **fields: Any) -> TransformersProvider:
    """A provider that was started; it holds nothing that has to be closed."""
    provider = TransformersProvider(TransformersConfig(models=models, **fields), provider_services("local"))
    await provider.start()
    return provider


def request(**fields: Any) -> ChatRequest:
    """A request as the pipeline hands it to a provider."""
    params = LLMRequest(messages="Hello", **fields)
    return ChatRequest("local", "m", params, params.messages, ModelFacts(), PhaseLimits())


async def test_without_a_grammar_engine_that_is_said(tmp_path: Path) -> None:
    """By the capabilities, and by a warning on each request that needs one."""
    folder = str(folders.model(tmp_path / "m"))
    plain = await started({"m": {"path": folder}}, schemas="described")
    held = await started({"m": {"path": folder}}, schemas="enforced")
    asked = request(response_format={"type": "object"}, tools=[TOOL], tool_choice="required")

    plain.dialect.encode(asked)

    assert {(warning.code, warning.parameter) for warning in asked.warnings} == {
        ("dropped", "tool_choice"),
        ("emulated", "response_format"),
    }
    assert plain.facts("m").lacks("json_schema")
    assert not held.facts("m").lacks("json_schema")


@pytest.mark.parametrize(
    ("template", "switch"), [("{{ messages }}", False), ("{% if enable_thinking %}<think>{% endif %}", True)]
)
async def test_thinking_is_asked_for_where_the_template_has_a_switch(
    tmp_path: Path, template: str, switch: bool
) -> None:
    """Elsewhere it is dropped with a warning."""
    folder = str(folders.model(tmp_path / "m"))
    provider = await started({"m": {"path": folder, "chat_template": template}})
    asked = request(thinking="medium")

    body = provider.dialect.encode(asked).body

    assert (b"enable_thinking" in body) is switch
    assert bool(asked.warnings) is not switch
    assert provider.facts("m").lacks("thinking") is not switch


async def test_a_model_that_needs_other_libraries_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its health, and when it is to be loaded; no process is started for it."""
    provider = await started({"m": {"path": str(folders.model(tmp_path / "m"))}})
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)

    report = await provider.health_check()

    assert not report.healthy
    assert "torch and transformers and jinja2" in report.detail
    with pytest.raises(ModelLoadError, match=r"core-llm\[transformers\]"):
        await provider.load_model("m")


async def test_a_model_that_is_not_in_the_cache_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched unless that is allowed."""
    monkeypatch.setattr(local_model, "_PACKAGES", ())
    provider = await started({"m": "owner/name"}, cache_dir=str(tmp_path))

    with pytest.raises(ModelLoadError, match=r"`hf download owner/name`, or set `allow_download: true`"):
        await provider.load_model("m")


async def test_S38_code_of_a_model_is_not_run_unless_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen before any of it is imported."""
    monkeypatch.setattr(local_model, "_PACKAGES", ())
    folder = folders.model(tmp_path / "m", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    provider = await started({"m": {"path": str(folder)}})

    with pytest.raises(ModelLoadError, match="trust_remote_code"):
        await provider.load_model("m")


async def test_S48_a_worker_is_offline_and_gets_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that may download gets what it needs for that."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    provider = await started({"m": "owner/name", "n": {"hub_id": "owner/name", "allow_download": True}})
    envs = {name: model._worker.spec.environment(str(tmp_path)) for name, model in provider._models.items()}

    assert (envs["m"]["HF_HUB_OFFLINE"], envs["m"].get("HF_TOKEN")) == ("1", None)
    assert (envs["n"]["HF_HUB_OFFLINE"], envs["n"].get("HF_TOKEN")) == ("0", "hf_secret")


async def test_ML19_what_decides_the_load_decides_the_identity(tmp_path: Path) -> None:
    """And nothing else; the size is known before it is loaded."""
    folder = str(folders.model(tmp_path / "m"))
    one = await started({"m": {"path": folder}, "n": {"path": folder}})
    again = await started({"m": {"path": folder, "defaults": {"temperature": 0.1}}})
    other = await started({"m": {"path": folder, "dtype": "float32", "device": "cuda"}})

    placement = one.placement("m")

    assert placement.identity == again.placement("m").identity
    assert placement.identity not in {other.placement("m").identity, one.placement("n").identity}
    assert placement.owned
    assert other.placement("m").device == "cuda:0"
    assert other.placement("m").size_bytes - placement.size_bytes == 32 * 2


async def test_a_model_that_is_not_configured_is_not_found() -> None:
    """The names that are stand in the message."""
    provider = await started({"m": "./nowhere"})

    with pytest.raises(ProviderError, match="configured are m") as caught:
        await provider.model_status("other")
    assert caught.value.type == "model_not_found"


def test_the_provider_is_known_without_being_imported() -> None:
    """Its libraries are imported in its workers only."""
    spec = builtin_spec("transformers")

    assert spec is not None
    assert (spec.extra, spec.local) == ("transformers", True)
