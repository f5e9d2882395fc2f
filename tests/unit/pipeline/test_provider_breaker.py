"""Whether a provider or one of its models is left alone."""

import random

from core.llm.pipeline.provider_breaker import ProviderBreaker


class Models:
    """A provider's breaker with those of its models, told how attempts end as the layer does."""

    def __init__(self) -> None:
        self.provider = ProviderBreaker()
        self.rng = random.Random(0)

    def answer(self, model: str, now: float) -> None:
        for state in (self.provider, self.provider.model(model)):
            admission = state.admit(now)
            assert admission is not None
            state.succeeded(now, admission)

    def fail(self, model: str, now: float) -> str | None:
        """What one failed attempt at *model* opened."""
        narrow = self.provider.model(model)
        wide_admission, admission = self.provider.admit(now), narrow.admit(now)
        assert wide_admission is not None
        assert admission is not None
        if self.provider.model_failed(model, now, self.rng, wide_admission):
            narrow.released(admission)
            return "provider"
        return model if narrow.failed(now, self.rng, admission) else None


def test_F91_a_model_that_fails_alone_is_left_alone_without_its_provider() -> None:
    """Another model has just answered, so it is not the provider."""
    models = Models()
    models.answer("good", 0.0)
    assert [models.fail("bad", 5.0) for _ in range(3)] == [None, None, "bad"]
    assert models.provider.state == "closed"
    assert models.provider.rests_for("bad", 6.0)
    assert not models.provider.rests_for("good", 6.0)


def test_failures_of_two_models_are_the_providers() -> None:
    """Nobody answers any more: the first failure of the second model is enough."""
    models = Models()
    models.answer("one", 0.0)
    models.answer("two", 0.0)
    assert [models.fail("one", 5.0) for _ in range(3)] == [None, None, "one"]
    assert models.fail("two", 6.0) == "provider"
    # Four attempts are spent, so that the plan has room for one more within the minute.
    assert models.provider.open_until > 30.0


def test_a_model_that_answered_long_ago_vouches_for_nobody() -> None:
    """Half a minute later its provider may well be down."""
    models = Models()
    models.answer("good", 0.0)
    assert [models.fail("bad", 31.0) for _ in range(3)] == [None, None, "provider"]


def test_the_only_model_that_is_used_opens_its_provider() -> None:
    """There is nobody to tell them apart by; only one breaker opens."""
    models = Models()
    assert [models.fail("only", 0.0) for _ in range(3)] == [None, None, "provider"]
    assert models.provider.model("only").state == "closed"


def test_breakers_of_models_that_know_nothing_are_forgotten() -> None:
    """Names of models come from callers and must not pile up; what is open or in use stays."""
    models = Models()
    models.answer("good", 0.0)
    for _ in range(3):
        models.fail("bad", 1.0)
    models.provider.model("busy").admit(1.0)
    models.provider.forget_idle_models()
    assert set(models.provider.models) == {"bad", "busy"}


def test_F92_a_probe_out_of_turn_passes_both_breakers_or_none() -> None:
    """Where the provider or its model was asked a moment ago, nothing is granted and nothing is changed."""
    models = Models()
    models.answer("other", 0.0)
    for _ in range(3):
        models.fail("m", 1.0)
    narrow = models.provider.model("m")
    assert not models.provider.wake("m", 2.0)
    for _ in range(3):
        models.provider.admit(4.0)
        models.provider.failed(4.0, models.rng, "call")
    narrow.hold(100.0)
    models.provider.hold(100.0)
    assert not models.provider.wake("m", 12.0)
    assert narrow.rests(12.0)
    assert models.provider.wake("m", 14.5)
    assert (models.provider.admit(14.5), narrow.admit(14.5)) == ("probe", "probe")
    assert not models.provider.wake("unknown", 14.5)
