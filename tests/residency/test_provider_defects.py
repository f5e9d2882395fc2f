"""A third party's model host with a mistake in it: whoever asks for a model gets an error that is one of ours."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.llm import ModelManager, ProviderError
from core.llm.testing import SCRIPTED_HOST
from core.llm.testing.provider import ScriptedModelHost
from tests.residency.service import Served

pytestmark = pytest.mark.leakcheck
SECRET = "sk-in-a-foreign-text"


async def broken(*_: Any, **__: Any) -> Any:
    """What no method of a provider may do."""
    raise KeyError(SECRET)


def served() -> Served:
    """A service over one host, whose server decides about memory."""
    config = {
        "default_model": "host/a",
        "providers": {"host": {"type": "scripted_host", "models": ["a", "b"]}},
        "models": {"fast": "host/a"},
        "health_check": {"enabled": False},
    }
    return Served(config, plugins=[SCRIPTED_HOST])


ORDERS: dict[str, Callable[[ModelManager], Awaitable[Any]]] = {
    "load_model": lambda models: models.load("host/a"),
    "unload_model": lambda models: models.unload("host/a"),
    "model_status": lambda models: models.status("host/a"),
    "pull_model": lambda models: models.pull("host/a"),
    "list_models": lambda models: models.ensure_model_available("host/a"),
}


@pytest.mark.parametrize("method", ORDERS)
async def test_a_foreign_error_is_told_by_its_type_alone(monkeypatch, method):
    """Its text may hold anything, and nobody catches `KeyError` around a load."""
    monkeypatch.setattr(ScriptedModelHost, method, broken)
    async with served() as host:
        with pytest.raises(ProviderError, match="raised KeyError, which is a defect of the provider") as caught:
            await ORDERS[method](host.models)
    assert caught.value.code == "provider_defect"
    assert (caught.value.provider, caught.value.model) == ("host", "a")
    assert SECRET not in repr(caught.value)
    assert caught.value.__context__ is None


async def test_a_swap_to_a_model_that_cannot_be_loaded_changes_nothing(monkeypatch):
    """The alias means what it meant."""
    monkeypatch.setattr(ScriptedModelHost, "load_model", broken)
    async with served() as host:
        with pytest.raises(ProviderError, match="KeyError"):
            await host.llm.swap_model("fast", "host/b", mode="replace")
        assert (await host.llm.generate("hi", model="fast")).model == "a"
