"""The state of a provider, read off what is remembered about it."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.provider import HealthReport
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.runtime.condition import Condition, condition
from tests.unit.pipeline.support import an_error

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Rig:
    """One provider with two keys."""

    def __init__(self, *keys: str) -> None:
        self.record = Upstream(0.0)
        self.config = ProviderConfig.model_validate({"api_keys": keys or ("k1", "k2")})

    def at(self, now: float) -> Condition:
        return condition(self.record, self.config, now)

    def rest(self, key: str, until: float, *, model: str | None = None, **fields: Any) -> None:
        state = self.record.keys.of(key)
        (state if model is None else state.at(model)).rest(until, "told so", "rate_limit", since=1.0, **fields)

    def fail(self, now: float, times: int = 1) -> None:
        for _ in range(times):
            self.record.failed(an_error("server_error", message="boom"), NOW, now)

    def open(self, now: float, model: str | None = None) -> None:
        breaker = self.record.breaker if model is None else self.record.breaker.model(model)
        for _ in range(3):
            breaker.admit(now)
            breaker.failed(now, random.Random(0), "call")


def test_who_has_done_nothing_wrong_is_ready() -> None:
    """And one failure is told as the reason, without being a state."""
    rig = Rig()
    assert rig.at(0.0) == Condition("ready")
    rig.fail(1.0)
    assert (rig.at(2.0).state, rig.at(2.0).reason) == ("ready", "alpha/m: boom")


def test_who_kept_failing_is_open_until_its_probes_are_answered() -> None:
    """With the moment since when, and how long until it is tried again."""
    rig = Rig()
    rig.fail(10.0, 3)
    rig.open(10.0)
    found = rig.at(11.0)
    assert (found.state, found.since, found.serves) == ("open", 10.0, False)
    assert found.next_try == pytest.approx(rig.record.breaker.open_until - 11.0)
    assert found.reason.startswith("left alone for at most")
    later = rig.at(100.0)
    assert (later.state, later.next_try) == ("open", 0.0)
    assert later.reason.startswith("the next call finds out")


@pytest.mark.parametrize(("refused", "state", "serves"), [(False, "resting", True), (True, "quarantined", False)])
def test_who_has_no_key_to_use_rests_or_is_quarantined(refused: bool, state: str, serves: bool) -> None:
    """A wait is over by itself, a refused key is not."""
    rig = Rig()
    for key in ("k1", "k2"):
        rig.rest(key, 61.0, refused=refused)
    found = rig.at(11.0)
    assert (found.state, found.since, found.next_try, found.serves) == (state, 1.0, 50.0, serves)
    assert len(found.parts) == 2


def test_who_has_a_key_or_model_less_is_degraded_and_says_which() -> None:
    """Calls are answered; a part is out of use."""
    rig = Rig()
    rig.rest("k1", 30.0, refused=True)
    rig.rest("k2", 20.0, model="m1")
    rig.record.keys.of("k2").at("m2")
    rig.open(5.0, model="slow")
    found = rig.at(6.0)
    assert found.state == "degraded"
    assert found.serves
    ids = [rig.record.keys.of(key).id for key in ("k1", "k2")]
    model, first, second = found.parts
    assert model.startswith("model slow: left alone for at most ")
    assert first == f"key {ids[0]}: refused for 24 s more: told so"
    assert second == f"key {ids[1]} for model m1: rests for 14 s more: told so"


def test_failing_calls_come_before_failing_checks() -> None:
    """What happens to calls is what counts; both tell since when."""
    rig = Rig()
    rig.record.check = HealthReport(False, "connection refused")
    rig.record.unhealthy_since = 3.0
    unhealthy = rig.at(5.0)
    assert (unhealthy.state, unhealthy.reason, unhealthy.since) == ("unhealthy", "connection refused", 3.0)
    rig.fail(7.0, 2)
    failing = rig.at(9.0)
    assert (failing.state, failing.since) == ("failing", 7.0)


def test_a_provider_without_keys_can_rest_too() -> None:
    """It was told to wait; there is no key to name."""
    rig = Rig("")
    rig.record.keys.of(None).at("m").rest(30.0, "told so", "rate_limit")
    rig.record.keys.of(None).at("n")
    found = rig.at(10.0)
    assert found.state == "degraded"
    assert found.parts == ("all calls for model m: rests for 20 s more: told so",)
