"""The checks of the model host contract notice what they are for: hosts with one mistake each fail them."""

from collections.abc import Callable, Iterator

import pytest

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.base.provider import ModelStatus, Progress
from core.llm.testing.model_host_case import PROMPT
from tests.model_hosts import test_scripted
from tests.model_hosts.scripted_host import MACHINES, MachineHost
from tests.model_hosts.test_scripted import MachineBench

RIGHT = {name: vars(MachineHost)[name] for name in ("load_model", "list_models")}


async def keeps_what_it_unloads(self, model):
    return ModelStatus(model, "unloaded")


async def forgets_to_load(self, model, progress=None):
    return ModelStatus(model, "ready")


async def loads_twice(self, model, progress=None):
    self.machine.loads.append(model)
    return await RIGHT["load_model"](self, model, progress)


async def raises_what_is_not_ours(self, model, progress=None):
    if model == "broken":
        raise RuntimeError("boom")
    return await RIGHT["load_model"](self, model, progress)


async def counts_backwards(self, model, progress=None):
    if progress is not None:
        progress(Progress("reading", 2, 3))
        progress(Progress("reading", 1, 3))
    return await RIGHT["load_model"](self, model, progress)


async def says_nothing(self, model, progress=None):
    return await RIGHT["load_model"](self, model, None)


async def tells_prompts(self, model, progress=None):
    if model == "broken":
        raise ModelLoadError(f"cannot be loaded for {PROMPT!r}", model=model)
    return await RIGHT["load_model"](self, model, progress)


async def lists_everything_as_loaded(self):
    self.machine.loaded |= set("abc")
    return await RIGHT["list_models"](self)


def tells_nothing(self, model, kind, state):
    pass


BUGS: list[tuple[str, Callable, str]] = [
    ("unload_model", keeps_what_it_unloads, "test_an_unload_takes_a_model_out"),
    ("unload_model", keeps_what_it_unloads, "test_max_loaded_holds_in_a_crowd"),
    ("unload_model", keeps_what_it_unloads, "test_an_idle_model_goes"),
    ("load_model", forgets_to_load, "test_a_load_brings_a_model_into_memory"),
    ("load_model", loads_twice, "test_fifty_first_calls_are_one_load"),
    ("load_model", loads_twice, "test_a_second_load_costs_nothing"),
    ("load_model", counts_backwards, "test_progress_begins_and_ends"),
    ("load_model", says_nothing, "test_progress_begins_and_ends"),
    ("load_model", tells_prompts, "test_nothing_that_is_told_holds_a_secret"),
    ("list_models", lists_everything_as_loaded, "test_the_provider_lists_what_is_in_memory"),
    ("_tell", tells_nothing, "test_events_tell_a_life_in_order"),
]


@pytest.fixture
def bench() -> Iterator[MachineBench]:
    bench = MachineBench()
    bench.patience = 1.5
    yield bench
    MACHINES.clear()


@pytest.mark.parametrize(
    ("method", "wrong", "check"), BUGS, ids=[f"{wrong.__name__}-{check}" for _, wrong, check in BUGS]
)
async def test_a_mistake_is_noticed(bench, monkeypatch, method, wrong, check):
    """And the check says what to do."""
    monkeypatch.setattr(MachineHost, method, wrong)
    with pytest.raises(AssertionError) as caught:
        await getattr(test_scripted.TestScripted(), check)(bench)
    assert len(str(caught.value)) > 20


async def test_a_foreign_error_becomes_a_typed_one(bench, monkeypatch):
    """What a host raises that is not ours does not reach a caller as it is."""
    monkeypatch.setattr(MachineHost, "load_model", raises_what_is_not_ours)
    await test_scripted.TestScripted().test_a_call_of_a_model_that_cannot_be_loaded_fails_typed(bench)
