"""Which credential an attempt gets, and which ones rest."""

import pytest

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.handler import Handler
from core.llm.pipeline.keys import LONGEST_GATE, QUARANTINE, QUOTA_GATE, KeyPool, KeyStates, keys
from core.llm.testing import EventRecorder, FakeClock, SecretCanary
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, an_error, answered


class Rig:
    """A pool of keys before a scripted handler."""

    def __init__(self, *secrets: str, states: KeyStates | None = None, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.events = EventBus()
        self.seen = EventRecorder(self.events)
        self.inner = Scripted()
        self.states = states or KeyStates()
        pool = KeyPool(secrets, self.states, ALPHA, self.clock, self.events)
        self.handler: Handler = keys(pool)(self.inner)

    async def call(self) -> str:
        return (await answered(self.handler, a_call(clock=self.clock))).content

    async def failure(self, error: ProviderError | None = None) -> ProviderError:
        """What one call raises; the provider raises *error*."""
        if error is not None:
            self.inner.outcomes.append(error)
        with pytest.raises(ProviderError) as caught:
            await self.call()
        return caught.value


async def test_keys_take_turns() -> None:
    """Three keys carry a third of the calls each."""
    rig = Rig("k1", "k2", "k3")
    for _ in range(6):
        await rig.call()
    assert sorted(map(str, rig.inner.keys)) == ["k1", "k1", "k2", "k2", "k3", "k3"]
    assert rig.inner.keys[:3] == rig.inner.keys[3:]


async def test_a_provider_without_keys_is_called_without_one() -> None:
    """No key is invented for a server that wants none."""
    rig = Rig()
    await rig.call()
    assert rig.inner.keys == [None]


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


async def test_F96_a_rate_limit_rests_only_the_key_that_hit_it() -> None:
    """The other keys are used meanwhile, and the first again once its time is over."""
    rig = Rig("k1", "k2")
    error = await rig.failure(an_error("rate_limit", retry_after=30.0))
    assert error.code == NEXT_KEY
    limited = rig.inner.keys[0]
    for _ in range(4):
        await rig.call()
    assert limited not in rig.inner.keys[1:]
    await rig.clock.advance(30.0)
    await rig.call()
    await rig.call()
    assert limited in rig.inner.keys[5:]


@pytest.mark.parametrize("secrets", [(), ("only",)])
async def test_F23_nobody_reaches_an_upstream_before_it_said(secrets: tuple[str, ...]) -> None:
    """All calls are refused locally until the hint is over, and say how long that is."""
    rig = Rig(*secrets)
    await rig.failure(an_error("rate_limit", retry_after=2.0))
    await rig.clock.advance(0.5)
    error = await rig.failure()
    assert (error.code, error.retryable) == ("gated", True)
    assert 1.5 <= (error.retry_after or 0) <= 1.5001
    await rig.clock.advance(1.5)
    assert await rig.call() == "hello"
    assert rig.inner.calls == 2


async def test_F34_an_overloaded_provider_rests_with_all_its_keys() -> None:
    """A 503 with a hint is about the server: the next key would only hit the same one too early."""
    rig = Rig("k1", "k2")
    error = await rig.failure(an_error("overloaded", status_code=503, retry_after=5.0))
    assert error.code != NEXT_KEY
    assert (await rig.failure()).code == "gated"
    assert rig.inner.calls == 1


async def test_F20_a_used_up_quota_rests_its_key_for_a_quarter_of_an_hour() -> None:
    """Without a hint the key rests fifteen minutes, although its status is 429."""
    rig = Rig("only")
    await rig.failure(an_error("quota_exceeded", status_code=429))
    error = await rig.failure()
    assert error.retry_after == QUOTA_GATE
    assert "quota" in error.message


async def test_F93_a_second_hint_never_shortens_the_first() -> None:
    """Two calls in flight are told to wait 30 s and 2 s: it is 30 s, for the reason of the 30 s."""
    rig = Rig("only")
    one, two = a_call(clock=rig.clock), a_call(clock=rig.clock)
    first, second = await rig.handler(one), await rig.handler(two)
    await first.end("failed", an_error("quota_exceeded", retry_after=30.0))
    await second.end("failed", an_error("rate_limit", retry_after=2.0))
    error = await rig.failure()
    assert error.retry_after == pytest.approx(30.0)
    assert "quota" in error.message


async def test_F27_no_hint_rests_a_key_for_longer_than_a_quarter_of_an_hour() -> None:
    """A provider that asks for a day is asked again in fifteen minutes."""
    rig = Rig("only")
    await rig.failure(an_error("rate_limit", retry_after=86_400.0))
    assert (await rig.failure()).retry_after == LONGEST_GATE


async def test_F116_what_is_known_about_a_key_survives_a_reload_and_a_new_key_starts_afresh() -> None:
    """The pool of the next configuration knows the old key by its fingerprint."""
    rig = Rig("old")
    await rig.failure(an_error("rate_limit", retry_after=30.0))
    same = Rig("old", states=rig.states, clock=rig.clock)
    assert (await same.failure()).code == "gated"
    changed = Rig("new", states=rig.states, clock=rig.clock)
    assert await changed.call() == "hello"


async def test_F61_an_error_after_the_first_output_stays_final_whatever_other_keys_there_are() -> None:
    """The key rests, but the broken stream is not said to be worth repeating."""
    rig = Rig("k1", "k2")
    reply = await rig.handler(a_call(clock=rig.clock))
    error = an_error("rate_limit", code="slow_down", retry_after=30.0, retryable=False)
    await reply.end("failed", error)
    assert (error.code, error.retryable, error.retry_after) == ("slow_down", False, 30.0)
    for _ in range(3):
        await rig.call()
    assert len(set(rig.inner.keys[1:])) == 1


async def test_S13_neither_errors_nor_events_hold_a_part_of_the_key() -> None:
    """Keys are told apart by a fingerprint."""
    canary = SecretCanary()
    rig = Rig(canary.secret)
    errors = [await rig.failure(an_error("authentication")), await rig.failure()]
    canary.check(errors, rig.seen.events, repr(rig.states.of(canary.secret)))
    assert rig.states.of(canary.secret).id in rig.seen.last(ProviderStateChanged).subject


async def test_F33_the_refusal_of_an_open_breaker_rests_no_key() -> None:
    """The breaker says when its next probe is due; that is no word of the provider."""
    rig = Rig("only")
    error = await rig.failure(an_error("overloaded", code="circuit_open", retryable=False, retry_after=5.0))
    assert error.code == "circuit_open"
    assert await rig.call() == "hello"
