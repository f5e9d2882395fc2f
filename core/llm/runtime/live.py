"""From an edited configuration to the live runtime, and from the live runtime to nothing."""

from collections.abc import Callable

from core.llm.common.exceptions import ServiceStopping
from core.llm.factory.provider import LLMProviderFactory
from core.llm.providers.config.changes import ConfigChange
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.residency.keeper import Keeper
from core.llm.runtime.admissions import empty_aliases
from core.llm.runtime.build import build_runtime, discard
from core.llm.runtime.endings import model_endings
from core.llm.runtime.runtime import Runtime
from core.llm.runtime.state import RuntimeState
from core.llm.runtime.swap import RuntimeHolder


class LiveConfiguration:
    """Builds a runtime for each configuration that the manager accepts, and swaps it in."""

    def __init__(
        self, manager: ProviderConfigManager, factory: LLMProviderFactory, holder: RuntimeHolder, state: RuntimeState
    ) -> None:
        self.holder = holder
        self._manager = manager
        self._factory = factory
        self._state = state
        self._closed = False
        self._listeners: list[Callable[[Runtime], None]] = []
        manager.set_applier(self._apply)
        factory.use_configuration(manager.get_provider_config)

    @property
    def state(self) -> RuntimeState:
        """What is remembered across configurations."""
        return self._state

    def on_applied(self, listener: Callable[[Runtime], None]) -> None:
        """Call *listener* with each runtime right after it has gone live; it must not raise."""
        self._listeners.append(listener)

    @property
    def keeper(self) -> Keeper:
        """Which local models are in memory."""
        return self._state.keeper

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that running calls get at shutdown."""
        previous = self.holder.previous
        return previous.config.lifecycle.shutdown_timeout if previous else 15.0

    async def _apply(self, change: ConfigChange) -> None:
        self._refuse_when_closed()
        await self.holder.make_room()
        self._refuse_when_closed()
        new, previous = change.new, self.holder.previous
        await self._state.ledger.prepare(new)
        runtime = await build_runtime(change.generation, new, change.disabled, self._factory, self._state, previous)
        try:
            self._refuse_when_closed()
            change.notes.extend(model_endings(runtime))
            change.notes.extend(empty_aliases(runtime))
        except BaseException:
            # What was taken over is still in use, or the shutdown that came while this was built has disposed it.
            taken_over = previous.providers.values() if previous is not None else ()
            for provider in reversed(runtime.providers.values()):
                if provider not in taken_over:
                    await discard(provider)
            raise
        self.holder.swap(runtime, new.lifecycle.drain_timeout)
        self._state.keep(new.providers)
        self._state.limit(new.providers)
        self._state.ledger.limit(new, self._state.clock, self._state.events)
        self._state.keeper.configure(new.residency, runtime.providers)
        for listener in self._listeners:
            listener(runtime)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ServiceStopping("the service is stopping: the edited configuration is not applied")

    async def shut_down(self) -> None:
        """Drain and dispose every runtime."""
        self._closed = True
        # Nobody waits for a copy, so that it must not hold up the end.
        await self._state.memory.shadows.close()
        self._state.keeper.begin_stop()
        try:
            await self.holder.retire_all(self.shutdown_timeout)
        finally:
            await self._state.keeper.close()
