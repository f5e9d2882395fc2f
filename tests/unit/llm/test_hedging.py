"""A slow candidate is helped by the next one: who wins, what becomes of the other, and when nobody is helped."""

import asyncio
from typing import Any

import pytest

from core.llm.common.decisions import CallHedged, HedgeEnded
from core.llm.common.events import CallRecovered
from core.llm.common.exceptions import AllAttemptsFailed, ProviderError
from core.llm.common.types import ModelRef
from core.llm.testing import Gate, Pause, cancel_sweep
from tests.unit.llm.hedging import hedged
from tests.unit.pipeline.support import an_error

ALPHA, BETA = ModelRef("alpha", "m"), ModelRef("beta", "m")
MODES = ("generate", "stream")
TOOL = {"name": "find", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("mode", MODES)
async def test_g22_f98_the_faster_one_answers_and_the_other_is_cut(mode: str) -> None:
    """One result; both attempts are in the trace; the one that was cut is booked as of unknown cost and blames nobody."""
    async with hedged("1s") as it:
        gate = it.world.alpha.will_hold("slow")
        it.world.beta.will_answer("quick", delay=0.5)
        task = await it.begin(mode)
        await it.clock.advance(0.9)
        assert it.sent == [1, 0, 0]
        await it.clock.advance(0.2)
        assert it.sent == [1, 1, 0]
        await it.clock.advance(0.5)
        response = await task
        assert (response.content, response.provider) == ("quick", "beta")
        trace = response.trace
        assert trace is not None
        assert [(one.target, one.role, one.decision, one.billing) for one in trace.attempts] == [
            (ALPHA, "first", "cancelled", "ambiguous"),
            (BETA, "hedge", "answered", "settled"),
        ]
        assert [(one.target.provider, one.outcome) for one in trace.candidates] == [
            ("alpha", "cut"),
            ("beta", "answered"),
            ("gamma", "untried"),
        ]
        assert trace.candidates[0].reason == "beta/m was faster"
        assert [(one.first, one.second) for one in it.of(CallHedged)] == [(ALPHA, BETA)]
        assert [(one.winner, one.loser) for one in it.of(HedgeEnded)] == [(BETA, ALPHA)]
        assert it.of(CallRecovered) == [], "nothing has failed"
        await it.clock.settle()
        assert it.world.alpha.active == 0
        assert it.world.alpha.outcomes["cut"] == 1
        assert it.world.service.get_provider_status()["alpha"].state == "ready"
        gate.open()


@pytest.mark.parametrize("mode", MODES)
async def test_g22_the_first_may_still_win(mode: str) -> None:
    """Then the second is cut."""
    async with hedged("1s") as it:
        it.world.alpha.will_answer("late", delay=1.2)
        it.world.beta.will_hold("never")
        task = await it.begin(mode)
        await it.clock.advance(1.2)
        response = await task
        assert response.content == "late"
        assert response.trace is not None
        assert [(one.role, one.decision) for one in response.trace.attempts] == [
            ("first", "answered"),
            ("hedge", "cancelled"),
        ]
        await it.clock.settle()
        assert it.world.beta.active == 0
        assert [one.loser for one in it.of(HedgeEnded)] == [BETA]


@pytest.mark.parametrize(
    ("case", "options", "config"),
    [
        ("quick", {}, {}),
        ("tools", {"tools": [TOOL]}, {}),
        ("short deadline", {"timeout": 1.9}, {}),
        ("provider named", {"provider": "alpha"}, {}),
        ("another model", {"model": "alpha/m"}, {}),
        ("no attempts left", {}, {"retry": {"max_attempts": 1}}),
        ("nobody else fits", {"messages": [{"role": "user", "content": [{"type": "image", "data": "aGk="}]}]},
         {"providers": {"beta": {"models": {"m": {"capabilities": ["chat"]}}},
                        "gamma": {"models": {"m": {"capabilities": ["chat"]}}}}}),
    ],
)  # fmt: skip
async def test_f98_no_second_request_where_it_is_not_wanted(case: str, options: Any, config: Any) -> None:
    """Quick answers, tools, short deadlines, pinned providers, and nobody to ask."""
    async with hedged("1s", **config) as it:
        it.world.alpha.will_answer("x", delay=0.9 if case == "quick" else 1.5)
        messages = options.pop("messages", None)
        task = (
            await it.begin(**options)
            if messages is None
            else asyncio.create_task(it.world.service.generate(messages, model="fast"))
        )
        await it.clock.advance(1.5)
        assert (await task).content == "x"
        assert it.sent == [1, 0, 0]
        assert it.of(CallHedged) == []


async def test_f98_tools_where_the_alias_allows_it() -> None:
    """Some tools only look things up."""
    async with hedged({"after": "1s", "max_extra": 1, "tools": True}) as it:
        it.world.alpha.will_hold("slow")
        it.world.beta.will_answer("quick")
        task = await it.begin(tools=[TOOL])
        await it.clock.advance(1)
        assert (await task).content == "quick"


async def test_f98_no_second_request_after_the_first_output() -> None:
    """A stream that has begun is read to its end, however slow."""
    async with hedged("1s") as it:
        it.world.alpha.will_stream("a", Pause(5.0), "b")
        task = await it.begin("stream")
        await it.clock.advance(5)
        assert (await task).content == "ab"
        assert it.sent == [1, 0, 0]


async def test_f98_a_provider_whose_retry_budget_is_empty_is_not_asked() -> None:
    """A second request is load like a repetition."""
    async with hedged("500ms") as it:
        upstream = it.world.holder.current.state.upstream("beta")
        while upstream.budget.withdraw(it.clock.monotonic()):
            pass
        it.world.alpha.will_answer("x", delay=0.9)
        task = await it.begin()
        await it.clock.advance(1)
        assert (await task).content == "x"
        assert it.sent == [1, 0, 0]


async def test_f98_second_requests_are_at_most_the_configured_share() -> None:
    """However many calls are slow."""
    async with hedged({"after": "1s", "max_extra": 0.05}) as it:
        for _ in range(100):
            it.world.alpha.will_answer("x", delay=2.0)
            task = await it.begin()
            await it.clock.advance(2)
            await task
        assert len(it.of(CallHedged)) == 5
        assert it.sent == [100, 5, 0]


@pytest.mark.parametrize("mode", MODES)
async def test_where_both_fail_routing_goes_on_with_who_is_left(mode: str) -> None:
    """As if they had been tried one after the other."""
    async with hedged("1s") as it:
        it.world.alpha.will_raise(an_error(), delay=1.5)
        it.world.beta.will_raise(an_error("overloaded"), delay=0.2)
        it.world.gamma.will_answer("third")
        task = await it.begin(mode)
        await it.clock.advance(1.5)
        response = await task
        assert response.content == "third"
        assert response.trace is not None
        assert [one.outcome for one in response.trace.candidates] == ["failed", "failed", "answered"]
        assert len(it.of(CallRecovered)) == 1


async def test_where_the_first_fails_the_second_is_waited_for() -> None:
    """Nobody else is asked in the meantime."""
    async with hedged("1s") as it:
        it.world.alpha.will_raise(an_error(), delay=1.2)
        it.world.beta.will_answer("second", delay=3.0)
        task = await it.begin()
        await it.clock.advance(3)
        assert it.sent == [1, 1, 0]
        await it.clock.advance(1)
        assert (await task).content == "second"


async def test_where_the_first_fails_in_time_there_is_no_race() -> None:
    """Plain fallback, which may be hedged in its turn."""
    async with hedged("1s") as it:
        it.world.alpha.will_raise(an_error())
        it.world.beta.will_hold("slow")
        it.world.gamma.will_answer("third")
        task = await it.begin()
        assert it.sent == [1, 1, 0]
        await it.clock.advance(1)
        assert (await task).content == "third"


async def test_a_refusal_of_the_first_ends_the_call() -> None:
    """A request that is refused is not routed around because it was slow; the second one is cut."""
    async with hedged("1s") as it:
        it.world.alpha.will_raise(an_error("content_filter"), delay=1.5)
        it.world.beta.will_hold("never")
        task = await it.begin()
        await it.clock.advance(1.5)
        with pytest.raises(ProviderError) as caught:
            await task
        assert caught.value.type == "content_filter"
        await it.clock.settle()
        assert it.world.beta.active == 0
        assert it.sent[2] == 0


async def test_a_refusal_of_the_second_waits_for_the_first() -> None:
    """Without the race nobody would have asked it."""
    for answer in ("fine", None):
        async with hedged("1s") as it:
            if answer:
                it.world.alpha.will_answer(answer, delay=2.0)
            else:
                it.world.alpha.will_raise(an_error(), delay=2.0)
            it.world.beta.will_raise(an_error("invalid_request"), delay=0.1)
            task = await it.begin()
            await it.clock.advance(2)
            if answer:
                assert (await task).content == answer
            else:
                with pytest.raises(ProviderError) as caught:
                    await task
                assert caught.value.type == "invalid_request"
            assert it.sent[2] == 0


async def test_all_attempts_together_stay_within_their_number() -> None:
    """F104: a race counts like any other attempts."""
    async with hedged("1s", retry={"max_attempts": 2, "max_retries": 2, "initial_delay": "1ms"}) as it:
        for script in it.world.scripts.values():
            for _ in range(3):
                script.will_raise(an_error(), delay=1.5)
        task = await it.begin()
        await it.clock.advance(10)
        with pytest.raises(AllAttemptsFailed) as caught:
            await task
        assert caught.value.trace is not None
        assert len(caught.value.trace.attempts) == 2
        assert it.sent == [1, 1, 0]


async def test_the_deadline_of_the_call_cuts_both() -> None:
    """Also where neither provider keeps to it."""
    async with hedged("1s") as it:
        it.world.alpha.will_hold("a")
        it.world.beta.will_hold("b")
        task = await it.begin(timeout=4.0)
        await it.clock.advance(5)
        with pytest.raises(ProviderError) as caught:
            await task
        assert caught.value.code == "deadline_exceeded"
        await it.clock.settle()
        assert it.world.alpha.active == it.world.beta.active == 0
        # The first ends as it would alone, with the deadline; the other one is cut with it.
        assert [one.decision for one in caught.value.trace.attempts] == ["raise", "cancelled"]  # type: ignore[union-attr]  # a call that failed has one


async def test_the_deadline_still_cuts_a_stream_that_the_second_has_begun() -> None:
    """The reply belongs to the call, not to the branch that has won."""
    async with hedged("1s") as it:
        it.world.alpha.will_hold("slow")
        it.world.beta.will_stream("a", Gate(), "b")
        stream = it.world.service.stream("hi", model="fast", timeout=4.0)
        opening = asyncio.create_task(stream.open())
        await it.clock.advance(1)
        await opening
        seen = [(await stream.__anext__()).text for _ in range(2)]
        following = asyncio.create_task(_next(stream))
        await it.clock.advance(4)
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(following, 30)
        assert caught.value.code == "deadline_exceeded"
        assert caught.value.partial is not None
        assert "".join(seen) == caught.value.partial.text == "a"
        assert it.world.beta.active == 0


async def _next(stream: Any) -> Any:
    return await stream.__anext__()


async def test_f98_the_second_one_is_at_another_provider() -> None:
    """What makes one model of a provider slow may well hold for the others."""
    async with hedged("1s", use=["alpha/m", "alpha/n"]) as it:
        it.world.alpha.will_hold("slow")
        it.world.beta.will_answer("quick")
        task = await it.begin()
        await it.clock.advance(1)
        assert (await task).provider == "beta"
        assert it.sent == [1, 1, 0]


async def test_the_delay_is_learnt_from_the_calls() -> None:
    """Nobody is helped before twenty calls have shown what is usual; then whoever takes longer than 95 % of them."""
    async with hedged("p95") as it:
        for number in range(20):
            it.world.alpha.will_answer("x", delay=1.0 + number / 100)
            task = await it.begin()
            await it.clock.advance(2)
            await task
        it.world.alpha.will_hold("slow")
        it.world.beta.will_answer("quick")
        task = await it.begin()
        await it.clock.advance(1.1)
        assert it.sent[1] == 0
        await it.clock.advance(0.1)
        assert (await task).content == "quick"
        assert it.of(CallHedged)[0].after == pytest.approx(1.18)


async def test_embeddings_are_helped_too() -> None:
    """They have no side effects."""
    async with hedged("1s") as it:
        assert len(await it.world.service.embed(["a"], model="fast")) == 1


@pytest.mark.leakcheck
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("winner", ["first", "second", "nobody"])
async def test_f98_f124_f125_cancelled_at_every_point_nothing_is_left(mode: str, winner: str) -> None:
    """Once and twice: both providers are free again, and the call has given back its lease."""
    async with hedged("1ms") as it:

        async def prepare() -> None:
            await it.clock.advance(20)
            for script in it.world.scripts.values():
                script._replies.clear()
            if winner == "nobody":
                for script in (it.world.alpha, it.world.beta):
                    script.will_raise(an_error("invalid_request"), delay=0.01)
            else:
                it.world.alpha.will_answer("x", delay=0.01 if winner == "first" else 0.05)
                it.world.beta.will_answer("x", delay=0.05 if winner == "first" else 0.01)

        async def scenario() -> None:
            mover = asyncio.create_task(_moving(it.clock))
            try:
                await it.read(mode)
            finally:
                mover.cancel()

        async for point in cancel_sweep(scenario, prepare=prepare):
            await it.clock.settle()
            assert [it.world.alpha.active, it.world.beta.active, it.world.gamma.active] == [0, 0, 0], point
            assert it.world.leases() == 0, point
            assert point.hit or point.ending == ("raised" if winner == "nobody" else "returned"), point


async def _moving(clock: Any) -> None:
    while True:
        await clock.advance(0.005)
