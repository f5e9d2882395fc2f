"""A directory of one's own in the custom provider: run by Transformers, behind the checks that custom adds."""

import hashlib

import pytest

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.provider import CustomProvider
from core.llm.testing.services import provider_services
from tests.transformers.conftest import chat
from tests.transformers.tiny import ANSWERS


def custom(folder, **entry):
    """A custom provider over the small model."""
    models = {"tiny": {"model_path": str(folder), "device": "cpu", **entry}}
    return CustomProvider(CustomConfig(models=models, model_roots=[str(folder.parent)]), provider_services("local"))


async def test_a_directory_is_run_by_transformers(model_folder):
    """With digests of its files and a licence that passes."""
    digest = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    provider = custom(
        model_folder, sha256={"model.safetensors": digest}, licence_check="tests.workers.own_engines:passes"
    )
    await provider.start()
    try:
        assert (await provider.generate(chat("Say hello"))).content == ANSWERS["Say hello"]
        assert await provider.count_tokens(chat("Say hello")) > 3
        status = await provider.model_status("tiny")
        assert (status.state, bool(status.pid)) == ("ready", True)
        assert (await provider.unload_model("tiny")).state == "unloaded"
    finally:
        await provider.close()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"sha256": {"model.safetensors": "0" * 64}}, "does not have the configured sha256"),
        ({"licence_check": "tests.workers.own_engines:refuses"}, "no licence for tiny"),
    ],
)
async def test_what_custom_adds_stands_before_its_load(model_folder, entry, reason):
    """No process has been started."""
    provider = custom(model_folder, **entry)
    await provider.start()
    try:
        with pytest.raises(ModelLoadError, match=reason):
            await provider.load_model("tiny")
        assert (await provider.model_status("tiny")).pid is None
    finally:
        await provider.close()
