"""Answers to "what is there?" and "how is it?", read off one runtime without sending anything."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from core.llm.common.types import ModelFacts, ModelRef
from core.llm.runtime.condition import condition
from core.llm.status import AvailableModel, ModelTraffic, ProviderStatus

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime


def available_models(runtime: "Runtime") -> tuple[AvailableModel, ...]:
    """Aliases first, then the models that the configuration lists."""
    found: list[AvailableModel] = []
    for name in runtime.config.models:
        plan = runtime.router.members(name)
        refs = plan.candidates
        usable = [ref for ref in refs if runtime.unavailable(ref) is None]
        # Said once for all models of a provider.
        reasons = dict.fromkeys(f"{ref.provider}: {runtime.unavailable(ref)}" for ref in refs) or plan.notes
        reason = "" if usable else "; ".join(reasons)
        targets = tuple(str(ref) if ref.model else ref.provider for ref in refs)
        found.append(AvailableModel(name, "alias", targets, bool(usable), reason))
    for name, provider in runtime.config.providers.items():
        for model in provider.models:
            ref = ModelRef(name, model)
            reason = runtime.unavailable(ref) or ""
            facts = ModelFacts() if reason else runtime.known_target(ref).facts
            found.append(AvailableModel(str(ref), "model", (str(ref),), not reason, reason, facts.capabilities, facts))
    return tuple(found)


def provider_status(runtime: "Runtime") -> Mapping[str, ProviderStatus]:
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
        how = condition(record, config, now)
        found[name] = ProviderStatus(
            name,
            kind,
            how.state,
            how.reason,
            record.consecutive_failures,
            record.last_success,
            record.last_failure,
            record.limits.status(now),
            since=None if how.since is None else runtime.state.clock.now() - timedelta(seconds=now - how.since),
            next_try=how.next_try,
            in_flight=record.breaker.in_flight,
            parts=how.parts,
            models=_traffic(runtime, name, now),
        )
    return found


def _traffic(runtime: "Runtime", provider: str, now: float) -> Mapping[str, ModelTraffic]:
    """What is known about the models of *provider* to which calls were sent."""
    return {
        ref.model: ModelTraffic(
            seen.in_flight, seen.latency.read(now), seen.first_token.read(now), seen.errors.read(now) or 0.0
        )
        for ref, seen in runtime.state.measured.items()
        if ref.provider == provider and seen.is_known
    }
