"""Let an alias mean another model while calls run: with real workers, and with a model that cannot be loaded."""

import asyncio
from pathlib import Path

import pytest

from core.llm.common.exceptions import ModelLoadError, NoCapacity, UnknownModel
from tests.residency.service import Served, eventually, llama

pytestmark = pytest.mark.leakcheck


def broken(config: dict, tmp_path: Path) -> dict:
    """*config* with a model whose file is no model."""
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 64)
    config["providers"]["local"]["models"]["broken"] = {"path": str(file)}
    return config


class Streams:
    """Streams that go on while something happens."""

    def __init__(self, served: Served, number: int, *, tokens: int = 60) -> None:
        self.models: list[str] = []
        self.errors: list[BaseException] = []
        self._tasks = [asyncio.ensure_future(self._one(served, tokens)) for _ in range(number)]
        self.begun = 0

    async def _one(self, served: Served, tokens: int) -> None:
        try:
            async with served.llm.stream("Tell me about models.", model="fast", max_tokens=tokens) as stream:
                self.begun += 1
                text = "".join([event.text async for event in stream])
                answer = await stream.response()
                assert text == answer.content
                self.models.append(answer.model)
        except Exception as error:
            self.errors.append(error)

    async def all(self) -> None:
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("mode", ["overlap", "replace", "auto"])
async def test_ML14_fifty_streams_during_a_swap_F144(mode):
    """None breaks, each model is loaded once, and calls after it go to the new one."""
    async with Served(llama("old", "new")) as served:
        streams = Streams(served, 50)
        await eventually(lambda: streams.begun >= 10)
        status = await served.llm.swap_model("fast", "local/new", mode=mode)
        assert status.state in {"ready", "in_use"}
        assert (await served.llm.generate("hi", model="fast", max_tokens=2)).model == "new"
        await streams.all()
        assert streams.errors == []
        assert len(streams.models) == 50
        assert served.loads("local/old") + served.loads("local/new") <= 3
        await eventually(lambda: served.ready() == {"local/new"})
        await eventually(lambda: served.leases() == 0)


async def test_ML14_without_room_for_both_the_old_one_goes_first():
    """Calls wait; two are never in memory at once."""
    async with Served(llama("old", "new", max_loaded=1)) as served:
        await served.llm.generate("hi", model="fast", max_tokens=2)
        with pytest.raises(NoCapacity, match="mode='replace'"):
            await served.llm.swap_model("fast", "local/new", mode="overlap")
        swap = asyncio.ensure_future(served.llm.swap_model("fast", "local/new"))
        answers = await asyncio.gather(*[served.llm.generate("hi", model="fast", max_tokens=2) for _ in range(10)])
        await swap
        assert {answer.model for answer in answers} <= {"old", "new"}
        assert served.ready() == {"local/new"}


@pytest.mark.parametrize("mode", ["overlap", "replace"])
async def test_ML14_a_swap_that_fails_changes_nothing_F144(mode, tmp_path):
    """The old model goes on, no call sees an error, and the reason is told to whoever asked for the swap."""
    async with Served(broken(llama("old"), tmp_path)) as served:
        streams = Streams(served, 20)
        await eventually(lambda: streams.begun >= 5)
        with pytest.raises(ModelLoadError, match="broken"):
            await served.llm.swap_model("fast", "local/broken", mode=mode)
        answers = await asyncio.gather(*[served.llm.generate("hi", model="fast", max_tokens=2) for _ in range(10)])
        await streams.all()
        assert streams.errors == []
        assert {answer.model for answer in answers} == {"old"}
        assert served.llm.explain("hi", model="fast").first == ("local", "old")
        assert served.ready() == {"local/old"}


async def test_ML14_calls_that_came_during_a_replacement_that_fails_go_back_to_the_old_one_F144(tmp_path):
    """They waited for the new one."""
    async with Served(broken(llama("old"), tmp_path)) as served:
        first = Streams(served, 1, tokens=300)
        await eventually(lambda: first.begun == 1)
        swap = asyncio.ensure_future(served.llm.swap_model("fast", "local/broken", mode="replace"))
        await asyncio.sleep(0)
        calls = [asyncio.ensure_future(served.llm.generate("hi", model="fast", max_tokens=2)) for _ in range(10)]
        answers = await asyncio.gather(*calls)
        with pytest.raises(ModelLoadError):
            await swap
        await first.all()
        assert first.errors == []
        assert {answer.model for answer in answers} == {"old"}


async def test_ML14_a_model_that_loads_and_does_not_answer_is_not_swapped_in_F144(monkeypatch):
    """Its warm-up is one token, before any call goes to it."""
    from core.llm.model_swap import ModelSwap

    async def mute(*_: object) -> None:
        raise ModelLoadError("it was loaded and does not answer")

    monkeypatch.setattr(ModelSwap, "_warm_up", mute)
    async with Served(llama("old", "new")) as served:
        await served.llm.generate("hi", model="fast", max_tokens=2)
        for mode in ("overlap", "replace"):
            with pytest.raises(ModelLoadError, match="does not answer"):
                await served.llm.swap_model("fast", "local/new", mode=mode)
            assert (await served.llm.generate("hi", model="fast", max_tokens=2)).model == "old"
            await eventually(lambda: served.ready() == {"local/old"})


async def test_a_swap_that_is_cancelled_changes_nothing():
    """Whoever waits for a long load may give up."""
    async with Served(llama("old", "new")) as served:
        await served.llm.generate("hi", model="fast", max_tokens=2)
        for mode in ("overlap", "replace"):
            swap = asyncio.ensure_future(served.llm.swap_model("fast", "local/new", mode=mode))
            await eventually(
                lambda: any(one.model == "local/new" and one.state == "loading" for one in served.models.list())
            )
            swap.cancel()
            await asyncio.wait([swap])
            assert (await served.llm.generate("hi", model="fast", max_tokens=2)).model == "old"
            await eventually(lambda: "local/new" not in served.ready())


async def test_a_swap_to_a_hosted_model_needs_no_load(tmp_path):
    """And the old one leaves memory."""
    from core.llm.testing import SCRIPTED

    config = llama("old")
    config["providers"]["far"] = {"type": "scripted", "models": ["m"]}
    async with Served(config, plugins=[SCRIPTED]) as served:
        await served.llm.generate("hi", model="fast", max_tokens=2)
        await served.llm.swap_model("fast", "far/m")
        assert (await served.llm.generate("hi", model="fast")).provider == "far"
        await eventually(lambda: served.ready() == set())


async def test_a_model_that_another_alias_uses_stays():
    """Only the alias that was swapped has left it."""
    config = llama("old", "new")
    config["models"]["other"] = "local/old"
    async with Served(config) as served:
        await served.llm.generate("hi", model="fast", max_tokens=2)
        await served.llm.swap_model("fast", "local/new")
        await served.llm.generate("hi", model="other", max_tokens=2)
        assert served.ready() == {"local/old", "local/new"}
        assert served.loads("local/old") == 1


async def test_only_an_alias_can_be_swapped():
    """A model is what it is."""
    async with Served(llama("old", "new")) as served:
        with pytest.raises(UnknownModel, match="no alias"):
            await served.llm.swap_model("local/old", "local/new")
        with pytest.raises(UnknownModel, match="nothing is called"):
            await served.llm.swap_model("fast", "nobody")


async def test_an_alias_can_leave_a_provider_that_is_off():
    """There is nothing to let go of there, and it is the very moment to mean something else."""
    config = llama("new")
    config["providers"]["openai"] = {"api_key": ""}
    config["models"]["fast"] = "openai/m"
    async with Served(config) as served:
        await served.llm.swap_model("fast", "local/new")
        assert (await served.llm.generate("hi", model="fast", max_tokens=2)).model == "new"
