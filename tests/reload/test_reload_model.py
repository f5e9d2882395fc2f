"""Any order of edits, good and bad, while calls run: beside it a model in plain words of what must be in force."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.container import Container
from core.llm import LLMResponse, LLMService, ProviderConfigManager, ProviderError, ProviderModule
from core.llm.pipeline.upstream import Upstream
from core.llm.runtime import swap
from core.llm.runtime.swap import MAX_LIVE, RuntimeHolder
from core.llm.testing import FakeClock, Gate, Script
from tests.reload.stamped import STAMPED, Stamped

NAMES = ("alpha", "beta", "gamma", "delta")
Settings = dict[str, Any]

BROKEN: dict[str, Callable[[Settings], Any]] = {
    "an unknown key": lambda config: config.update(retri={}),
    "an alias of nothing": lambda config: config["models"].update(other="nobody/m"),
    "a wrong type": lambda config: config.update(providers=[]),
    "an impossible number": lambda config: config.update(retry={"max_retries": -1}),
    "cannot be made": lambda config: config["providers"].update(broken={"type": "stamped", "breaks": "made"}),
    "cannot be started": lambda config: config["providers"].update(broken={"type": "stamped", "breaks": "start"}),
    "one is changed and the next cannot be started": lambda config: config["providers"].update(
        alpha={"type": "stamped", "revision": 99_999}, zeta={"type": "stamped", "breaks": "start"}
    ),
}


@dataclass
class Running:
    """A call under way: what it began with, and how to let it end."""

    task: asyncio.Task[LLMResponse]
    gate: Gate
    generation: int
    provider: str
    revision: int


class ReloadMachine(RuleBasedStateMachine):
    """The configuration in force is the last valid one, what did not change stays, and calls end on what they had."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.patience, swap.ROOM_PATIENCE = swap.ROOM_PATIENCE, 0.0  # a reload cuts at once instead of waiting
        Stamped.made.clear()
        self.scripts = {f"reload-{name}": Script.named(f"reload-{name}") for name in NAMES}
        for script in self.scripts.values():
            script.__init__(name=script.name)  # type: ignore[misc]  # as new, under the name it is held by
        self.stack = AsyncExitStack()
        self.clock = FakeClock()
        self.revision = 0
        self.generation = 1
        self.calls: list[Running] = []
        self.objects: dict[str, Stamped] = {}
        self.upstreams: dict[str, Upstream] = {}

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 10))

    def rest(self) -> None:
        """Let everything that does not wait for anybody come to its end."""

        async def turns() -> None:
            for _ in range(100):
                await asyncio.sleep(0)

        self.run(turns())

    @initialize(names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))
    def begin(self, names: set[str]) -> None:
        """A service on some of the providers."""
        self.config: Settings = {
            "default_model": "main",
            "models": {"main": f"{min(names)}/m"},
            "providers": {name: self.provider(name) for name in sorted(names)},
            "health_check": {"enabled": False},
            "cache": {"enabled": False},
        }
        module = ProviderModule(
            {"llm_service": self.config},
            watch=False, env={}, plugins=[STAMPED], clock=self.clock, rng=random.Random(0),
        )  # fmt: skip
        container = self.run(self.stack.enter_async_context(Container([module])))
        self.llm = container.get(LLMService)
        self.manager = container.get(ProviderConfigManager)
        self.holder = container.get(RuntimeHolder)
        self.note_objects(set())

    def provider(self, name: str) -> Settings:
        self.revision += 1
        return {"type": "stamped", "script": f"reload-{name}", "models": ["m"], "revision": self.revision}

    def copy(self) -> Settings:
        models = dict(self.config["models"])
        providers = {name: dict(one) for name, one in self.config["providers"].items()}
        return {**self.config, "models": models, "providers": providers}

    def note_objects(self, kept: set[str]) -> None:
        """Those of *kept* must be the objects they were; the others are new, and so is what is counted of a new name."""
        runtime = self.holder.current
        for name in self.config["providers"]:
            provider, upstream = runtime.providers[name], runtime.state.upstream(name)
            assert isinstance(provider, Stamped)
            assert (self.objects.get(name) is provider) == (name in kept), name
            if name in self.upstreams:
                assert self.upstreams[name] is upstream, f"what was counted of {name} is forgotten"
            self.objects[name], self.upstreams[name] = provider, upstream
        for name in self.objects.keys() - self.config["providers"].keys():
            del self.objects[name], self.upstreams[name]

    def edit(self, new: Settings) -> None:
        """Put *new*, which is valid, in force."""
        old = self.config
        result = self.run(self.manager.replace({"llm_service": new}))
        if new == old:
            assert result.status == "unchanged"
            return
        assert result.status == "applied", result.errors
        kept = {name for name, one in new["providers"].items() if old["providers"].get(name) == one}
        self.config = new
        self.generation += 1
        self.note_objects(kept)
        draining = sorted({call.generation for call in self.calls if call.generation != self.generation})
        for generation in draining[: max(0, len(draining) - (MAX_LIVE - 1))]:
            self.cut(generation)
        self.rest()

    def cut(self, generation: int) -> None:
        """The oldest one had to go: its calls end with an error that says so."""
        for call in [one for one in self.calls if one.generation == generation]:
            self.calls.remove(call)
            (error,) = self.run(_gathered([call.task]))
            assert isinstance(error, ProviderError), error
            assert error.code == "drained"

    def target(self, model: str) -> str:
        return str(self.config["models"][model]).partition("/")[0]

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """A provider is changed."""
        name = data.draw(st.sampled_from(sorted(self.config["providers"])))
        new = self.copy()
        new["providers"][name] = self.provider(name)
        self.edit(new)

    @rule(data=st.data(), limit=st.integers(50, 52), keys=st.integers(0, 2))
    def change_limits_and_keys(self, data: st.DataObject, limit: int, keys: int) -> None:
        """Its limits and its keys are; the same ones again are no change."""
        name = data.draw(st.sampled_from(sorted(self.config["providers"])))
        new = self.copy()
        new["providers"][name]["rate_limits"] = {"max_concurrency": limit}
        if keys:
            new["providers"][name]["api_keys"] = [f"key-{number}-of-{name}" for number in range(keys)]
        self.edit(new)

    @rule(data=st.data(), alias=st.sampled_from(["main", "other"]))
    def mean_another(self, data: st.DataObject, alias: str) -> None:
        """An alias means another provider, or is a new one."""
        new = self.copy()
        new["models"][alias] = data.draw(st.sampled_from(sorted(new["providers"]))) + "/m"
        self.edit(new)

    @rule(name=st.sampled_from(NAMES))
    def add_or_remove(self, name: str) -> None:
        """One that is there goes away, and whatever meant it means another; one that is not there comes (back)."""
        new = self.copy()
        if name not in new["providers"]:
            new["providers"][name] = self.provider(name)
        elif len(new["providers"]) > 1:
            del new["providers"][name]
            somebody = min(new["providers"])
            new["models"] = {
                alias: f"{somebody}/m" if use == f"{name}/m" else use for alias, use in new["models"].items()
            }
        self.edit(new)

    @rule(name=st.sampled_from(NAMES), data=st.data())
    def rename(self, name: str, data: st.DataObject) -> None:
        """The same settings under another name: to everybody else that is one that goes and one that comes."""
        old = data.draw(st.sampled_from(sorted(self.config["providers"])))
        if name in self.config["providers"]:
            return
        new = self.copy()
        new["providers"][name] = new["providers"].pop(old)
        new["models"] = {alias: f"{name}/m" if use == f"{old}/m" else use for alias, use in new["models"].items()}
        self.edit(new)

    @rule(how=st.sampled_from(sorted(BROKEN)))
    def break_it(self, how: str) -> None:
        """A broken edit is refused as a whole, and says why."""
        new = self.copy()
        BROKEN[how](new)
        result = self.run(self.manager.replace({"llm_service": new}))
        assert result.status == "rejected"
        assert result.errors

    @rule()
    def orphan(self) -> None:
        """To take away what an alias means is a broken edit too."""
        new = self.copy()
        del new["providers"][self.target("main")]
        assert self.run(self.manager.replace({"llm_service": new})).status == "rejected"

    @rule(data=st.data())
    def two_edits_at_once(self, data: st.DataObject) -> None:
        """They are applied one after the other."""
        name = data.draw(st.sampled_from(sorted(self.config["providers"])))
        first = self.copy()
        first["providers"][name] = self.provider(name)

        async def both() -> Any:
            broken = self.manager.replace({"llm_service": {**first, "providers": []}})
            return await asyncio.gather(broken, self.manager.replace({"llm_service": self.config}))

        refused, unchanged = self.run(both())
        assert (refused.status, unchanged.status) == ("rejected", "unchanged")

    @precondition(lambda self: len(self.calls) < 6)
    @rule(data=st.data(), stream=st.booleans())
    def call(self, data: st.DataObject, stream: bool) -> None:
        """One begins, and waits in the middle of its answer."""
        alias = data.draw(st.sampled_from(sorted(self.config["models"])))
        name = self.target(alias)
        gate = Gate()
        self.scripts[self.config["providers"][name]["script"]].will_stream("one", gate, "two")

        async def begin() -> asyncio.Task[LLMResponse]:
            task = asyncio.create_task(_read(self.llm, alias, stream))
            await gate.reached()
            return task

        task = self.run(begin())
        revision = self.config["providers"][name]["revision"]
        self.calls.append(Running(task, gate, self.generation, name, revision))

    @precondition(lambda self: self.calls)
    @rule(place=st.integers(0, 5), leave=st.booleans())
    def end(self, place: int, leave: bool) -> None:
        """One ends, answered by what it began with, or cancelled."""
        call = self.calls.pop(place % len(self.calls))
        if leave:
            call.task.cancel()
        else:
            call.gate.open()
        (result,) = self.run(_gathered([call.task]))
        self.rest()
        if leave:
            assert isinstance(result, asyncio.CancelledError)
            return
        assert isinstance(result, LLMResponse), result
        assert result.content == f"one@{call.revision} two@{call.revision} "
        assert (result.provider, result.trace.generation) == (call.provider, call.generation)

    @rule(seconds=st.floats(0.0, 30.0))
    def time_passes(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))

    @invariant()
    def the_last_valid_one_is_in_force(self) -> None:
        """Whole: its names, its aliases, its revisions."""
        runtime, current = self.holder.current, self.manager.current
        assert runtime.config == current
        assert runtime.generation == self.manager.generation == self.generation
        assert set(runtime.providers) == set(self.config["providers"])
        assert {alias: one.use[0].model for alias, one in current.models.items()} == self.config["models"]
        for name, one in self.config["providers"].items():
            limits = current.providers[name].rate_limits
            assert self.objects[name].config.revision == one["revision"]
            assert limits.max_concurrency == one.get("rate_limits", {}).get("max_concurrency")
            assert len(current.providers[name].secrets) == len(one.get("api_keys", ()))

    @invariant()
    def nothing_is_kept_that_nobody_uses(self) -> None:
        """Generations live while they are current or have calls, four at most; their providers are open, others not."""
        used = {self.generation, *(call.generation for call in self.calls)}
        assert {runtime.generation for runtime in self.holder.live} == used
        assert len(used) <= MAX_LIVE
        assert sum(runtime.leases for runtime in self.holder.live) == len(self.calls)
        open_ones = {id(one) for runtime in self.holder.live for one in runtime.providers.values()}
        for provider in Stamped.made:
            assert provider.closed == (id(provider) not in open_ones), (provider.name, provider.config.revision)

    def teardown(self) -> None:
        for call in self.calls:
            call.task.cancel()
        self.run(_gathered([call.task for call in self.calls]))
        self.run(self.stack.aclose())
        self.rest()
        left = [task.get_name() for task in asyncio.all_tasks(self.loop)]
        self.loop.close()
        swap.ROOM_PATIENCE = self.patience
        assert left == []
        assert not hasattr(self, "holder") or self.holder.live == ()
        assert all(provider.closed == 1 for provider in Stamped.made)
        assert all(script.active == 0 for script in self.scripts.values())
        assert self.clock.pending == 0


async def _read(llm: LLMService, model: str, stream: bool) -> LLMResponse:
    if not stream:
        return await llm.generate("go", model=model)
    async with llm.stream("go", model=model) as events:
        async for _ in events:
            pass
        return await events.response()


async def _gathered(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


ReloadMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.hypothesis
class TestHR(ReloadMachine.TestCase):  # type: ignore[name-defined,misc]  # a class that hypothesis makes
    """HR-01 to HR-09 for any sequence of edits and calls."""

    def test_hr_01_hr_02_hr_05_hr_06_hr_09_any_sequence(self) -> None:
        """Editing, breaking, renaming, removing and restoring in any order, while calls begin and end."""
        self.runTest()
