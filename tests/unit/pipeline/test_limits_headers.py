"""What a provider says in its headers corrects our own count, and stands in for limits that nobody has written down."""

import asyncio

import pytest

from core.llm.common.exceptions import RateLimited
from tests.unit.pipeline.limits_rig import LimitsRig


def told(what: str, limit: int, remaining: int, reset: str = "1s") -> dict[str, str]:
    """Headers in the style of OpenAI."""
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(remaining),
        f"x-ratelimit-reset-{what}": reset,
    }


async def test_somebody_else_who_uses_the_key_is_noticed() -> None:
    """The provider says that two requests are left, so the third waits although we have sent only one."""
    rig = LimitsRig(requests_per_minute=60, queue=0)
    rig.will_use(10, told("requests", 60, 2))
    for _ in range(3):
        await rig.answer()
    with pytest.raises(RateLimited):
        await rig.answer()


async def test_more_than_we_count_is_no_news() -> None:
    """Other containers with a share of the quota each would otherwise use it up together."""
    rig = LimitsRig(requests_per_minute=60, burst="60s", queue=0)
    for _ in range(60):
        rig.will_use(10, told("requests", 5000, 4999))
        await rig.answer()
    with pytest.raises(RateLimited):
        await rig.answer()


async def test_calls_in_flight_are_not_promised_twice() -> None:
    """What was reserved since the provider counted is taken from what it said is left."""
    rig = LimitsRig(requests_per_minute=60, queue=0)
    rig.will_use(10, told("requests", 60, 3))
    reply = await rig.handler(rig.call())
    for _ in range(3):
        rig.hold()
    running = [rig.send() for _ in range(3)]
    await rig.clock.settle()
    with pytest.raises(RateLimited):
        await rig.answer()
    rig.release()
    await asyncio.gather(*running)
    await reply.end("answered")


@pytest.mark.parametrize(
    "headers",
    [
        told("requests", -1, -1, "0"),
        told("requests", 0, 0),
        told("requests", 60, -1),
        {"x-ratelimit-remaining-requests": "0"},
    ],
)
async def test_F30_nonsense_leaves_the_limiter_unchanged(headers: dict[str, str]) -> None:
    """Azure sends -1 where it means nothing."""
    rig = LimitsRig(requests_per_minute=60)
    rig.will_use(10, headers)
    await rig.answer()
    before = rig.status.limits
    assert [(each.name, each.limit, each.left) for each in before] == [("requests_per_minute", 60, 59)]
    assert rig.upstream.limits.headroom(rig.clock.monotonic()) == pytest.approx(0.9)


async def test_nothing_left_of_a_limit_that_nobody_configured_is_obeyed() -> None:
    """Without a word in the configuration the next call waits instead of running into a refusal."""
    rig = LimitsRig()
    rig.will_use(10, told("requests", 30, 0, "60s"))
    await rig.answer()
    (learnt,) = rig.status.limits
    assert (learnt.name, learnt.limit, learnt.model, learnt.learnt) == ("requests_per_minute", 30, "m", True)
    task = await rig.waiting()
    await rig.clock.advance(2.1)
    await task


async def test_a_provider_that_raises_its_limit_is_followed_where_nobody_configured_one() -> None:
    """A new tier is a matter of one answer."""
    rig = LimitsRig()
    rig.will_use(10, told("requests", 30, 0))
    await rig.answer()
    await rig.clock.advance(10)
    rig.will_use(10, told("requests", 3000, 2999))
    await rig.answer()
    (learnt,) = rig.status.limits
    assert learnt.limit == 3000


async def test_a_limit_that_is_not_reached_is_not_counted_unless_asked_for() -> None:
    """With `headers: lower` a provider that has enough left costs nothing."""
    rig = LimitsRig()
    rig.will_use(10, told("requests", 30, 29))
    await rig.answer()
    assert rig.status.limits == ()


async def test_auto_takes_the_limits_from_the_provider() -> None:
    """Those that are written and those that are not."""
    rig = LimitsRig(headers="auto", requests_per_minute=10)
    rig.will_use(10, {**told("requests", 500, 499), **told("tokens", 30_000, 29_000)})
    await rig.answer()
    assert {each.name: each.limit for each in rig.status.limits} == {
        "requests_per_minute": 500,
        "tokens_per_minute": 30_000,
    }


async def test_ignored_headers_change_nothing() -> None:
    """`headers: ignore`."""
    rig = LimitsRig(headers="ignore", requests_per_minute=60)
    rig.will_use(10, told("requests", 60, 0))
    await rig.answer()
    assert rig.upstream.limits.headroom(rig.clock.monotonic()) == pytest.approx(0.9)


async def test_the_limit_of_the_model_is_corrected_before_that_of_the_provider() -> None:
    """Vendors speak of the model that answered."""
    rig = LimitsRig({"m": {"rate_limits": {"requests_per_minute": 60}}}, requests_per_minute=600)
    rig.will_use(10, told("requests", 60, 1))
    await rig.answer()
    now = rig.clock.monotonic()
    assert rig.upstream.limits.headroom(now) > 0.9
    assert rig.upstream.limits.headroom(now, "m") == pytest.approx(0.1)
