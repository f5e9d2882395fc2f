"""Whether a provider is left alone for the moment, read off what is remembered about it."""

from core.llm.pipeline.candidates import Resting
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.provider import ProviderConfig

_WORTH_WAITING = 1.0
"""Seconds that a call rather waits than goes to another candidate."""


def resting(upstream: Upstream, config: ProviderConfig, model: str, now: float) -> Resting | None:
    """Why nothing would be sent to *model* of that provider now; `None` where something would."""
    breaker = upstream.breaker
    if breaker.rests_for(model, now):
        wait = breaker.wait_for(model, now)
        if not breaker.refuses(model, now):
            # It is there: nothing to wait for, where nobody else is left.
            slow = breaker.models[model].slow
            return Resting(f"left alone for {wait:.0f} s more, because it is too slow: {slow}", 0.0, broken=False)
        last = f": {upstream.last_error}" if upstream.last_error else ""
        return Resting(f"left alone for {wait:.0f} s more, because it kept failing{last}", wait, broken=True)
    if upstream.keys.latest > now:
        state = upstream.keys.all_resting(config.secrets, now, model or None)
        if state is not None and state.resting_until - now > _WORTH_WAITING:
            wait = state.resting_until - now
            final = state.refused or state.kind == "quota_exceeded"
            return Resting(f"rests for {wait:.0f} s more: {state.reason}", wait, broken=False, final=final)
    full = breaker.full_for(model, now)
    if full is not None:
        return Resting("it has just come back, and gets its load back in steps", full.wait(now), broken=True)
    return None
