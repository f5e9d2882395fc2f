"""What is remembered about providers across configurations: keyed by name, not by the object that serves it."""

from collections.abc import Collection

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.clock import Clock
from core.llm.common.events import EventBus
from core.llm.pipeline.upstream import Upstream


class RuntimeState:
    """Upstream records by provider name."""

    def __init__(self, clock: Clock, events: EventBus, ledger: UsageLedger | None = None) -> None:
        self.clock = clock
        self.events = events
        self.ledger = ledger or UsageLedger()
        self._upstreams: dict[str, Upstream] = {}

    def upstream(self, provider: str) -> Upstream:
        """The record of *provider*, shared by all configurations that have a provider of this name."""
        record = self._upstreams.get(provider)
        if record is None:
            record = self._upstreams[provider] = Upstream(self.clock.monotonic())
        return record

    def keep(self, names: Collection[str]) -> None:
        """Forget every provider that is not in *names*."""
        for name in self._upstreams.keys() - set(names):
            del self._upstreams[name]
