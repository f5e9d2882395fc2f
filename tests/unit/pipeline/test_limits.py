"""What a call takes from the limits, and what comes back, whatever ends it."""

import asyncio
import math

import pytest

from core.llm.common.events import ProviderStateChanged
from core.llm.common.exceptions import ProviderError, RateLimited, UnsupportedFeature
from core.llm.common.types import ModelFacts, Usage
from core.llm.pipeline.demand import Demand, UsualAnswer
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.limits import limits
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.routing.tokens import estimate_input
from core.llm.testing import ScriptedProvider
from tests.unit.pipeline.limits_rig import LimitsRig
from tests.unit.pipeline.support import Scripted, a_call, a_target, an_error


async def inner(call: Call) -> Reply:
    """A handler to compare with."""
    raise AssertionError


def test_nothing_is_there_where_nothing_is_limited() -> None:
    """A provider whose limits are switched off costs nothing; so does one with slots of its own and no limits."""
    off = a_target(rate_limits={"adaptive_concurrency": False, "headers": "ignore"})
    assert limits(off, Upstream(0.0), a_call().events)(inner) is inner
    local = a_target(type("Local", (ScriptedProvider,), {"fixed_slots": True})())
    assert limits(local, Upstream(0.0), a_call().events)(inner) is inner
    assert limits(a_target(), Upstream(0.0), a_call().events)(inner) is not inner


async def test_requests_and_tokens_are_reserved_and_settled_with_what_was_used() -> None:
    """While the call runs its estimate counts, afterwards what the provider has counted."""
    rig = LimitsRig(requests_per_minute=100, tokens_per_minute=10_000)
    rig.hold()
    call = rig.call(max_tokens=500)
    task = rig.send(call)
    await rig.clock.settle()
    estimate = 1.1 * estimate_input(call.request) + 500
    assert rig.left("tokens_per_minute") == pytest.approx(10_000 - estimate)
    assert rig.left("requests_per_minute") == 99
    rig.release()
    response = await task
    assert rig.left("tokens_per_minute") == 10_000 - response.usage.total
    rig.will_use(4000)
    await rig.answer(max_tokens=1)
    assert rig.left("tokens_per_minute") == 10_000 - response.usage.total - 4000


async def test_input_and_output_are_counted_apart_where_they_are_limited_apart() -> None:
    """Each by its own part of the usage."""
    rig = LimitsRig(input_tokens_per_minute=1000, output_tokens_per_minute=1000)
    rig.will_use(300)
    await rig.answer(max_tokens=10)
    assert rig.left("input_tokens_per_minute") == 701
    assert rig.left("output_tokens_per_minute") == 999


async def test_the_largest_answer_of_the_model_bounds_what_is_reserved() -> None:
    """`max_tokens` above what the model can give is no reason to keep so much."""
    target = a_target(facts=ModelFacts(max_output_tokens=100))
    call = a_call(max_tokens=100_000)
    assert Demand(target, Upstream(0.0).tokens).of(call)[2] == 100


async def test_without_max_tokens_the_usual_length_of_answers_is_reserved() -> None:
    """Not the largest answer of the model, which would be the whole quota for a single call."""
    usual = UsualAnswer()
    assert usual.tokens == 1000
    for _ in range(50):
        usual.learn(200)
    assert 200 <= usual.tokens < 250
    demand = Demand(a_target(facts=ModelFacts(max_output_tokens=128_000)), Upstream(0.0).tokens)
    call = a_call()
    assert demand.of(call)[2] == 1000
    demand.learn(call, Usage(input=5, output=10))
    assert demand.of(call)[2] == 30, "one answer says little about how much they differ"
    demand.learn(a_call(max_tokens=5), Usage(input=5, output=5000))
    assert demand.of(call)[2] == 30, "an answer that was bounded says nothing about those that are not"


async def test_embeddings_reserve_their_texts() -> None:
    """They have no answer tokens."""
    rig = LimitsRig(tokens_per_minute=1000)
    rig.inner.outcomes.append(lambda call: Reply(call, embedding=EmbeddingResponse(((0.0,),), usage=Usage(input=7))))
    async with await rig.handler(rig.call(mode="embed", inputs=("one two three",))):
        pass
    assert rig.left("tokens_per_minute") == 993


@pytest.mark.parametrize(
    ("error", "requests", "tokens"),
    [
        (an_error("network_error", code="connect"), 0, False),
        (an_error("overloaded", code="circuit_open"), 0, False),
        (UnsupportedFeature("no tools"), 0, False),
        (an_error("rate_limit", status_code=429), 1, False),
        (an_error("invalid_request", status_code=400), 1, False),
        (an_error("server_error", status_code=500, billing="ambiguous"), 1, True),
        (an_error("timeout", billing="ambiguous"), 1, True),
        (asyncio.CancelledError(), 1, True),
    ],
    ids=str,
)
async def test_a_failed_attempt_counts_as_far_as_it_may_have_been_counted(
    error: BaseException, requests: int, tokens: bool
) -> None:
    """Not sent: nothing. Refused: a request, no tokens. Unknown: all that was reserved."""
    rig = LimitsRig(requests_per_minute=100, tokens_per_minute=10_000, max_concurrency=3)
    rig.inner.outcomes.append(error)
    with pytest.raises(type(error)):
        await rig.answer(max_tokens=500)
    assert rig.left("requests_per_minute") == 100 - requests
    assert (rig.left("tokens_per_minute") < 9_500) is tokens
    assert rig.left("max_concurrency") == 3
    assert rig.status.in_flight == 0


async def test_a_stream_holds_its_slot_until_it_has_ended_and_keeps_the_estimate_where_it_was_left() -> None:
    """Nobody knows what a stream has used that its reader left."""
    rig = LimitsRig(tokens_per_minute=10_000, max_concurrency=1)
    reply = await rig.handler(rig.call(max_tokens=500))
    assert rig.left("max_concurrency") == 0
    await reply.end("abandoned")
    assert rig.left("max_concurrency") == 1
    assert rig.left("tokens_per_minute") < 9_500
    await reply.end("answered")
    assert rig.left("max_concurrency") == 1


async def test_keys_and_models_have_limits_of_their_own() -> None:
    """A key at its limit leaves the other one alone, and the limit of a model is counted for each key."""
    rig = LimitsRig({"m": {"rate_limits": {"requests_per_minute": 1}}}, requests_per_minute=10, burst="60s", queue=0)
    await rig.answer(key="k1")
    await rig.answer(key="k2")
    with pytest.raises(RateLimited, match="requests_per_minute \\(1\\)"):
        await rig.answer(key="k1")
    assert sorted((each.key, each.model, each.left) for each in rig.status.limits) == [
        ("k1", "", 9), ("k1", "m", 0), ("k2", "", 9), ("k2", "m", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        an_error("overloaded", status_code=529),
        an_error("server_error", status_code=503),
        an_error("timeout", code="first_token_timeout"),
        an_error("rate_limit", status_code=429),
    ],
    ids=lambda error: error.type,
)
async def test_an_overload_lets_fewer_calls_run_at_a_time(error: ProviderError) -> None:
    """Of ten calls one is told so: seven may run from now on, and it is said once."""
    rig = LimitsRig()
    for _ in range(9):
        rig.hold()
    rig.inner.outcomes.append(error)
    tasks = [rig.send() for _ in range(10)]
    await rig.clock.settle()
    assert rig.status.adaptive_concurrency == pytest.approx(7)
    (told,) = rig.seen.of(ProviderStateChanged)
    assert (told.subject, told.state) == ("alpha", "throttled")
    late = await rig.waiting()
    rig.release()
    await asyncio.gather(*tasks, late, return_exceptions=True)
    assert late.result().content == "hello"
    assert rig.status.in_flight == 0


@pytest.mark.parametrize(
    "error",
    [
        an_error("rate_limit", status_code=429, retry_after=5.0),
        an_error("server_error", status_code=500),
        an_error("invalid_request", status_code=400),
        an_error("timeout", code="deadline_exceeded"),
        an_error("overloaded", code="circuit_open"),
    ],
    ids=lambda error: f"{error.type}-{error.code}",
)
async def test_what_is_no_overload_limits_nothing(error: ProviderError) -> None:
    """A 429 that says when to come back lets the key rest; doing both would be one punishment too many."""
    rig = LimitsRig()
    rig.inner.outcomes.append(error)
    with pytest.raises(ProviderError):
        await rig.answer()
    assert rig.status.adaptive_concurrency is None


async def test_the_end_of_an_overload_is_told() -> None:
    """Answers raise the limit, and a minute in which nobody needed it ends it."""
    rig = LimitsRig()
    rig.inner.outcomes.append(an_error("overloaded"))
    with pytest.raises(ProviderError):
        await rig.answer()
    await rig.answer()
    assert rig.status.adaptive_concurrency == 2.0
    await rig.clock.advance(61)
    await rig.answer()
    assert [event.state for event in rig.seen.of(ProviderStateChanged)] == ["throttled", "unthrottled"]


async def test_switched_off_an_overload_changes_nothing() -> None:
    """`adaptive_concurrency: false`."""
    rig = LimitsRig(adaptive_concurrency=False)
    rig.inner.outcomes.append(an_error("overloaded"))
    with pytest.raises(ProviderError):
        await rig.answer()
    assert rig.upstream.limits.adaptive.limit == math.inf


async def test_two_models_of_a_provider_share_its_limits() -> None:
    """The limit of the provider is for all of them together."""
    rig = LimitsRig(requests_per_minute=60)
    await rig.answer()
    other = limits(
        a_target(ref=rig.target.ref._replace(model="n"), rate_limits={"requests_per_minute": 60}),
        rig.upstream,
        rig.events,
    )
    async with await other(Scripted())(rig.call()):
        pass
    assert rig.left("requests_per_minute") == 58
