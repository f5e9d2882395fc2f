"""A provider of local models with a mistake in it: its callers hear of a failed load, and the books are kept."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.llm.common.exceptions import ModelLoadError
from tests.unit.residency.support import House


def broken(calls: list[str]) -> Callable[[str], Awaitable[Any]]:
    """A method that raises what nobody has promised, with a secret in it."""

    async def method(model: str) -> Any:
        calls.append(model)
        raise KeyError("sk-secret")

    return method


async def test_a_server_that_cannot_be_asked_before_the_load() -> None:
    """Nobody waits for ever, and the next call is told at once."""
    house = House(owned=False, options={"max_loaded": 3})
    house.host.model_status = broken([])  # type: ignore[method-assign]  # the mistake
    call = house.begin("a")
    await house.after(1.0)

    assert call.done()
    assert "its provider raised KeyError" in str(call.exception())
    assert "sk-secret" not in str(call.exception())
    assert house["a"].phase == "absent"
    with pytest.raises(ModelLoadError, match="KeyError"):
        await house.keeper.acquire(house["a"])


async def test_a_model_that_does_not_answer_and_cannot_be_unloaded_either() -> None:
    """What is wrong with the model is what its callers hear."""
    house = House()

    async def silent() -> None:
        raise ModelLoadError("does not answer")

    house["a"].warm_up = silent
    house.host.unload_model = broken([])  # type: ignore[method-assign]  # the mistake
    call = house.begin("a")
    await house.after(house.host.load_seconds)

    assert "does not answer" in str(call.exception())
    assert house["a"].phase == "absent"


async def test_a_server_that_cannot_be_asked_is_asked_again() -> None:
    """One answer that fails does not end the look at what servers hold."""
    house = House(owned=False, options={"reconcile_interval": "5s"})
    await house.loaded("a")
    asked: list[str] = []
    answer, house.host.model_status = house.host.model_status, broken(asked)  # type: ignore[method-assign]  # the fault
    await house.after(5.0)
    assert asked == ["a"]

    house.host.model_status = answer  # type: ignore[method-assign]  # it is over
    house.host.memory.clear()
    await house.after(10.0)
    assert house["a"].phase == "absent"
