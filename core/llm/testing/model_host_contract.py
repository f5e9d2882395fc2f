"""The contract of providers that load and unload models, as a test class to derive from; see `ModelHostContract`."""

import asyncio
from collections.abc import Awaitable, Callable

from core.llm.common.exceptions import LLMError, ModelLoadError
from core.llm.testing.contract_case import require
from core.llm.testing.model_host_case import HOST, PROMPT, REFUSALS, ModelHostBench, refusal
from core.llm.testing.model_host_swap import SwapChecks


class ModelHostContract(SwapChecks):
    """What everything that has models in memory must do, whatever it is: a worker process, a server, a plugin.

    Each check drives a whole service over the host and looks at both sides: what the library tells, and what the host
    holds. Derive from it and override one fixture:

    ```python
    class AcmeBench(ModelHostBench):             # how to reach into the host: count loads, slow them, end it
        owned = True                             # its memory is this application's: a worker process

        def entry(self):
            return {"type": "acme", "models": {name: {"path": ...} for name in ("a", "b", "c", "broken")}}
        ...

    class TestAcme(ModelHostContract):
        @pytest.fixture
        def bench(self, tmp_path):
            return AcmeBench(tmp_path)
    ```

    A provider with real workers swaps the module of its engine for one that derives from it and looks at files in the
    folder of its models: `slow` (seconds before a load), `a.hold` (answers of `a` stop after their first piece while it
    is there) and `loads` (one line for each load). Where a load takes seconds anyway, raise `patience`.

    No check is left out: where a host cannot do a thing, its typed refusal is checked.
    """

    async def test_a_failed_load_is_typed_and_says_why(self, bench: ModelHostBench) -> None:
        """It is told to the caller, in the status, and as an event."""
        async with self.serve(bench) as hosted:
            error = await refusal(hosted.models.load(f"{HOST}/broken"), "loading a model that cannot be loaded")
            require(len(str(error)) > 10, f"the error says too little: {error}")
            status = await hosted.models.status(f"{HOST}/broken")
            require(status.state == "failed", f"after a failed load the state is {status.state!r}")
            require(status.detail, "the status does not say why the load failed")
            failed = [event for event in hosted.events if event.state == "failed"]
            require(failed and failed[-1].model == f"{HOST}/broken", "no event tells of the failed load")

    async def test_a_failed_load_is_remembered(self, bench: ModelHostBench) -> None:
        """Calls that come soon after it are refused at once, and the host is left alone."""
        async with self.serve(bench) as hosted:
            await refusal(hosted.models.load(f"{HOST}/broken"), "loading a model that cannot be loaded")
            before = bench.requests()
            tries = [hosted.models.load(f"{HOST}/broken", force=False) for _ in range(10)]
            errors = await asyncio.gather(*tries, return_exceptions=True)
            require(all(isinstance(one, REFUSALS) for one in errors), f"a refusal is not typed: {errors!r:.200}")
            require(bench.requests() == before, "a load that has just failed was tried again at once")

    async def test_a_call_of_a_model_that_cannot_be_loaded_fails_typed(self, bench: ModelHostBench) -> None:
        """And holds nothing."""
        async with self.serve(bench) as hosted:
            try:
                await hosted.ask("broken")
            except LLMError:
                pass
            else:
                raise AssertionError("a model that cannot be loaded has answered")
            require(hosted.residence("broken").leases == 0, "a call that failed has left a lease")

    async def test_a_load_by_hand_tries_again_at_once(self, bench: ModelHostBench) -> None:
        """Whoever has mended a model need not wait."""
        async with self.serve(bench) as hosted:
            await refusal(hosted.models.load(f"{HOST}/broken"), "loading a model that cannot be loaded")
            bench.mend()
            status = await hosted.models.load(f"{HOST}/broken")
            require(status.state in {"ready", "in_use"}, f"a mended model is {status.state!r} after its load")
            require(await hosted.ask("broken"), "a mended model does not answer")

    async def test_a_failed_load_harms_no_other_model(self, bench: ModelHostBench) -> None:
        """What was loaded before goes on."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            await refusal(hosted.models.load(f"{HOST}/broken"), "loading a model that cannot be loaded")
            require(await hosted.ask("a"), "after the failed load of another one a model does not answer")
            require(list(bench.loads()).count("a") == 1, "the failed load of another one has cost a loaded model")

    async def test_a_host_that_died_behind_us_is_used_again(self, bench: ModelHostBench) -> None:
        """F149, WK-02: the next calls load the model anew; nobody has to start the service again."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            await bench.die("a")
            await hosted.until(lambda: "a" not in bench.in_memory(), "the bench has not ended what holds the model")
            answer = await _at_last(lambda: hosted.ask("a"), bench.patience)
            require(answer, "after its host came back a model does not answer")
            require(bench.in_memory() == {"a"}, f"the host holds {bench.in_memory()}")
            require(list(bench.loads()) == ["a", "a"], f"loads were {list(bench.loads())} instead of two of 'a'")

    async def test_the_books_follow_a_host_that_died(self, bench: ModelHostBench) -> None:
        """A model that is in memory no more is not listed as ready for long."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            await bench.die("a")
            await hosted.until(lambda: not hosted.ready(), "a model whose host has died is still listed as ready")

    async def test_a_stream_whose_host_dies_fails_typed(self, bench: ModelHostBench) -> None:
        """It never just ends, and its lease comes back."""
        release = bench.hold(1)
        try:
            async with self.serve(bench) as hosted:
                try:
                    async with hosted.stream("a", max_tokens=64) as stream:
                        async for event in stream:
                            if event.text:
                                await bench.die("a")
                except LLMError:
                    pass
                else:
                    raise AssertionError("a stream whose host has died ended as if it were complete")
                release()
                await hosted.until(lambda: hosted.residence("a").leases == 0, "a stream that died keeps its lease")
        finally:
            release()

    async def test_the_end_of_the_service(self, bench: ModelHostBench) -> None:
        """Memory of our own comes back; what is shared stays for the others."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
        left = bench.in_memory()
        require(left == (set() if bench.owned else {"a"}), f"after the end of the service the host holds {left}")

    async def test_the_end_during_a_load(self, bench: ModelHostBench) -> None:
        """It does not wait for it, and whoever waited hears so."""
        bench.slow(20.0)
        async with self.serve(bench) as hosted:
            load = asyncio.ensure_future(hosted.models.load(f"{HOST}/a"))
            await hosted.until(lambda: hosted.residence("a").state == "loading", "a load does not begin")
        result = (await asyncio.gather(load, return_exceptions=True))[0]
        require(isinstance(result, LLMError), f"a load at the end of the service became {result!r:.200}")

    async def test_after_the_end_nothing_is_loaded(self, bench: ModelHostBench) -> None:
        """The refusal is typed."""
        async with self.serve(bench) as hosted:
            pass
        try:
            await hosted.models.load(f"{HOST}/a")
        except LLMError:
            pass
        else:
            raise AssertionError("a model was loaded after the end of the service")
        require(not bench.loads(), "a model was loaded after the end of the service")

    async def test_nothing_that_is_told_holds_a_secret(self, bench: ModelHostBench) -> None:
        """Events, lists, states and errors show neither credentials nor prompts."""
        async with self.serve(bench) as hosted:
            await hosted.ask("a")
            error = await refusal(hosted.models.load(f"{HOST}/broken"), "loading a model that cannot be loaded")
            told = [repr(event) for event in hosted.events] + [repr(one) for one in hosted.models.list()]
            told += [repr(await hosted.models.status(f"{HOST}/{name}")) for name in ("a", "broken")]
            told += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
            if isinstance(error, ModelLoadError):
                told.append(error.output)
        for secret in filter(None, (bench.secret, PROMPT)):
            where = next((text for text in told if secret in text), None)
            require(where is None, f"what is told of a model holds a secret: {where!r:.120}")


async def _at_last(ask: Callable[[], Awaitable[str]], seconds: float) -> str:
    """The first answer of *ask*, which may be refused until what died is back."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await ask()
        except LLMError:
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.05)
