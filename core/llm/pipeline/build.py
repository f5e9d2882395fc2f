"""The order of the layers, outside-in, with the reason for each place. Read this to know what happens to a call."""

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.clock import Clock
from core.llm.common.events import EventBus
from core.llm.pipeline.budgets import budgets
from core.llm.pipeline.cache import from_cache, into_cache
from core.llm.pipeline.circuits import breaker
from core.llm.pipeline.cold_start import cold_start
from core.llm.pipeline.experiment import experiment
from core.llm.pipeline.fallback import fallback
from core.llm.pipeline.guardrails import guardrails
from core.llm.pipeline.handler import Handler, Layer, compose
from core.llm.pipeline.hedge import hedge
from core.llm.pipeline.keys import KeyPool, keys
from core.llm.pipeline.ledger import ledger
from core.llm.pipeline.limits import limits
from core.llm.pipeline.memory import CallMemory
from core.llm.pipeline.mid_stream import mid_stream
from core.llm.pipeline.observe import observe
from core.llm.pipeline.request_limits import request_limits
from core.llm.pipeline.residency import residency
from core.llm.pipeline.retry import retry
from core.llm.pipeline.shadow import Host, shadow
from core.llm.pipeline.single_flight import single_flight
from core.llm.pipeline.spending import spending
from core.llm.pipeline.structured import structured
from core.llm.pipeline.target import Target
from core.llm.pipeline.terminal import terminal
from core.llm.pipeline.trace import trace
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.limits import SlowCallOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.traffic import Traffic


def build_handler(config: LLMServiceConfig, host: Host, memory: CallMemory | None = None) -> Handler:
    """What surrounds a call as a whole."""
    remembered = memory or CallMemory()
    layers: list[Layer] = [
        trace,  # outermost: it must see how the call ended, whatever ended it
        *guardrails(remembered.guardrails),  # before all that keeps, copies or sends: what is masked is masked for all
        request_limits(config, remembered.users),  # before anything is looked at, kept or sent
        *_cache(config, remembered),  # before all that chooses: who is answered here takes nobody's turn
        experiment(config, remembered.experiments),  # around all that routing does: how each model has done
        shadow(config, host, remembered.shadows),  # inside: a copy is no call of its own, and nobody waits for it
        mid_stream(config, host),  # around the routing: who takes over a broken stream is tried on its own
        hedge(config, host, remembered.hedges),  # next to the routing: it says how a candidate is tried
    ]
    return compose(layers, fallback(host, config.retry.max_attempts))


def _cache(config: LLMServiceConfig, memory: CallMemory) -> list[Layer]:
    """Looking, joining and keeping; no layer where the cache is off."""
    options, store = config.cache, memory.answers
    if not options.enabled:
        return []
    store.bound(options.max_entries, options.max_bytes)
    return [
        from_cache(config, store, memory.swapped),  # outside: nobody waits for what is there
        *([single_flight(config.costs.currency)] if options.single_flight else []),  # between: one asks for all
        into_cache(config, store),  # inside: kept before those who waited have gone
    ]


def _slow_calls(target: Target) -> SlowCallOptions:
    """When answers of *target* are late: what is said of the model, else of its provider."""
    model = target.config.models.get(target.ref.model)
    return target.config.slow_calls if model is None or model.slow_calls is None else model.slow_calls


def build_target_handler(
    config: LLMServiceConfig,
    target: Target,
    upstream: Upstream,
    clock: Clock,
    events: EventBus,
    book: UsageLedger,
    traffic: Traffic | None = None,
) -> Handler:
    """What surrounds the attempts at one target; *traffic* is `None` where no strategy asks for measurements."""
    max_retries = config.retry.max_retries if target.config.max_retries is None else target.config.max_retries
    pool = KeyPool(target.config, upstream.keys, target.ref, clock, events)
    layers: list[Layer] = [
        structured(target),  # outside: a second question is no retry of the first, and has retries of its own
        retry(config.retry, max_retries, target.ref, upstream),  # outside: each attempt passes everything below again
        spending(target),  # inside: what earlier attempts have cost counts before each further one
        observe(traffic),  # outside all queues: who waits there is under way to the model
        residency(config.residency, target),  # before all that is held: a model may take long to load
        *cold_start(target),  # as above, where a server loads by itself
        keys(pool),  # before the breaker: a key that must rest is no failure of the provider
        limits(target, upstream, events, pool),  # inside: keys have quotas; whoever waited may find the breaker open
        breaker(upstream.breaker, target.ref, events, _slow_calls(target)),  # the last word before something is sent
        budgets(book, target, config, upstream.tokens),  # inside: who is refused above holds nothing
        # below all that refuses: what is sent is a row; next to the provider: what this attempt used is counted here
        ledger(book, target, config.costs.currency, upstream.tokens),
    ]
    return compose(layers, terminal(target))
