"""The pool of keys beside a model in plain words, under any order of calls, limits, refusals and edits."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.llm.common.events import EventBus
from core.llm.common.exceptions import ErrorScope, ErrorType, ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.key_states import LONGEST_GATE, KeyStates
from core.llm.pipeline.keys import KeyPool
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import an_error

KEYS = ("k1", "k2", "k3")
MODELS = ("m", "n")
Place = tuple[str, str]


class KeyPoolModel(RuleBasedStateMachine):
    """For each key and model: until when it rests. Nothing shortens that, and nobody uses it before."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.states = KeyStates()
        self.offered: tuple[str, ...] = KEYS
        config = ProviderConfig.model_validate({"api_keys": list(KEYS)})
        self.states.offer(config)
        self.pools = {
            model: KeyPool(config, self.states, ModelRef("alpha", model), self.clock, EventBus()) for model in MODELS
        }
        self.until: dict[Place, float] = {}

    def now(self) -> float:
        return self.clock.monotonic()

    def rest(self, place: Place, until: float) -> None:
        self.until[place] = max(self.until.get(place, 0.0), until)

    def ready(self, model: str) -> set[str]:
        return {key for key in self.offered if self.until.get((key, model), 0.0) <= self.now()}

    @rule(seconds=st.floats(0.0, 400.0))
    def time_passes(self, seconds: float) -> None:
        self.clock._monotonic += seconds

    @rule(kept=st.sets(st.sampled_from(KEYS), min_size=1))
    def an_edit_offers_other_keys(self, kept: set[str]) -> None:
        self.offered = tuple(sorted(kept))
        self.states.offer(ProviderConfig.model_validate({"api_keys": list(self.offered)}))
        for key, model in list(self.until):
            if key not in kept:
                del self.until[key, model]

    @rule(
        model=st.sampled_from(MODELS),
        end=st.sampled_from(["good", "rate_limit", "quota_exceeded", "authentication", "permission", "overloaded"]),
        scope=st.sampled_from(["model", "key", "provider"]),
        hint=st.floats(0.1, 2000.0),
    )
    def a_call(self, model: str, end: str, scope: ErrorScope, hint: float) -> None:
        ready = self.ready(model)
        if not ready:
            with pytest.raises(ProviderError, match=r"not sent|refused"):
                self.pools[model].pick()
            return
        secret, state = self.pools[model].pick()
        assert secret in ready
        if state.refused:
            self.pools[model].tried(state, works=end == "good")
        if end == "good":
            return
        kind: ErrorType = end  # type: ignore[assignment]  # one of the sampled types
        # The whole key is refused, or this model with it; each is asked less and less by itself.
        refusals = (self.states.of(secret) if end == "authentication" else state).refusals
        another = self.pools[model].note(state, an_error(kind, scope=scope, retry_after=hint))
        seconds = min(hint, LONGEST_GATE)
        if end in {"authentication", "permission"}:
            seconds = min(LONGEST_GATE, 60.0 * 2**refusals)
        wide = end in {"authentication", "overloaded"} or (end == "rate_limit" and scope == "provider")
        wide = wide or (end == "quota_exceeded")
        if scope == "model" and end in {"quota_exceeded", "overloaded"}:
            wide = False
        every_key = end == "overloaded" or (end == "rate_limit" and scope == "provider")
        for key in self.offered if every_key else (secret,):
            for name in MODELS if wide else (model,):
                self.rest((key, name), self.now() + seconds)
        assert another == (end != "permission" and bool(self.ready(model) - {secret}))

    @invariant()
    def they_agree_about_who_rests(self) -> None:
        for model in MODELS:
            resting = self.states.all_resting(self.offered, self.now(), model)
            assert (resting is not None) == (not self.ready(model))


TestKeyPoolModel = KeyPoolModel.TestCase
TestKeyPoolModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
