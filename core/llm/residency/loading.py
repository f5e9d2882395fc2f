"""One load: watched for stalls, bounded in time, its progress told no more often than anyone can read it."""

import asyncio
from collections.abc import Callable

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.events import EventBus, ModelEvent
from core.llm.common.exceptions import LLMError, ModelLoadError, ProviderError, WorkerCrashed
from core.llm.providers.base.provider import ModelStatus, Progress
from core.llm.providers.base.single_flight import cancelled_ourselves
from core.llm.providers.base.throttle import Throttle
from core.llm.providers.config.models.residency import ResidencyOptions
from core.llm.residency.resident import Resident
from core.llm.transport.process_memory import says_out_of_memory


def is_out_of_memory(error: Exception) -> bool:
    """Whether *error* says that a model did not fit into memory."""
    if isinstance(error, ProviderError | WorkerCrashed) and error.code == "out_of_memory":
        return True
    printed = error.output if isinstance(error, ModelLoadError | WorkerCrashed) else ""
    return says_out_of_memory(f"{error}\n{printed}")


def provider_defect(resident: Resident, error: Exception) -> ModelLoadError:
    """The load of *resident* has failed with a foreign *error*, whose text may hold anything."""
    message = f"the local model {resident.name} cannot be loaded: its provider raised {type(error).__name__}"
    return ModelLoadError(message, model=resident.name)


async def load_once(resident: Resident, options: ResidencyOptions, clock: Clock, events: EventBus) -> ModelStatus:
    """Load the model of *resident*.

    Raises:
        LLMError: it cannot be loaded, made no progress for too long, or took too long; nothing is left of the try.
    """
    watch = _Watch(resident, options, clock, events)
    work = asyncio.ensure_future(resident.handle.load_model(resident.ref.model, watch.tell))
    watch.begin(work.cancel)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if watch.verdict is not None and not cancelled_ourselves():
            raise ModelLoadError(watch.verdict, model=resident.name) from None
        work.cancel()
        await asyncio.wait([work])
        raise
    except LLMError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a provider raises is a load that failed
        raise provider_defect(resident, error) from None
    finally:
        watch.end()


class _Watch:
    """The timers and the progress of one load."""

    def __init__(self, resident: Resident, options: ResidencyOptions, clock: Clock, events: EventBus) -> None:
        self._resident = resident
        self._options = options
        self._clock = clock
        self._events = events
        self._throttle = Throttle(clock)
        self._cancel: Callable[[], object] = lambda: None
        self._total: TimerHandle | None = None
        self._stall: TimerHandle | None = None
        self.verdict: str | None = None
        """Why the load was stopped."""

    def begin(self, cancel: Callable[[], object]) -> None:
        """Stop the load by *cancel* when its time is up."""
        self._cancel = cancel
        limit = self._options.load_timeout
        if limit is not None:
            self._total = self._clock.call_at(
                self._clock.monotonic() + limit,
                lambda: self._stop(
                    f"the local model {self._resident.name} was not loaded within {limit:g} s; raise "
                    "residency.load_timeout if it is large"
                ),
            )

    def tell(self, progress: Progress) -> None:
        """The load has come further."""
        self._resident.progress = progress
        for listener in tuple(self._resident.listeners):
            listener(progress)
        # A load that counts its steps is expected to go on doing so; one that only says "loading" is not.
        if progress.completed is None:
            return
        if self._stall is not None:
            self._stall.cancel()
        limit = self._options.stall_timeout
        self._stall = self._clock.call_at(
            self._clock.monotonic() + limit,
            lambda: self._stop(
                f"the load of the local model {self._resident.name} made no progress for {limit:g} s and was stopped"
            ),
        )
        if self._throttle.due() and self._events.wants(ModelEvent):
            done, total = progress.completed, progress.total
            self._events.publish(ModelEvent(self._resident.name, "load", "loading", done, total, progress.message))

    def end(self) -> None:
        """The load is over."""
        self._resident.progress = None
        for timer in (self._total, self._stall):
            if timer is not None:
                timer.cancel()

    def _stop(self, verdict: str) -> None:
        self.verdict = verdict
        self._cancel()
