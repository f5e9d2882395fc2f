"""Rules about letting an alias mean another model while calls run."""

import asyncio
from collections.abc import Callable

from core.llm.common.types import SwapMode
from core.llm.testing.contract_case import require
from core.llm.testing.model_host_case import HOST, PROMPT, Hosted, ModelHostBench, refusal
from core.llm.testing.model_host_room import RoomChecks


async def answered_by(hosted: Hosted) -> str:
    """The model that answers a call of the alias."""
    return (await hosted.llm.generate(PROMPT, model="first", **hosted.bench.answer)).model.removesuffix(":latest")


class SwapChecks(RoomChecks):
    """No call fails for a swap, whichever way it ends."""

    async def test_a_swap_beside_the_old_model(self, bench: ModelHostBench) -> None:
        """overlap: both are there for a while, then the old one goes."""
        async with self.serve(bench) as hosted:
            require(await answered_by(hosted) == "a", "the alias does not mean 'a' at first")
            await hosted.llm.swap_model("first", f"{HOST}/b", mode="overlap")
            require(await answered_by(hosted) == "b", "after the swap the alias does not mean 'b'")
            await hosted.until(lambda: bench.in_memory() == {"b"}, "the old model stays in memory after a swap")

    async def test_a_swap_in_place_of_the_old_model(self, bench: ModelHostBench) -> None:
        """replace: with one place, two are never there at once."""
        async with self.serve(bench, max_loaded=1) as hosted:
            await answered_by(hosted)
            swap = asyncio.ensure_future(hosted.llm.swap_model("first", f"{HOST}/b", mode="replace"))
            most = 0
            while not swap.done():
                most = max(most, len(bench.in_memory()))
                await asyncio.sleep(0.005)
            await swap
            require(most <= 1, f"{most} models were in memory during a swap with one place")
            require(await answered_by(hosted) == "b", "after the swap the alias does not mean 'b'")

    async def test_a_swap_to_a_model_that_cannot_be_loaded_changes_nothing(self, bench: ModelHostBench) -> None:
        """overlap: the old one goes on, and whoever asked hears why."""
        await self._failed_swap(bench, "overlap")

    async def test_a_replacement_that_cannot_be_loaded_brings_the_old_one_back(self, bench: ModelHostBench) -> None:
        """replace: calls that came meanwhile are answered by it."""
        await self._failed_swap(bench, "replace")

    async def _failed_swap(self, bench: ModelHostBench, mode: SwapMode) -> None:
        async with self.serve(bench) as hosted:
            await answered_by(hosted)
            swap = asyncio.ensure_future(hosted.llm.swap_model("first", f"{HOST}/broken", mode=mode))
            calls = [asyncio.ensure_future(answered_by(hosted)) for _ in range(8)]
            await refusal(swap, f"a swap by {mode} to a model that cannot be loaded")
            require(
                set(await asyncio.gather(*calls)) == {"a"}, "a call during a swap that failed was not answered by 'a'"
            )
            require(await answered_by(hosted) == "a", "after a swap that failed the alias does not mean 'a'")
            require(hosted.ready() == {"a"}, f"after a swap that failed {hosted.ready()} are ready")

    async def test_streams_end_on_the_model_on_which_they_began(self, bench: ModelHostBench) -> None:
        """A swap waits for them; calls after it go to the new model."""
        release = bench.hold(4)
        try:
            async with self.serve(bench) as hosted:
                begun: list[object] = []
                streams = [asyncio.ensure_future(_whole(hosted, begun.append)) for _ in range(4)]
                await hosted.until(lambda: len(begun) == 4, "four streams of one model do not begin")
                await hosted.llm.swap_model("first", f"{HOST}/b", mode="overlap")
                require(await answered_by(hosted) == "b", "after the swap the alias does not mean 'b'")
                require("a" in bench.in_memory(), "the old model has gone while streams use it")
                release()
                models = await asyncio.gather(*streams)
                require(set(models) == {"a"}, f"streams that began on 'a' were answered by {set(models)}")
                await hosted.until(lambda: bench.in_memory() == {"b"}, "the old model stays after its last stream")
        finally:
            release()

    async def test_a_crowd_of_streams_during_a_swap(self, bench: ModelHostBench) -> None:
        """None breaks, and each model is loaded at most once more than needed."""
        async with self.serve(bench) as hosted:
            begun: list[object] = []
            streams = [asyncio.ensure_future(_whole(hosted, begun.append)) for _ in range(50)]
            await hosted.until(lambda: bool(begun), "no stream begins")
            await hosted.llm.swap_model("first", f"{HOST}/b")
            models = await asyncio.gather(*streams)
            require(set(models) <= {"a", "b"}, f"the streams were answered by {set(models)}")
            require(len(bench.loads()) <= 3, f"a swap during fifty streams were the loads {list(bench.loads())}")


async def _whole(hosted: Hosted, begun: Callable[[object], None]) -> str:
    """Read a stream of the alias to its end; the model that answered it."""
    async with hosted.llm.stream(PROMPT, model="first", max_tokens=16) as stream:
        begun(await anext(stream))
        async for _ in stream:
            pass
        return (await stream.response()).model.removesuffix(":latest")
