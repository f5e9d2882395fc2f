"""The breaker of a provider with those of its models, and which of them a failure opens."""

import random
from typing import Final

from core.llm.pipeline.breaker import Admission, Breaker

_MODELS_KEPT: Final = 8192
"""More than the targets of all configurations that live at the same time, which hold the breakers of their models."""


class ProviderBreaker(Breaker):
    """The breaker of a provider, with those of its models.

    The provider's opens where the failures may be its own: those of the network, and those of its models unless it is
    one model alone that fails while another one answers.
    """

    OTHERS_ANSWERED = 30.0
    """Seconds for which the answer of one model vouches for the provider of another one that fails."""

    __slots__ = ("_models", "_suspects")

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, Breaker] = {}
        self._suspects: set[str] = set()

    def model(self, name: str) -> Breaker:
        """The breaker of the model *name*."""
        found = self._models.get(name)
        if found is None:
            if len(self._models) >= _MODELS_KEPT:
                self._make_room()
            found = self._models[name] = Breaker()
        return found

    @property
    def models(self) -> dict[str, Breaker]:
        """The breakers of the models that were used, by name."""
        return self._models

    def rests_for(self, model: str, now: float) -> bool:
        """Whether an attempt at *model* would be refused now because a breaker is open."""
        if self.rests(now):
            return True
        narrow = self._models.get(model)
        return narrow is not None and narrow.rests(now)

    def wait_for(self, model: str, now: float) -> float:
        """Seconds until an attempt at *model* has a chance of being admitted, where a breaker is in its way."""
        return max((one.wait(now) for one in self._in_the_way(model, now)), default=0.0)

    def full_for(self, model: str, now: float) -> Breaker | None:
        """The breaker that would refuse an attempt at *model* now because its load comes back in steps."""
        if self.is_full(now):
            return self
        narrow = self._models.get(model)
        return narrow if narrow is not None and narrow.is_full(now) else None

    def refuses(self, model: str, now: float) -> bool:
        """Whether every attempt at *model* would be refused now: who is only slow is asked where nobody is left."""
        if self.rests(now):
            return True
        narrow = self._models.get(model)
        return narrow is not None and not narrow.slow and narrow.rests(now)

    def may_wake(self, model: str, now: float) -> bool:
        """Whether `wake` would be granted."""
        in_the_way = self._in_the_way(model, now)
        return bool(in_the_way) and all(one.may_try_early(now) for one in in_the_way)

    def wake(self, model: str, now: float) -> bool:
        """Admit one probe at *model* out of turn, past every breaker that is in its way; granted now and then only."""
        if not self.may_wake(model, now):
            return False
        for one in self._in_the_way(model, now):
            one.try_early(now)
        return True

    def _in_the_way(self, model: str, now: float) -> list[Breaker]:
        return [one for one in (self, self._models.get(model)) if one is not None and one.rests(now)]

    def model_failed(self, model: str, now: float, rng: random.Random, admission: Admission) -> bool:
        """An attempt at *model* failed, for a reason of the model or of the provider; `True` where this opens."""
        # The models that have failed since any of them has answered.
        if not self._consecutive:
            self._suspects.clear()
        self._suspects.add(model)
        alone = admission != "probe" and len(self._suspects) == 1 and self._another_answers(model, now)
        return self.failed(now, rng, admission, may_open=not alone)

    def forget_idle_models(self) -> None:
        """Drop the breakers that know nothing worth keeping, so that names do not pile up."""
        for name, one in list(self._models.items()):
            if one.state == "closed" and not one.in_flight:
                del self._models[name]

    def _make_room(self) -> None:
        """Drop the oldest breakers, those that are open after those that know nothing."""
        unused = [name for name, one in self._models.items() if not one.in_flight]
        unused.sort(key=lambda name: self._models[name].state != "closed")
        for name in unused[: _MODELS_KEPT // 2]:
            del self._models[name]

    def _another_answers(self, model: str, now: float) -> bool:
        earliest = now - self.OTHERS_ANSWERED
        return any(one.answered_at > earliest for name, one in self._models.items() if name != model)
