"""Keys that the provider refuses: set aside, asked less and less, and who finds out that one works again."""

import asyncio

import pytest

from core.llm.common.events import ProviderStateChanged
from core.llm.common.types import ModelRef
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.key_states import QUARANTINE
from tests.unit.pipeline.key_rig import Rig
from tests.unit.pipeline.support import an_answer, an_error


async def test_F17_a_refused_key_is_set_aside_and_the_next_one_is_ready() -> None:
    """After a 401 the other keys carry on; the bad one is asked again a minute later at the earliest."""
    rig = Rig("bad", "good")
    while rig.inner.keys[-1:] != ["good"]:
        await rig.call()
    error = await rig.failure(an_error("authentication", status_code=401))
    assert (error.code, error.retryable) == (NEXT_KEY, True)
    rig.inner.keys.clear()
    for _ in range(4):
        await rig.call()
    assert set(rig.inner.keys) == {"good"}
    assert [event.state for event in rig.seen.of(ProviderStateChanged)] == ["quarantined"]
    await rig.clock.advance(QUARANTINE)
    await rig.call()
    await rig.call()
    assert "bad" in rig.inner.keys


async def test_F17_the_only_key_refused_is_an_authentication_error_without_another_request() -> None:
    """Callers learn at once why, and the provider is not asked again and again with a key it refused."""
    rig = Rig("bad")
    first = await rig.failure(an_error("authentication", status_code=401, message="bad key"))
    assert first.code != NEXT_KEY
    assert not first.retryable
    await rig.clock.advance(10)
    second = await rig.failure()
    assert (second.type, second.code, second.retryable) == ("authentication", "key_refused", False)
    assert "10 s ago: bad key" in second.message
    assert rig.inner.calls == 1


async def test_F18_a_key_without_permission_is_not_replaced_but_left_for_the_model() -> None:
    """The call is over; later ones for this model use another key, those for other models the same one."""
    rig = Rig("poor", "rich")
    error = await rig.failure(an_error("permission", status_code=403))
    refused = rig.inner.keys[0]
    assert (error.type, error.code, error.retryable) == ("permission", None, False)
    assert refused not in await rig.calls(4)
    assert rig.changes() == ["quarantined"]


async def test_F17_a_key_that_stays_bad_is_told_once_and_asked_less_and_less() -> None:
    """After one minute, then two, four, eight, and every quarter of an hour; one event until it works again."""
    rig, waits = Rig("bad"), []
    for _ in range(6):
        await rig.failure(an_error("authentication", status_code=401))
        waits.append(rig.states.of("bad").resting_until - rig.clock.monotonic())
        await rig.clock.advance(waits[-1])
    assert waits == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    assert rig.changes() == ["quarantined"]
    await rig.call()
    await rig.failure(an_error("authentication", status_code=401))
    assert rig.changes() == ["quarantined", "ready", "quarantined"]


async def test_F17_a_key_that_has_been_bad_for_weeks_is_refused_as_on_the_first_day() -> None:
    """Its callers get the error of the provider, and it is asked four times an hour."""
    rig = Rig("bad")
    for _ in range(2000):
        error = await rig.failure(an_error("authentication", status_code=401))
        assert error.type == "authentication"
        await rig.clock.advance(900.0)
    assert rig.inner.calls == 2000


async def test_F17_one_attempt_finds_out_for_all_whether_a_refused_key_is_accepted_again() -> None:
    """A crowd that waits for a key's time to be over would else be refused one by one, each with a request."""
    rig = Rig("bad")
    await rig.failure(an_error("authentication", status_code=401))
    await rig.clock.advance(QUARANTINE)
    refused = an_error("authentication", status_code=401)
    rig.inner.outcomes.extend([refused] * 20)
    told = await asyncio.gather(*(rig.call() for _ in range(20)), return_exceptions=True)
    assert {getattr(error, "type", None) for error in told} == {"authentication"}
    assert rig.inner.calls == 2
    rig.inner.outcomes.clear()
    await rig.clock.advance(2 * QUARANTINE)
    assert await rig.calls(3) == ["bad"] * 3
    assert rig.changes() == ["quarantined", "ready"]


async def test_F17_while_one_attempt_finds_that_out_nobody_else_is_sent() -> None:
    """Its answer may take long; until it is there the key is no better than before."""
    rig, arrived = Rig("bad"), asyncio.Event()
    await rig.failure(an_error("authentication", status_code=401))
    await rig.clock.advance(QUARANTINE)

    async def slow(call: Call) -> Reply:
        await arrived.wait()
        return Reply(call, response=an_answer())

    rig.inner.outcomes.append(slow)
    trial = asyncio.create_task(rig.call())
    await rig.clock.settle()
    assert (await rig.failure()).code == "key_refused"
    assert rig.states.all_resting(["bad"], rig.clock.monotonic()) is not None
    assert rig.states.latest > rig.clock.monotonic()
    assert rig.inner.calls == 2
    arrived.set()
    await trial
    assert await rig.calls(2) == ["bad"] * 2


@pytest.mark.parametrize("ending", [asyncio.CancelledError(), an_error("network_error")])
async def test_F17_an_attempt_that_finds_nothing_out_leaves_that_to_the_next(ending: BaseException) -> None:
    """Nobody else waits for a caller who has left."""
    rig = Rig("key")
    await rig.failure(an_error("authentication", status_code=401))
    await rig.clock.advance(QUARANTINE)
    rig.inner.outcomes.append(ending)
    with pytest.raises(type(ending)):
        await rig.call()
    assert await rig.calls(2) == ["key"] * 2


async def test_F18_what_the_whole_key_is_told_during_a_trial_holds_after_it() -> None:
    """Another model of the same key has met the limit of them all; that this one is allowed again changes nothing."""
    rig = Rig("key")
    other = Rig("key", states=rig.states, clock=rig.clock, target=ModelRef("alpha", "n"))
    await rig.failure(an_error("permission", status_code=403))
    await rig.clock.advance(QUARANTINE)

    async def meanwhile(call: Call) -> Reply:
        await other.failure(an_error("rate_limit", scope="provider", retry_after=20.0))
        return Reply(call, response=an_answer())

    rig.inner.outcomes.append(meanwhile)
    await rig.call()
    error = await rig.failure()
    assert (error.type, error.code) == ("rate_limit", "gated")
    assert error.retry_after == pytest.approx(20.0)


async def test_F17_when_every_key_is_refused_one_error_says_so() -> None:
    """No request is made, and the message names what to correct."""
    rig = Rig("bad", "worse")
    for _ in range(2):
        await rig.failure(an_error("authentication", status_code=401, message="unknown key"))
    error = await rig.failure()
    assert (error.type, error.code, error.retryable) == ("authentication", "key_refused", False)
    assert error.message == "the provider refused all 2 keys: unknown key. Correct api_keys"
    assert rig.inner.calls == 2


async def test_a_refused_key_that_is_back_before_the_others_is_waited_for_like_any_limit() -> None:
    """It is not known to be bad for good, and the others are not bad at all: whoever can wait may."""
    rig = Rig("bad", "spent")
    await rig.failure(an_error("authentication", status_code=401))
    await rig.failure(an_error("quota_exceeded"))
    error = await rig.failure()
    assert (error.type, error.code, error.retryable) == ("rate_limit", "gated", True)
    assert error.retry_after == pytest.approx(QUARANTINE)


async def test_where_some_keys_are_refused_and_others_rest_the_error_tells_when_the_first_is_back() -> None:
    """A call that can wait, waits for that one."""
    rig = Rig("bad", "busy")
    await rig.failure(an_error("authentication", status_code=401))
    await rig.failure(an_error("rate_limit", retry_after=20.0))
    error = await rig.failure()
    assert (error.type, error.code) == ("rate_limit", "gated")
    assert error.retry_after == pytest.approx(20.0)
    assert "every one of the 2 keys rests" in error.message
