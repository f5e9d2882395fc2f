"""Rules about room: who goes, who stays, what is loaded ahead, and limits that hold."""

import asyncio

from core.llm.common.exceptions import LLMError, ModelTooLarge
from core.llm.testing.contract_case import require
from core.llm.testing.model_host_case import HOST, ModelHostBench, refusal
from core.llm.testing.model_host_sharing import SharingChecks


class RoomChecks(SharingChecks):
    """Which models are in memory at the same time."""

    async def test_an_idle_model_goes(self, bench: ModelHostBench) -> None:
        """After `idle_ttl`, by itself, on both sides."""
        async with self.serve(bench, idle_ttl="300ms") as hosted:
            await hosted.ask("a")
            await hosted.until(lambda: not hosted.ready(), "an idle model stays although its time is over")
            await hosted.until(lambda: not bench.in_memory(), f"the host still holds {bench.in_memory()}")

    async def test_the_idle_time_does_not_run_during_a_call(self, bench: ModelHostBench) -> None:
        """A stream that takes longer than `idle_ttl` is not cut."""
        release = bench.hold(1)
        try:
            async with self.serve(bench, idle_ttl="200ms") as hosted, hosted.stream("a", max_tokens=16) as stream:
                text = (await anext(stream)).text
                await asyncio.sleep(0.6)
                require(bench.in_memory() == {"a"}, "a model was unloaded by its idle time while a stream used it")
                release()
                text += "".join([event.text async for event in stream])
                require(text, "the stream is empty")
        finally:
            release()

    async def test_a_pinned_model_stays(self, bench: ModelHostBench) -> None:
        """It is loaded without a call, does not become too idle, and makes no room."""
        async with self.serve(bench, idle_ttl="200ms", max_loaded=2, pinned=[f"{HOST}/a"]) as hosted:
            await hosted.until(lambda: hosted.ready() == {"a"}, "a pinned model is not loaded")
            for name in "bc":
                await hosted.ask(name)
            await hosted.until(lambda: hosted.ready() == {"a"}, "of three models, the pinned one should be left")
            require(list(bench.loads()).count("a") == 1, "the pinned model was loaded anew")

    async def test_a_pin_can_be_taken_back(self, bench: ModelHostBench) -> None:
        """Then the rules hold for it again."""
        async with self.serve(bench, idle_ttl="200ms") as hosted:
            await hosted.models.pin(f"{HOST}/a")
            await hosted.until(lambda: hosted.ready() == {"a"}, "a pinned model is not loaded")
            await hosted.models.unpin(f"{HOST}/a")
            await hosted.until(lambda: not hosted.ready(), "a model whose pin was taken back stays for ever")

    async def test_the_longest_idle_goes_first(self, bench: ModelHostBench) -> None:
        """Room is made by as few unloads as possible."""
        async with self.serve(bench, max_loaded=2) as hosted:
            await hosted.ask("a")
            await hosted.ask("b")
            # Idle times that are nearly equal are none to decide by.
            await asyncio.sleep(1.5)
            await hosted.ask("a")
            await hosted.ask("c")
            require(hosted.ready() == {"a", "c"}, f"after a, b, a, c with two places {hosted.ready()} are there")
            require(bench.in_memory() == {"a", "c"}, f"the host holds {bench.in_memory()}")

    async def test_max_loaded_holds_in_a_crowd(self, bench: ModelHostBench) -> None:
        """Also while models come and go; every call is answered."""
        async with self.serve(bench, max_loaded=2, patience="50ms") as hosted:
            calls = [asyncio.ensure_future(hosted.ask("abc"[number % 3])) for number in range(24)]
            most = 0
            while not all(call.done() for call in calls):
                most = max(most, len(bench.in_memory()))
                await asyncio.sleep(0.005)
            require(all(await asyncio.gather(*calls)), "a call of the crowd had no answer")
            most = max(most, len(bench.in_memory()))
            require(most <= 2, f"{most} models were in memory at once, two are allowed")
            require(sum(one.leases for one in hosted.models.list()) == 0, "a lease was left")

    async def test_the_budget_holds_in_a_crowd(self, bench: ModelHostBench) -> None:
        """What is being loaded and unloaded counts."""
        sizes = {f"{HOST}/{name}": "10MiB" for name in "abc"}
        rules = {"sizes": sizes, "memory_budget": {"box": "25MiB"}, "devices": {HOST: "box"}}
        async with self.serve(bench, **rules, patience="50ms") as hosted:
            calls = [asyncio.ensure_future(hosted.ask("abc"[number % 3])) for number in range(18)]
            most = 0
            while not all(call.done() for call in calls):
                most = max(most, sum(one.state != "unloaded" for one in hosted.models.list()))
                await asyncio.sleep(0.005)
            require(all(await asyncio.gather(*calls)), "a call of the crowd had no answer")
            require(most <= 2, f"{most} models of 10 MiB were in a budget of 25 MiB")

    async def test_a_model_that_never_fits_is_refused_at_once(self, bench: ModelHostBench) -> None:
        """With both numbers; nothing is unloaded for it."""
        rules = {
            "sizes": {f"{HOST}/a": "10MiB", f"{HOST}/b": "99MiB"},
            "memory_budget": {"box": "50MiB"},
            "devices": {HOST: "box"},
        }
        async with self.serve(bench, **rules) as hosted:
            await hosted.ask("a")
            error = await refusal(hosted.models.load(f"{HOST}/b"), "loading a model that is larger than the budget")
            require(isinstance(error, ModelTooLarge), f"it is ModelTooLarge, not {type(error).__name__}")
            require(bench.in_memory() == {"a"}, "something was unloaded for a model that never fits")
            require(list(bench.loads()) == ["a"], "the model that never fits was sent to the host")

    async def test_an_unload_waits_for_a_stream(self, bench: ModelHostBench) -> None:
        """Nothing is freed under use."""
        release = bench.hold(1)
        try:
            async with self.serve(bench) as hosted, hosted.stream("a", max_tokens=16) as stream:
                await anext(stream)
                unload = asyncio.ensure_future(hosted.models.unload(f"{HOST}/a"))
                await hosted.until(lambda: hosted.residence("a").state == "draining", "the unload does not drain")
                require(bench.in_memory() == {"a"}, "the model has gone while a stream used it")
                release()
                async for _ in stream:
                    pass
                require((await stream.response()).content, "the stream that was waited for has no answer")
                await stream.aclose()
                require((await unload).state == "unloaded", "the unload did not end")
        finally:
            release()

    async def test_a_call_during_an_unload_waits_and_is_answered(self, bench: ModelHostBench) -> None:
        """It neither fails nor hangs."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            unload = asyncio.ensure_future(hosted.models.unload(f"{HOST}/a"))
            await asyncio.sleep(0)
            require(await hosted.ask("a"), "a call that came during an unload has no answer")
            await unload

    async def test_a_preload_in_the_background_does_not_hold_up_the_start(self, bench: ModelHostBench) -> None:
        """It is the default; calls that come meanwhile share its load."""
        bench.slow(4.0)
        async with self.serve(bench, preload=[f"{HOST}/a"]) as hosted:
            require(not hosted.ready(), "the start has waited for a preload in the background")
            bench.slow(0.0)
            await hosted.ask("a")
            require(list(bench.loads()) == ["a"], f"a preload and a call were the loads {list(bench.loads())}")

    async def test_a_blocking_preload_is_there_at_the_start(self, bench: ModelHostBench) -> None:
        """One that fails is logged, and the others are there."""
        preload = [f"{HOST}/a", f"{HOST}/broken"]
        async with self.serve(bench, preload=preload, preload_mode="blocking") as hosted:
            require(hosted.ready() == {"a"}, f"after a blocking preload {hosted.ready()} are there")

    async def test_a_required_preload_that_fails_fails_the_start(self, bench: ModelHostBench) -> None:
        """And nothing is left of it."""
        hosted = self.serve(bench, preload=[f"{HOST}/broken"], preload_mode="required")
        try:
            await hosted.__aenter__()
        except LLMError as error:
            require("broken" in str(error), f"the error does not name the model: {error}")
        else:
            await hosted.container.stop()
            raise AssertionError("the service has started without a model that it requires")
