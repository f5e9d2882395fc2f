"""Answers to "what is there?" and "how is it?", read off one runtime without sending anything."""

from collections.abc import Mapping

from core.llm.common.types import ModelRef
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.runtime.runtime import Runtime
from core.llm.status import AvailableModel, ProviderState, ProviderStatus

FAILING_AFTER = 3
"""Failures in a row after which a provider is called failing."""


def available_models(runtime: Runtime) -> tuple[AvailableModel, ...]:
    """Aliases first, then the models that the configuration lists."""
    found: list[AvailableModel] = []
    for name in runtime.config.models:
        refs = runtime.router.members(name).candidates
        usable = [ref for ref in refs if runtime.unavailable(ref) is None]
        reason = "" if usable else "; ".join(f"{ref.provider}: {runtime.unavailable(ref)}" for ref in refs)
        targets = tuple(str(ref) if ref.model else ref.provider for ref in refs)
        found.append(AvailableModel(name, "alias", targets, bool(usable), reason))
    for name, provider in runtime.config.providers.items():
        for model in provider.models:
            ref = ModelRef(name, model)
            reason = runtime.unavailable(ref) or ""
            facts = None if reason else runtime.known_target(ref).facts
            capabilities = facts.capabilities if facts else frozenset()
            found.append(AvailableModel(str(ref), "model", (str(ref),), not reason, reason, capabilities))
    return tuple(found)


def provider_status(runtime: Runtime) -> Mapping[str, ProviderStatus]:
    """One entry for each configured provider."""
    found: dict[str, ProviderStatus] = {}
    for name, config in runtime.config.providers.items():
        kind = config.type or name
        off = runtime.unavailable(ModelRef(name, ""))
        if off is not None:
            found[name] = ProviderStatus(name, kind, "off", off)
            continue
        record = runtime.state.upstream(name)
        now = runtime.state.clock.monotonic()
        state, reason = _condition(record, config, now)
        failures, success, failure = record.consecutive_failures, record.last_success, record.last_failure
        limits = record.limits.status(now)
        found[name] = ProviderStatus(name, kind, state, reason, failures, success, failure, limits)
    return found


def _condition(record: Upstream, config: ProviderConfig, now: float) -> tuple[ProviderState, str]:
    """What keeps calls away first, then what has been seen to go wrong."""
    last = record.last_error or ""
    if record.breaker.rests(now):
        return "open", f"left alone for at most {record.breaker.open_until - now:.0f} s more: {last}"
    resting = record.keys.all_resting(config.secrets, now)
    if resting is not None:
        return "resting", f"for {resting.resting_until - now:.0f} s more: {resting.reason}"
    if record.consecutive_failures >= FAILING_AFTER:
        return "failing", last
    if record.check is not None and not record.check.healthy:
        return "unhealthy", record.check.detail
    return "ready", last if record.consecutive_failures else ""
