"""What is remembered about providers across configurations: keyed by name, not by the object that serves it."""

import random
from collections.abc import Callable, Mapping
from typing import Final

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.clock import Clock
from core.llm.common.events import EventBus
from core.llm.common.guardrail import Guardrail
from core.llm.common.secrets import fingerprint
from core.llm.common.types import ModelRef
from core.llm.pipeline.memory import CallMemory
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.residency.keeper import Keeper
from core.llm.routing.functions import NO_FUNCTIONS, RoutingFunctions
from core.llm.routing.traffic import Traffic
from core.llm.runtime.swapped_aliases import SwappedAliases

_MODELS_KEPT: Final = 4096
_REMOVED_KEPT: Final = 32


def _somebody_elses_business(_: ModelRef) -> bool | None:
    return None


def _nobody_loads(_: ModelRef) -> None:
    """Leave it where it is."""


class RuntimeState:
    """Upstream records by provider name."""

    def __init__(
        self,
        clock: Clock,
        events: EventBus,
        ledger: UsageLedger | None = None,
        functions: RoutingFunctions = NO_FUNCTIONS,
        guardrails: tuple[Guardrail, ...] = (),
    ) -> None:
        self.clock = clock
        self.events = events
        self.swapped = SwappedAliases()
        """Aliases that mean another model than is written."""
        self.keeper = Keeper(clock, events, random.Random())
        """Which local models are in memory; loaded ones outlive the configuration that loaded them."""
        self.ledger = ledger or UsageLedger()
        self.memory = CallMemory(guardrails)
        self.memory.swapped = lambda: self.swapped.current
        self.functions = functions
        """Strategies and classifiers of the host's own."""
        self.is_loaded: Callable[[ModelRef], bool | None] = _somebody_elses_business
        """Whether a model is in memory, asked in every call that routes by it: quick, and asks nobody else. `None`
        where its server decides alone, or it is hosted."""
        self.want_loaded: Callable[[ModelRef], None] = _nobody_loads
        """Told of a local model that would have been chosen, were it in memory. Quick; what it begins goes on in the
        background."""
        self._upstreams: dict[str, Upstream] = {}
        self._removed: dict[str, Upstream] = {}
        """Records of providers that were taken out: what was used of a quota stays used if they come back."""
        self._traffic: dict[ModelRef, Traffic] = {}

    def upstream(self, provider: str) -> Upstream:
        """The record of *provider*, shared by all configurations that have a provider of this name."""
        record = self._upstreams.get(provider)
        if record is None:
            record = self._removed.pop(provider, None) or Upstream(self.clock.monotonic())
            self._upstreams[provider] = record
        return record

    def traffic(self, ref: ModelRef) -> Traffic:
        """What calls to *ref* have shown."""
        record = self._traffic.get(ref)
        if record is None:
            if len(self._traffic) >= _MODELS_KEPT:
                self._forget_idle()
            record = self._traffic[ref] = Traffic()
        return record

    @property
    def measured(self) -> Mapping[ModelRef, Traffic]:
        """Everything that `traffic` has handed out, by model."""
        return self._traffic

    def _forget_idle(self) -> None:
        for ref in [ref for ref, record in self._traffic.items() if record.in_flight == 0][: _MODELS_KEPT // 2]:
            del self._traffic[ref]

    def limit(self, providers: Mapping[str, ProviderConfig]) -> None:
        """Hold *providers* to their limits from now on, also where calls of an earlier configuration still wait."""
        now = self.clock.monotonic()
        for name, config in providers.items():
            record = self._upstreams.get(name)
            if record is not None:
                keys = {fingerprint(secret) for secret in config.secrets} or {""}
                record.limits.configure(config, keys, now)
                record.limits.advance(self.clock)

    def keep(self, providers: Mapping[str, ProviderConfig]) -> None:
        """Put by every provider that is not in *providers*; from now on the others use the keys that stand there."""
        for name, upstream in list(self._upstreams.items()):
            config = providers.get(name)
            if config is None:
                self._removed[name] = self._upstreams.pop(name)
                if len(self._removed) > _REMOVED_KEPT:
                    del self._removed[next(iter(self._removed))]
            else:
                upstream.keys.offer(config)
                upstream.breaker.forget_idle_models()
        for ref in [ref for ref in self._traffic if ref.provider not in providers]:
            del self._traffic[ref]
