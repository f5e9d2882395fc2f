"""Which credential an attempt gets, and which ones rest."""

from typing import Any

import pytest

from core.llm.common.events import ProviderStateChanged
from core.llm.common.exceptions import ErrorScope, ErrorType, ProviderError
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.key_states import LONGEST_GATE, KeyStates
from core.llm.pipeline.keys import QUOTA_GATE, UNHINTED_GATE
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import SecretCanary
from tests.unit.pipeline.key_rig import Rig
from tests.unit.pipeline.support import ALPHA, a_call, an_error


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
    assert (error.type, error.retryable, error.retry_after) == ("quota_exceeded", False, QUOTA_GATE)
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


async def test_keys_are_used_by_their_weights_and_in_turn() -> None:
    """Three of four calls for a weight of three, and never all of them in one go."""
    rig = Rig(api_keys=[{"key": "big", "weight": 3}, "small"])
    assert await rig.calls(4) == ["big", "big", "small", "big"]
    assert (await rig.calls(400)).count("small") == 100


async def test_the_weights_hold_among_the_keys_that_are_left() -> None:
    """While one rests the others share its calls by their own weights."""
    rig = Rig(api_keys=[{"key": "a", "weight": 5}, {"key": "b", "weight": 2}, {"key": "c", "weight": 1}])
    rig.states.of("a").rest(rig.clock.monotonic() + 60.0, "told to wait", "rate_limit")
    used = await rig.calls(300)
    assert (used.count("a"), used.count("b"), used.count("c")) == (0, 200, 100)


async def test_a_peek_shows_the_key_that_comes_next_and_uses_up_nobodys_turn() -> None:
    """A limit that counts by the key looks before the key is picked; the weights hold all the same."""
    rig = Rig(api_keys=[{"key": "a", "weight": 5}, {"key": "b", "weight": 2}, {"key": "c", "weight": 1}])
    rig.states.of("b").rest(rig.clock.monotonic() + 60.0, "told to wait", "rate_limit")
    for _ in range(12):
        seen, _ = rig.pool.peek()
        assert await rig.calls(1) == [seen]
    assert rig.inner.keys.count("a") == 10


async def test_a_peek_where_every_key_rests_shows_the_one_that_is_back_first() -> None:
    """A call that waits, waits for that one."""
    rig = Rig("late", "soon", "later")
    for secret, seconds in (("late", 20.0), ("soon", 5.0), ("later", 60.0)):
        rig.states.of(secret).rest(rig.clock.monotonic() + seconds, "told to wait", "rate_limit")
    assert rig.pool.peek()[0] == "soon"


async def test_a_failure_that_is_no_keys_fault_leaves_the_turns_as_they_were() -> None:
    """An outage must not send every call through the first key."""
    rig = Rig("a", "b")
    used = []
    for _ in range(6):
        await rig.failure(an_error("network_error"))
        used.append(rig.inner.keys[-1])
    assert used == ["a", "b"] * 3


async def test_a_rest_is_one_event_that_says_whose_for_how_long_and_why() -> None:
    """Of one key for one model, or of the whole key; who rests already is no news."""
    rig = Rig("k1")
    for seconds in (30.0, 40.0):
        rig.pool.note(rig.states.of("k1").at("m"), an_error("rate_limit", retry_after=seconds))
    (event,) = rig.seen.of(ProviderStateChanged)
    key = rig.states.of("k1").id
    assert (event.subject, event.state, event.next_try) == (f"alpha/m (key {key})", "gated", 30.0)
    assert event.reason == "the provider asked to wait (rate_limit)"
    rig.pool.note(rig.states.of("k1").at("m"), an_error("quota_exceeded"))
    assert rig.seen.last(ProviderStateChanged).subject == f"alpha (key {key})"


async def test_a_rate_limit_of_the_whole_provider_without_a_hint_rests_nobody_for_long() -> None:
    """The next key is tried at once, as after any limit that names no time."""
    rig = Rig("k1", "k2")
    error = await rig.failure(an_error("rate_limit", scope="provider", retryable=True))
    assert error.code == NEXT_KEY
    assert len(set(rig.inner.keys + await rig.calls(1))) == 2


async def test_the_trace_names_the_key_of_an_attempt_and_none_where_there_is_none() -> None:
    """By its fingerprint."""
    for rig in (Rig("k1"), Rig()):
        call = a_call(clock=rig.clock)
        call.attempt = AttemptTrace(1, ALPHA, 0.0)
        await rig.handler(call)
        secret = rig.inner.keys[-1]
        assert call.attempt.key_id == (rig.states.of(secret).id if secret else None)


async def test_F96_a_limit_without_a_hint_moves_on_to_another_key_for_a_moment() -> None:
    """With another key ready there is no reason to wait; alone, the key is left to the back-off."""
    rig = Rig("k1", "k2")
    error = await rig.failure(an_error("rate_limit"))
    limited = rig.inner.keys[0]
    assert error.code == NEXT_KEY
    assert limited not in await rig.calls(3)
    await rig.clock.advance(UNHINTED_GATE)
    assert limited in await rig.calls(2)
    alone = Rig("only")
    assert (await alone.failure(an_error("rate_limit"))).code != NEXT_KEY
    assert await alone.call() == "hello"


@pytest.mark.parametrize(
    ("kind", "scope", "same_model", "other_model"),
    [
        ("rate_limit", "key", True, False),
        ("rate_limit", "model", True, False),
        ("rate_limit", "provider", True, True),
        ("quota_exceeded", "key", True, True),
        ("quota_exceeded", "model", True, False),
        ("overloaded", "provider", True, True),
        ("overloaded", "model", True, False),
        ("permission", "key", True, False),
        ("authentication", "key", True, True),
    ],
)
async def test_F96_what_rests_for_one_model_is_used_for_another(
    kind: ErrorType, scope: ErrorScope, same_model: bool, other_model: bool
) -> None:
    """Limits are per model nearly everywhere; a refused key, a used-up account and a busy server are not."""
    rig = Rig("only")
    other = Rig("only", states=rig.states, clock=rig.clock, target=ModelRef("alpha", "other"))
    await rig.failure(an_error(kind, scope=scope, retry_after=30.0))
    now = rig.clock.monotonic()
    assert (rig.states.all_resting(["only"], now, "m") is not None) is same_model
    assert (rig.states.all_resting(["only"], now, "other") is not None) is other_model
    if other_model:
        assert (await other.failure()).code in {"gated", "key_refused"}
    else:
        assert await other.call() == "hello"


async def test_F100_a_request_that_exceeds_the_limit_by_itself_rests_no_key() -> None:
    """It never fits, and the next one may."""
    rig = Rig("only")
    await rig.failure(an_error("rate_limit", scope="request", retryable=False, retry_after=30.0))
    assert await rig.call() == "hello"


async def test_F117_the_next_attempt_uses_the_keys_of_the_edited_configuration() -> None:
    """Also in a call that began on the old one: its retry must not bring a withdrawn key back."""
    rig = Rig("old")
    rig.states.offer(rig.config)
    assert await rig.calls(2) == ["old", "old"]
    rig.states.offer(ProviderConfig.model_validate({"api_keys": ["new"], "timeouts": {"total": "9s"}}))
    assert await rig.calls(2) == ["new", "new"]
    late = Rig("old", states=rig.states, clock=rig.clock)
    assert await late.calls(1) == ["new"]


async def test_F117_an_attempt_whose_key_is_withdrawn_meanwhile_is_made_again_with_the_new_one() -> None:
    """The provider refuses the old key at once; nothing is known against the new one."""
    rig = Rig("old")
    rig.states.offer(rig.config)

    def withdrawn(_: Any) -> Any:
        rig.states.offer(ProviderConfig.model_validate({"api_key": "new"}))
        raise an_error("authentication", status_code=401)

    rig.inner.outcomes.append(withdrawn)
    with pytest.raises(ProviderError) as caught:
        await rig.call()
    assert (caught.value.code, caught.value.retryable) == (NEXT_KEY, True)
    assert await rig.calls(1) == ["new"]


@pytest.mark.parametrize(
    "change", [{"base_url": "https://elsewhere.example"}, {"proxy": "http://p:1"}, {"headers": {"a": "b"}}]
)
async def test_S13_a_new_key_is_never_sent_to_the_address_of_the_old_configuration(change: dict[str, Any]) -> None:
    """An edit that moves the provider as well leaves running calls on the old key."""
    rig = Rig("old")
    rig.states.offer(rig.config)
    await rig.call()
    rig.states.offer(ProviderConfig.model_validate({"api_keys": ["new"], **change}))
    assert await rig.calls(2) == ["old", "old"]


async def test_F116_a_key_that_is_still_offered_keeps_its_rest_and_one_that_is_gone_is_forgotten() -> None:
    """What a provider has said about a key outlives an edit; what nobody uses takes no room."""
    rig = Rig("kept", "gone")
    rig.states.offer(rig.config)
    until = rig.clock.monotonic() + 60.0
    rig.states.of("kept").rest(until, "told to wait", "rate_limit")
    rig.states.of("gone").rest(until, "told to wait", "rate_limit")
    rig.states.offer(ProviderConfig.model_validate({"api_keys": ["kept", "fresh"]}))
    assert set(await rig.calls(3)) == {"fresh"}
    assert rig.states.of("kept").resting_until == until
    assert rig.states.of("gone").resting_until == 0.0


async def test_F116_a_server_without_keys_that_was_told_to_wait_is_waited_for_after_an_edit_too() -> None:
    """It has no key that could be kept, and its word holds all the same."""
    rig = Rig()
    rig.states.offer(rig.config)
    await rig.failure(an_error("overloaded", status_code=503, retry_after=30.0))
    rig.states.offer(ProviderConfig.model_validate({"api_keys": [], "max_retries": 1}))
    assert rig.states.all_resting([], rig.clock.monotonic(), "m") is not None
    assert (await rig.failure()).code == "gated"


def test_whoever_looks_only_until_the_last_rest_is_over_misses_none() -> None:
    """A short rest after a long one does not hide the long one."""
    states = KeyStates()
    states.of("long").rest(60.0, "told to wait", "rate_limit")
    states.of("short").rest(10.0, "told to wait", "rate_limit")
    assert states.latest == 60.0


async def test_names_of_models_do_not_pile_up_at_a_key() -> None:
    """Callers may ask for any name; what rests is kept."""
    state = KeyStates().of("key")
    state.at("busy").rest(100.0, "told to wait", "rate_limit")
    for number in range(5000):
        state.at(f"m{number}")
    assert len(state._models) <= 1001
    assert state.at("busy").resting_until == 100.0
