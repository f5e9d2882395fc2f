"""Rules about many callers of one host: shared loads, leases, those who give up."""

import asyncio

from core.llm.common.exceptions import LLMError, ModelNotReady, ModelQueueFull, NoCapacity
from core.llm.testing.contract_case import require
from core.llm.testing.model_host_case import HOST, PROMPT, ModelHostBench
from core.llm.testing.model_host_life import LifeChecks

_CROWD = 50


class SharingChecks(LifeChecks):
    """One load for all, and no caller disturbs another."""

    async def test_fifty_first_calls_are_one_load(self, bench: ModelHostBench) -> None:
        """All are answered."""
        bench.slow(0.2)
        async with self.serve(bench) as hosted:
            answers = await asyncio.gather(*[hosted.ask("a") for _ in range(_CROWD)])
            require(all(answers), "some of fifty first calls had no answer")
            require(
                list(bench.loads()) == ["a"], f"fifty first calls of one model were the loads {list(bench.loads())}"
            )

    async def test_fifty_loads_by_hand_are_one_load(self, bench: ModelHostBench) -> None:
        """And all hear that it is ready."""
        bench.slow(0.2)
        async with self.serve(bench) as hosted:
            found = await asyncio.gather(*[hosted.models.load(f"{HOST}/a") for _ in range(_CROWD)])
            require({one.state for one in found} <= {"ready", "in_use"}, "a load returned before the model was ready")
            require(list(bench.loads()) == ["a"], f"fifty loads of one model were {list(bench.loads())}")

    async def test_calls_and_loads_by_hand_share(self, bench: ModelHostBench) -> None:
        """Whole answers, streams and loads alike."""
        bench.slow(0.2)

        async with self.serve(bench) as hosted:

            async def streamed() -> str:
                async with hosted.stream("a", **bench.answer) as stream:
                    return "".join([event.text async for event in stream])

            await asyncio.gather(
                *[hosted.ask("a") for _ in range(4)],
                *[streamed() for _ in range(4)],
                *[hosted.models.load(f"{HOST}/a") for _ in range(4)],
            )
            require(list(bench.loads()) == ["a"], f"mixed first calls were the loads {list(bench.loads())}")

    async def test_a_slow_load_is_no_slow_answer(self, bench: ModelHostBench) -> None:
        """F147: the limit of the first output counts from the loaded model on, and the load is told of."""
        bench.slow(4.5)
        async with self.serve(bench, {HOST: {"timeouts": {"first_token": "3500ms"}}}) as hosted:
            async with hosted.stream("a", **bench.answer) as stream:
                text = "".join([event.text async for event in stream])
            require(text, "a stream of a model that loads for longer than its first output may take is empty")
            states = [event.state for event in hosted.events]
            require("loading" in states, f"a load that takes seconds was not told of: {states}")

    async def test_different_models_load_side_by_side(self, bench: ModelHostBench) -> None:
        """Where the configuration allows it, one does not wait for the other."""
        bench.slow(4.0)
        async with self.serve(bench, max_parallel_loads=2) as hosted:
            loads = [asyncio.ensure_future(hosted.models.load(f"{HOST}/{name}")) for name in "ab"]
            await hosted.until(
                lambda: {hosted.residence(name).state for name in "ab"} == {"loading"},
                "two models do not load at the same time although max_parallel_loads is 2",
            )
            bench.slow(0.0)
            await asyncio.gather(*loads)
            require(hosted.ready() == {"a", "b"}, f"after two loads {hosted.ready()} are ready")

    async def test_one_at_a_time_is_the_default(self, bench: ModelHostBench) -> None:
        """Two loads on one device slow each other down."""
        bench.slow(0.3)
        async with self.serve(bench) as hosted:
            loads = [asyncio.ensure_future(hosted.models.load(f"{HOST}/{name}")) for name in "abc"]
            most = 0
            while not all(load.done() for load in loads):
                most = max(most, sum(one.state == "loading" for one in hosted.models.list()))
                await asyncio.sleep(0.02)
            await asyncio.gather(*loads)
            require(most == 1, f"{most} models were loading at the same time")

    async def test_a_loaded_model_does_not_wait_for_the_load_of_another(self, bench: ModelHostBench) -> None:
        """Calls of a ready model go on while another one comes."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            bench.slow(4.0)
            load = asyncio.ensure_future(hosted.models.load(f"{HOST}/b"))
            await hosted.until(lambda: hosted.residence("b").state == "loading", "the second model does not load")
            await hosted.ask("a")
            require(not load.done(), "a call of a loaded model waited for the load of another one")
            bench.slow(0.0)
            await load

    async def test_one_of_two_who_wait_may_leave(self, bench: ModelHostBench) -> None:
        """The other one gets its answer from the same load."""
        bench.slow(4.0)
        async with self.serve(bench) as hosted:
            stays = asyncio.ensure_future(hosted.ask("a"))
            leaves = asyncio.ensure_future(hosted.ask("a"))
            await hosted.until(lambda: hosted.residence("a").waiting == 2, "two calls do not wait for one load")
            leaves.cancel()
            bench.slow(0.0)
            require(await stays, "the call that stayed has no answer")
            require(list(bench.loads()) == ["a"], f"loads were {list(bench.loads())}")
            require(leaves.cancelled(), "the cancelled call did not end as cancelled")

    async def test_the_last_one_who_leaves_leaves_nothing_half_done(self, bench: ModelHostBench) -> None:
        """A load of our own is called off; one on a shared server may go on. The next call works either way."""
        bench.slow(4.0)
        async with self.serve(bench) as hosted:
            only = asyncio.ensure_future(hosted.ask("a"))
            await hosted.until(lambda: hosted.residence("a").state == "loading", "a first call does not load")
            only.cancel()
            await asyncio.wait((only,))
            bench.slow(0.0)
            await hosted.until(
                lambda: hosted.residence("a").state in ({"unloaded"} if bench.owned else {"ready"}),
                "a load that nobody waits for stays 'loading'",
            )
            require(bench.in_memory() == (set() if bench.owned else {"a"}), f"the host holds {bench.in_memory()}")
            require(await hosted.ask("a"), "the call after one that was given up has no answer")
            require(hosted.residence("a").leases == 0, "the call that was given up has left a lease")

    async def test_a_hundred_mixed_calls_load_each_model_once(self, bench: ModelHostBench) -> None:
        """Options of a call are no reason to load a model anew."""
        aliases = {"models": {"first": f"{HOST}/a", "second": f"{HOST}/b", "third": f"{HOST}/c"}}
        async with self.serve(bench, aliases) as hosted:
            names = ("first", "second", "third")
            await asyncio.gather(
                *[
                    hosted.llm.generate(
                        PROMPT,
                        model=names[number % 3],
                        **{**bench.answer, "temperature": number / 100, "seed": number, "max_tokens": 2 + number % 3},
                    )
                    for number in range(100)
                ]
            )
            loads = sorted(bench.loads())
            require(loads == ["a", "b", "c"], f"a hundred calls by three aliases were the loads {loads}")

    async def test_a_lease_keeps_a_model(self, bench: ModelHostBench) -> None:
        """Another one that needs its place is refused, and says who has it."""
        async with self.serve(bench, max_loaded=1, acquire_timeout="300ms", patience="1h") as hosted:
            async with hosted.models.lease(f"{HOST}/a"):
                try:
                    await hosted.ask("b")
                except NoCapacity as error:
                    require(f"{HOST}/a" in str(error), f"the refusal does not say who holds the room: {error}")
                else:
                    raise AssertionError("a model was loaded into the place of one that is leased")
                require(bench.in_memory() == {"a"}, f"the host holds {bench.in_memory()} while 'a' is leased")
            require(await hosted.ask("b"), "after the lease its place is not free")

    async def test_a_lease_without_waiting_is_refused_for_a_cold_model(self, bench: ModelHostBench) -> None:
        """`wait=0` means: only if it is ready."""
        async with self.serve(bench) as hosted:
            try:
                async with hosted.models.lease(f"{HOST}/a", wait=0):
                    raise AssertionError("a lease without waiting was given for a model that is not in memory")
            except ModelNotReady:
                pass
            require(not bench.loads(), "a lease without waiting has loaded the model")

    async def test_a_stream_that_is_left_gives_its_lease_back(self, bench: ModelHostBench) -> None:
        """However it ends."""
        release = bench.hold(1)
        try:
            async with self.serve(bench) as hosted:
                async with hosted.stream("a", max_tokens=64) as stream:
                    await anext(stream)
                    require(hosted.residence("a").leases == 1, "a running stream holds no lease")
                await hosted.until(lambda: hosted.residence("a").leases == 0, "a stream that was left keeps its lease")
                release()
                await hosted.models.unload(f"{HOST}/a")
        finally:
            release()

    async def test_the_queue_of_a_model_is_bounded(self, bench: ModelHostBench) -> None:
        """Beyond `max_waiting` a call is refused at once, and may go elsewhere."""
        bench.slow(4.0)
        async with self.serve(bench, max_waiting=2) as hosted:
            calls = [asyncio.ensure_future(hosted.ask("a")) for _ in range(2)]
            await hosted.until(lambda: hosted.residence("a").waiting == 2, "two calls do not wait for one load")
            try:
                await hosted.ask("a")
            except ModelQueueFull:
                pass
            except LLMError as error:
                raise AssertionError(f"a full queue is ModelQueueFull, not {type(error).__name__}: {error}") from error
            else:
                raise AssertionError("a third call was let into a queue of two")
            bench.slow(0.0)
            require(all(await asyncio.gather(*calls)), "those who were in the queue have no answer")
