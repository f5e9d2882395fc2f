"""Ask providers from time to time whether they are there, and bring one back sooner after an outage.

A check costs no tokens and decides nothing about a call: calls are judged by what happens to them. What a check does
decide is how long a provider that kept failing is left alone. While its checks fail, no call is spent on finding out;
once one passes, the next call tries.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from core.llm.common.clock import Clock
from core.llm.common.events import ConfigApplied, Event, EventBus, ProviderStateChanged, Subscription
from core.llm.common.log import log
from core.llm.common.types import ModelRef
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.provider import BaseLLMProvider, HealthReport
from core.llm.providers.config.changes import ConfigStatus
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.runtime.condition import condition
from core.llm.runtime.runtime import Runtime
from core.llm.runtime.swap import RuntimeHolder

OUTAGE_INTERVAL: Final = 2.0
"""Seconds between two checks of a provider that is left alone."""
LONGEST_HOLD: Final = 60.0
"""Seconds for which failing checks keep calls away; then one call is tried, whatever the checks say."""
FIRST_CHECK: Final = 5.0
"""Seconds after the start within which everything has been checked once."""
_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """Whether calls can be served, and how the configuration and the providers are doing."""

    ready: bool
    reason: str
    """Why not, where it is not ready."""
    config: ConfigStatus
    live_generations: int
    """Configurations that still have calls, the one in force included."""
    checks: Mapping[str, HealthReport] = field(default_factory=dict)
    """The last check of each provider that is on; one that was not checked yet is missing."""


class _Watched:
    """One provider object and its checks."""

    __slots__ = ("due", "failing_since", "provider", "task")

    def __init__(self, provider: BaseLLMProvider, due: float) -> None:
        self.provider = provider
        self.due = due
        self.failing_since: datetime | None = None
        """When the first of the checks failed that have failed in a row."""
        self.task: asyncio.Task[None] | None = None


class HealthMonitor:
    """Checks every provider that is on, by `health_check` of the configuration. A singleton of the container."""

    def __init__(
        self, holder: RuntimeHolder, manager: ProviderConfigManager, events: EventBus, clock: Clock, rng: random.Random
    ) -> None:
        self._holder = holder
        self._manager = manager
        self._events = events
        self._clock = clock
        self._rng = rng
        self._watched: dict[str, _Watched] = {}
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Begin to check, in the background."""
        if self._loop_task is None:
            self._subscription = self._events.subscribe(self._on_event, ProviderStateChanged, ConfigApplied)
            self._loop_task = asyncio.create_task(self._run(), name="core.llm:health")

    async def stop(self) -> None:
        """End all checks. Idempotent."""
        if self._subscription is not None:
            self._subscription.close()
        tasks = [task for task in (self._loop_task, *(one.task for one in self._watched.values())) if task is not None]
        self._loop_task = None
        self._watched.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def ready(self) -> bool:
        """Whether calls can be served: what a readiness probe of the host answers. Nothing is sent for it."""
        return not self._why_not_ready(self._holder.previous)

    def report(self) -> ServiceHealth:
        """What a readiness endpoint of the host would say. Nothing is sent for it."""
        runtime = self._holder.previous
        checks: dict[str, HealthReport] = {}
        for name in runtime.providers if runtime is not None else ():
            check = runtime.state.upstream(name).check if runtime is not None else None
            if check is not None:
                checks[name] = check
        reason = self._why_not_ready(runtime)
        return ServiceHealth(not reason, reason, self._manager.status, len(self._holder.live), checks)

    async def check_all(self) -> Mapping[str, HealthReport]:
        """Ask every provider that is on now, all at once, for at most `health_check.timeout`; nothing is remembered."""
        runtime = self._holder.current
        timeout = self._manager.current.health_check.timeout
        # A share in the configuration: a provider is closed only after its last call has ended.
        runtime.leases += 1
        try:
            answers = await asyncio.gather(*(self._answer(one, timeout) for one in runtime.providers.values()))
        finally:
            self._holder.leave(runtime)
        return dict(zip(runtime.providers, answers, strict=True))

    def _why_not_ready(self, runtime: Runtime | None) -> str:
        if self._holder.closing_reason is not None:
            return self._holder.closing_reason
        if runtime is None:
            return "no configuration is in force"
        now = self._clock.monotonic()
        reasons: list[str] = []
        for name, config in runtime.config.providers.items():
            reason = runtime.unavailable(ModelRef(name, ""))
            if reason is None:
                how = condition(runtime.state.upstream(name), config, now)
                if how.serves:
                    return ""
                reason = how.reason
            reasons.append(f"{name}: {reason}")
        return "no provider can be called: " + ("; ".join(reasons) or "none is configured")

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ConfigApplied):
            self._wake.set()
        elif isinstance(event, ProviderStateChanged) and event.state == "open":
            watched, runtime = self._watched.get(event.subject), self._holder.previous
            if watched is None or runtime is None:
                return
            upstream = runtime.state.upstream(event.subject)
            now = self._clock.monotonic()
            if _is_telling(watched, upstream):
                upstream.breaker.hold(now + LONGEST_HOLD)
            watched.due = min(watched.due, now + self._spread(OUTAGE_INTERVAL))
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = self._begin_due_checks()
            except Exception as error:  # noqa: BLE001 - checks are a service to calls and must outlive a defect
                log("ERROR", "health checks failed with {}", type(error).__name__)
                pause = OUTAGE_INTERVAL
            # With nothing to check there is nothing to wait for but another configuration.
            timer = self._clock.call_at(self._clock.monotonic() + pause, self._wake.set) if self._watched else None
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _begin_due_checks(self) -> float:
        """Begin every check that is due; seconds until the next one is."""
        runtime, now = self._holder.previous, self._clock.monotonic()
        options = self._manager.current.health_check
        on = dict(runtime.providers) if runtime is not None and options.enabled else {}
        for name, watched in list(self._watched.items()):
            if on.get(name) is not watched.provider:
                self._forget(name, watched, runtime)
        pause = options.interval
        for name, provider in on.items():
            if name not in self._watched:
                first = self._spread(min(FIRST_CHECK, options.interval)) / (1 + _JITTER)
                self._watched[name] = _Watched(provider, now + first)
            watched = self._watched[name]
            if watched.due <= now and watched.task is None and runtime is not None:
                watched.task = asyncio.create_task(
                    self._check(name, watched, runtime, options.timeout), name=f"core.llm:health:{name}"
                )
            if watched.task is None:
                pause = min(pause, watched.due - now)
        return pause

    def _forget(self, name: str, watched: _Watched, runtime: Runtime | None) -> None:
        del self._watched[name]
        if watched.task is not None:
            watched.task.cancel()
        if runtime is not None and name in runtime.config.providers:
            upstream = runtime.state.upstream(name)
            upstream.check = upstream.unhealthy_since = None
            upstream.breaker.let_go()

    async def _check(self, name: str, watched: _Watched, runtime: Runtime, timeout: float) -> None:
        # A share in the configuration: a provider is closed only after its last call has ended.
        runtime.leases += 1
        try:
            report = await self._answer(watched.provider, timeout)
        finally:
            self._holder.leave(runtime)
        if self._watched.get(name) is watched:
            watched.task = None
            self._learn(name, watched, runtime.state.upstream(name), report)
            self._wake.set()

    async def _answer(self, provider: BaseLLMProvider, timeout: float) -> HealthReport:
        asking = asyncio.ensure_future(_report_of(provider))

        def give_up() -> None:
            asking.cancel()

        timer = self._clock.call_at(self._clock.monotonic() + timeout, give_up)
        try:
            return await asking
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            return HealthReport(False, f"no answer to a health check within {timeout:g} s")
        except Exception as error:  # noqa: BLE001 - a provider's defect is an unhealthy provider
            return HealthReport(False, f"its health check raised {type(error).__name__}")
        finally:
            timer.cancel()

    def _learn(self, name: str, watched: _Watched, upstream: Upstream, report: HealthReport) -> None:
        before, upstream.check = upstream.check, report
        now = self._clock.monotonic()
        if not report.probed:
            upstream.breaker.let_go()
        elif report.healthy:
            watched.failing_since = upstream.unhealthy_since = None
            upstream.breaker.try_soon(now)
        elif watched.failing_since is None:
            watched.failing_since = self._clock.now()
            upstream.unhealthy_since = now
        resting = upstream.breaker.state != "closed"
        # A first check that passes is what everybody expects, and no change.
        if report.probed and report.healthy != (before is None or before.healthy):
            state = "healthy" if report.healthy else "unhealthy"
            self._events.publish(ProviderStateChanged(name, state, report.detail))
        interval = self._manager.current.health_check.interval
        watched.due = now + self._spread(min(OUTAGE_INTERVAL, interval) if resting else interval)

    def _spread(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1 - _JITTER, 1 + _JITTER)


async def _report_of(provider: BaseLLMProvider) -> HealthReport:
    """What *provider* says of itself; a coroutine also where its check raises before it is one."""
    report = await provider.health_check()
    if not isinstance(report, HealthReport):
        return HealthReport(False, f"its health check returned a {type(report).__name__}")
    return report


def _is_telling(watched: _Watched, upstream: Upstream) -> bool:
    """Whether failing checks of a provider mean that calls would fail too.

    Not where it has no check, and not where its checks fail although calls are answered, as with a key that may not
    list models.
    """
    if upstream.check is not None and not upstream.check.probed:
        return False
    answered, failing_since = upstream.last_success, watched.failing_since
    return answered is None or failing_since is None or answered < failing_since
