"""The limits of one provider: quotas by key and model, slots, and who waits. Kept across configurations."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.llm.common.clock import Clock, TimerHandle
from core.llm.limiting.dimension import INPUT, OUTPUT, REQUESTS, TOKENS, Dimension, Measure
from core.llm.limiting.queue import FairQueue
from core.llm.limiting.quota import DAY, MINUTE, Quota
from core.llm.limiting.slots import AdaptiveSlots, Slots

if TYPE_CHECKING:
    from core.llm.providers.config.models.limits import QuotaOptions
    from core.llm.providers.config.models.provider import ProviderConfig

KINDS: Final[Mapping[str, tuple[Measure, float]]] = {
    "requests_per_minute": (REQUESTS, MINUTE),
    "tokens_per_minute": (TOKENS, MINUTE),
    "input_tokens_per_minute": (INPUT, MINUTE),
    "output_tokens_per_minute": (OUTPUT, MINUTE),
    "requests_per_day": (REQUESTS, DAY),
    "tokens_per_day": (TOKENS, DAY),
}
_SLOTS: Final = "max_concurrency"
_SCOPES_KEPT: Final = 1000
_SOON: Final = 0.001
"""Seconds to the next look at the queue at least: rounding must not make it look again and again."""

BURST: Final = 10.0
"""Seconds in which a burst of a quota comes back that nobody configured."""

Scope = tuple[str, str]
"""Fingerprint of a key, and a model; an empty model stands for all of them together."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One limit and what is left of it."""

    name: str
    limit: float
    left: float
    """Of this period's quota, or of the slots."""
    key: str = ""
    """Fingerprint of the key it is counted for."""
    model: str = ""
    """Empty where it is for all models together."""
    learnt: bool = False
    """Whether the provider has named it in its answers, and nobody configured it."""


@dataclass(frozen=True, slots=True)
class LimitsStatus:
    """How far the limits of a provider are used."""

    in_flight: int = 0
    queued: int = 0
    adaptive_concurrency: float | None = None
    """How many calls may run at a time because of an overload; `None` while that is not limited."""
    limits: tuple[LimitStatus, ...] = ()


class UpstreamLimits:
    """What is counted for one provider, and the queue before it."""

    __slots__ = ("_limits", "_timer", "adaptive", "announced", "queue")

    def __init__(self) -> None:
        self.adaptive = AdaptiveSlots()
        self.announced = False
        """Whether somebody was told that there is an adaptive limit."""
        self.queue = FairQueue()
        self._timer: TimerHandle | None = None
        self._limits: dict[Scope, dict[str, Quota | Slots]] = {}

    def dimensions(
        self, scope: Scope, shared: "QuotaOptions", own: "QuotaOptions | None", now: float
    ) -> tuple[Dimension, ...]:
        """What calls of *scope* draw on: the limits of all models, and their own; kept counters are used on."""
        key, model = scope
        common = self._configured((key, ""), shared, now)
        single = self._configured((key, model), own, now) if own is not None else []
        learnt = [each for each in self._limits.get(scope, {}).values() if isinstance(each, Quota) and each.learnt]
        return (self.adaptive, *common, *single, *learnt)

    def _configured(self, scope: Scope, options: "QuotaOptions", now: float) -> list[Dimension]:
        found: list[Dimension] = []
        for name in (*KINDS, _SLOTS):
            limit = getattr(options, name)
            if limit is None:
                continue
            known = self._limits.setdefault(scope, {})
            dimension = known.get(name)
            if dimension is None:
                dimension = known[name] = _dimension(name, limit, options.burst, now)
            elif isinstance(dimension, Quota):
                dimension.learnt = False
            found.append(dimension)
        return found

    def learn(self, scope: Scope, name: str, limit: float, remaining: float, now: float) -> bool:
        """Count *name* for calls of *scope* from now on; `False` where it is of no known kind."""
        if name not in KINDS:
            return False
        if scope not in self._limits and len(self._limits) >= _SCOPES_KEPT:
            self._forget_learnt()
        known = self._limits.setdefault(scope, {})
        if name not in known:
            quota = known[name] = _quota(name, limit, BURST, now)
            quota.learnt = True
            quota.lower(remaining, quota.total, now, now)
        return True

    def _forget_learnt(self) -> None:
        """Names of models come from callers: of what nobody has configured the oldest goes."""
        learnt = [
            scope
            for scope, limits in self._limits.items()
            if all(isinstance(each, Quota) and each.learnt for each in limits.values())
        ]
        for scope in learnt[: _SCOPES_KEPT // 2]:
            del self._limits[scope]

    def configure(self, config: "ProviderConfig", keys: Collection[str], now: float) -> None:
        """Apply a new configuration to what has been counted; *keys* are the fingerprints of its keys."""
        options = config.rate_limits
        if not options.adaptive_concurrency:
            self.adaptive.lift()
        for scope in list(self._limits):
            key, model = scope
            entry = config.models.get(model)
            wanted = options if not model else entry.rate_limits if entry is not None else None
            if key not in keys:
                del self._limits[scope]
                continue
            for name, dimension in list(self._limits[scope].items()):
                limit = getattr(wanted, name, None)
                if limit is not None and wanted is not None:
                    _change(dimension, limit, wanted.burst, now)
                elif not (isinstance(dimension, Quota) and dimension.learnt and options.headers != "ignore"):
                    del self._limits[scope][name]

    def advance(self, clock: Clock) -> None:
        """Let in everybody whose turn it is, and come back when it is the next one's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.queue.length:
            return
        now = clock.monotonic()
        self.queue.dismiss(now)
        again = self.queue.admit(now)
        if again is not None and self.queue.length:
            self._timer = clock.call_at(max(again, now + _SOON), lambda: self.advance(clock))

    def headroom(self, now: float, model: str = "") -> float:
        """How much could be sent now with the best key: 1 where nothing is limited or used, 0 where calls wait."""
        if self.queue.length:
            return 0.0
        if not self._limits:
            return self.adaptive.headroom(now)
        by_key: dict[str, float] = {}
        for (key, owner), limits in self._limits.items():
            if owner in ("", model):
                for each in limits.values():
                    by_key[key] = min(by_key.get(key, 1.0), each.headroom(now))
        return min(self.adaptive.headroom(now), max(by_key.values(), default=1.0))

    def status(self, now: float) -> LimitsStatus:
        """The counters as they are now."""
        adaptive = self.adaptive
        found = None if adaptive.limit == float("inf") else adaptive.limit
        return LimitsStatus(adaptive.used, self.queue.length, found, tuple(self._each(now)))

    def _each(self, now: float) -> Iterator[LimitStatus]:
        for (key, model), limits in self._limits.items():
            for each in limits.values():
                if isinstance(each, Quota):
                    yield LimitStatus(each.name, each.limit, each.left(now), key, model, each.learnt)
                else:
                    yield LimitStatus(each.name, each.limit, max(0.0, each.limit - each.used), key, model)


def is_limited(options: "QuotaOptions | None") -> bool:
    """Whether *options* set any limit."""
    return options is not None and any(getattr(options, name) is not None for name in (*KINDS, _SLOTS))


def _dimension(name: str, limit: float, burst: float, now: float) -> Quota | Slots:
    return Slots(name, limit) if name == _SLOTS else _quota(name, limit, burst, now)


def _quota(name: str, limit: float, burst: float, now: float) -> Quota:
    measure, period = KINDS[name]
    return Quota(name, measure, limit, period, _share(burst, period), now)


def _share(burst: float, period: float) -> float:
    """What of a quota may go out at once; that of a day as fast as it is wanted."""
    return min(1.0, burst / MINUTE) if period == MINUTE else 1.0


def _change(dimension: Quota | Slots, limit: float, burst: float, now: float) -> None:
    if isinstance(dimension, Slots):
        dimension.limit = float(limit)
    else:
        dimension.learnt = False
        dimension.change(limit, _share(burst, dimension.period), now)
