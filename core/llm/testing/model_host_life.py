"""Rules about one model: loading, unloading, what is told about it."""

from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import Progress
from core.llm.testing.contract_case import require
from core.llm.testing.model_host_case import HOST, PROMPT, ModelHostBench, ModelHostCase


class LifeChecks(ModelHostCase):
    """From unloaded to ready and back."""

    async def test_nothing_is_loaded_before_somebody_asks(self, bench: ModelHostBench) -> None:
        """A start without preloading touches no memory."""
        async with self.serve(bench) as hosted:
            require(not hosted.ready() and not bench.loads(), "a model is in memory although nobody asked for it")
            status = await hosted.models.status(f"{HOST}/a")
            require(status.state == "unloaded", f"a cold model is {status.state!r}: say 'unloaded'")

    async def test_a_load_brings_a_model_into_memory(self, bench: ModelHostBench) -> None:
        """It is there when the call returns, on both sides."""
        async with self.serve(bench) as hosted:
            status = await hosted.models.load(f"{HOST}/a")
            require(status.state in {"ready", "in_use"}, f"after a load the state is {status.state!r}")
            require(bench.in_memory() == {"a"}, f"after a load the host holds {bench.in_memory()}: wait until it does")
            require(hosted.ready() == {"a"}, "the loaded model is not listed as ready")

    async def test_a_second_load_costs_nothing(self, bench: ModelHostBench) -> None:
        """The model that is there stays there."""
        async with self.serve(bench) as hosted:
            for _ in range(2):
                await hosted.models.load(f"{HOST}/a")
            require(list(bench.loads()) == ["a"], f"two loads of one model were {list(bench.loads())}")

    async def test_an_unload_takes_a_model_out(self, bench: ModelHostBench) -> None:
        """It has gone when the call returns."""
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            status = await hosted.models.unload(f"{HOST}/a")
            require(status.state == "unloaded", f"after an unload the state is {status.state!r}")
            require(not bench.in_memory(), "unload returned before the model had gone")
            require(not hosted.ready(), "the unloaded model is listed as ready")

    async def test_a_second_unload_is_no_error(self, bench: ModelHostBench) -> None:
        """Unloading is for clean-up code: the second time does nothing."""
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            for _ in range(2):
                status = await hosted.models.unload(f"{HOST}/a")
            require(status.state == "unloaded", f"after two unloads the state is {status.state!r}")

    async def test_an_unload_of_a_cold_model_loads_nothing(self, bench: ModelHostBench) -> None:
        """What was never there is not brought in to be taken out."""
        async with self.serve(bench) as hosted:
            await hosted.models.unload(f"{HOST}/b")
            require(not bench.loads(), "the unload of a cold model has loaded it")

    async def test_a_call_loads_its_model(self, bench: ModelHostBench) -> None:
        """Nobody has to load by hand."""
        async with self.serve(bench) as hosted:
            require(await hosted.ask("a"), "the first call of a cold model has no answer")
            require(hosted.ready() == {"a"}, "after its call the model is not listed as ready")

    async def test_a_call_after_an_unload_loads_again(self, bench: ModelHostBench) -> None:
        """An unload is no ban."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            await hosted.models.unload(f"{HOST}/a")
            require(await hosted.ask("a"), "a model that was unloaded does not answer any more")
            require(list(bench.loads()) == ["a", "a"], f"loads were {list(bench.loads())} instead of two of 'a'")

    async def test_a_stream_after_an_unload_loads_again(self, bench: ModelHostBench) -> None:
        """Streams wait for their model as other calls do."""
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            await hosted.models.unload(f"{HOST}/a")
            async with hosted.stream("a", **bench.answer) as stream:
                text = "".join([event.text async for event in stream])
            require(text, "a stream of a model that was unloaded is empty")

    async def test_an_embedding_after_an_unload_is_made_or_refused(self, bench: ModelHostBench) -> None:
        """A model that cannot embed says so by a typed error; one that can is loaded again for it."""
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            await hosted.models.unload(f"{HOST}/a")
            try:
                made = await hosted.llm.embed(["one", "two"], model=f"{HOST}/a")
            except LLMError:
                return
            require(len(made.vectors) == 2 and all(made.vectors), "an embedding has not one vector per text")
            require("a" in hosted.ready(), "the model that has embedded is not listed as ready")

    async def test_every_configured_model_is_listed(self, bench: ModelHostBench) -> None:
        """Also those that were never loaded."""
        async with self.serve(bench) as hosted:
            states = {name: hosted.residence(name).state for name in ("a", "b", "c")}
            require(set(states.values()) == {"unloaded"}, f"cold models are listed as {states}")

    async def test_the_list_counts_loads_and_leases(self, bench: ModelHostBench) -> None:
        """And tells whose memory it is."""
        async with self.serve(bench) as hosted:
            async with hosted.models.lease(f"{HOST}/a"):
                there = hosted.residence("a")
            require(
                (there.state, there.leases, there.loads) == ("in_use", 1, 1), f"a leased model is listed as {there}"
            )
            require(there.owned is bench.owned, "placement() says the wrong thing about whose memory it is")
            require(hosted.residence("a").leases == 0, "the lease was not given back")

    async def test_the_list_asks_nobody(self, bench: ModelHostBench) -> None:
        """A table of models that is redrawn often is no load on a server, and does not hang with it."""
        async with self.serve(bench, reconcile_interval="1h") as hosted:
            await hosted.ask("a")
            before = bench.requests()
            for _ in range(50):
                hosted.models.list()
                hosted.models.is_loaded(ModelRef(HOST, "a"))
            require(bench.requests() == before, "list() or is_loaded() has asked the host")

    async def test_is_loaded_follows_loads_and_unloads(self, bench: ModelHostBench) -> None:
        """Routing relies on it."""
        async with self.serve(bench) as hosted:
            ref = ModelRef(HOST, "a")
            answers = [hosted.models.is_loaded(ref)]
            await hosted.models.load(str(ref))
            answers.append(hosted.models.is_loaded(ref))
            await hosted.models.unload(str(ref))
            answers.append(hosted.models.is_loaded(ref))
            require(answers == [False, True, False], f"before, while and after it was loaded is_loaded said {answers}")

    async def test_the_provider_lists_what_is_in_memory(self, bench: ModelHostBench) -> None:
        """`list_models` tells loaded models from others."""
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            listed = {info.name.removesuffix(":latest"): info.loaded for info in await hosted.llm.list_models(HOST)}
            require(listed.get("a") is True, f"a loaded model is listed as {listed.get('a')}")
            require(listed.get("b") is False, f"a model that is not loaded is listed as {listed.get('b')}")

    async def test_the_memory_of_a_model_is_no_negative_number(self, bench: ModelHostBench) -> None:
        """Bytes, or nothing where nobody knows."""
        async with self.serve(bench) as hosted:
            status = await hosted.models.load(f"{HOST}/a")
            size = status.memory_bytes
            require(size is None or size > 0, f"memory_bytes is {size}: bytes, or None where nobody knows")
            require(hosted.residence("a").load_seconds is not None, "how long the load took is not told")

    async def test_progress_begins_and_ends(self, bench: ModelHostBench) -> None:
        """Whoever waits is told something, and what is counted never runs backwards."""
        told: list[Progress] = []
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a", told.append)
        require(told, "a load has reported no progress: call `progress` at least when it begins")
        counted = [one.completed for one in told if one.completed is not None]
        require(counted == sorted(counted), f"the progress of a load runs backwards: {counted}")
        require(all(one.message for one in told), "a report of progress has no words")

    async def test_events_tell_a_life_in_order(self, bench: ModelHostBench) -> None:
        """Loading, ready, unloading, unloaded; each is told."""
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            await hosted.models.unload(f"{HOST}/a")
        told = [event.state for event in hosted.events if event.model == f"{HOST}/a"]
        wanted = ["loading", "ready", "unloading", "unloaded"]
        firsts = [told.index(state) for state in wanted if state in told]
        require(len(firsts) == 4 and firsts == sorted(firsts), f"the events of a load and an unload were {told}")

    async def test_events_are_few(self, bench: ModelHostBench) -> None:
        """At most ten a second of one model while it loads, beside those that change its state."""
        bench.slow(0.5)
        async with self.serve(bench) as hosted:
            await hosted.models.load(f"{HOST}/a")
            seconds = hosted.residence("a").load_seconds or 0.5
        count = sum(event.model == f"{HOST}/a" for event in hosted.events)
        require(
            count <= 10 * seconds + 10, f"a load of {seconds:.1f} s has told {count} events: ten a second are enough"
        )

    async def test_an_unknown_model_is_a_typed_error(self, bench: ModelHostBench) -> None:
        """For a load, and for a call."""
        async with self.serve(bench) as hosted:
            for work, what in (
                (hosted.models.load(f"{HOST}/nobody-knows"), "loading an unknown model"),
                (hosted.llm.generate(PROMPT, model=f"{HOST}/nobody-knows"), "calling an unknown model"),
            ):
                try:
                    await work
                except LLMError:
                    continue
                raise AssertionError(f"{what} succeeded: say model_not_found")
            require(not bench.loads(), "a model was loaded in place of an unknown one")
