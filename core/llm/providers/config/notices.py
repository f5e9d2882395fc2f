"""What may stand in a file and does not do what somebody meant by it. Warnings only: told at load, refused never."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.models.costs import CostOptions, Period, subject_and_period
from core.llm.providers.config.models.limits import QuotaOptions
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.names import Finding
from core.llm.providers.config.tree import Path

_OF_A_CONNECTION: Final = (
    "api_key", "api_keys", "base_url", "headers", "proxy", "ca_file", "allow_insecure", "max_connections",
)  # fmt: skip
_CURRENCIES: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL "
    "HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG "
    "QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD "
    "TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)


def notices(config: LLMServiceConfig) -> Iterator[Finding]:
    """Everything in *config* that has no effect, or another one than it seems to have."""
    for name, provider in config.providers.items():
        for finding in _provider(provider, config):
            yield finding._replace(path=("providers", name, *finding.path))
    listed = {model for provider in config.providers.values() for model in provider.models}
    for alias, options in config.models.items():
        if alias in listed:
            text = "hides the model of the same name that a provider lists"
            yield _notice(
                ("models", alias), text, "ask for that one as `provider/model`, or rename the alias", key=True
            )
        for finding in _alias(alias, options):
            yield finding._replace(path=("models", alias, *finding.path))
    yield from _repeated(("fallback_chain",), config.fallback_chain)
    yield from _stores(config)
    yield from _retries(config)
    yield from _residency(config)
    yield from _costs(config.costs, config)


def _notice(path: Path, message: str, advice: str, *, key: bool = False) -> Finding:
    return Finding(path, message, advice, warning=True, at_key=key)


def _provider(provider: ProviderConfig, config: LLMServiceConfig) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, key in enumerate(provider.api_keys):
        secret = key.get_secret_value()
        if secret in seen:
            yield _notice(("api_keys", index), "is a key that the pool has already", "take one of them out")
        seen.add(secret)
    if type(provider).in_process:
        for name in _OF_A_CONNECTION:
            if name in provider.model_fields_set and getattr(provider, name):
                yield _notice((name,), "has no effect: these models run on this machine", "take it out", key=True)
    timeouts = provider.timeouts
    if (
        "total" in timeouts.model_fields_set
        and "timeout" in config.model_fields_set
        and timeouts.total > config.timeout
    ):
        text = "is longer than the `timeout` of a whole call, so it can never end one"
        yield _notice(("timeouts", "total"), text, "shorten it, or raise `timeout`")
    yield from _quotas(("rate_limits",), provider.rate_limits)
    for model, facts in provider.models.items():
        quotas = facts.rate_limits
        if quotas is None:
            continue
        place: Path = ("models", model, "rate_limits")
        yield from _quotas(place, quotas)
        for limit in quotas.model_fields_set - {"burst"}:
            own, whole = getattr(quotas, limit), getattr(provider.rate_limits, limit)
            if own and whole and own > whole:
                yield _notice(
                    (*place, limit), f"is more than all models of the provider may have, {whole:,}", "lower it"
                )


def _quotas(place: Path, quotas: QuotaOptions) -> Iterator[Finding]:
    for what in ("requests", "tokens"):
        minute, day = getattr(quotas, f"{what}_per_minute"), getattr(quotas, f"{what}_per_day")
        if minute and day and minute > day:
            text = f"is less than {what}_per_minute, so a single minute may use up the day"
            yield _notice((*place, f"{what}_per_day"), text, "raise it, or lower the other")


def _alias(name: str, alias: AliasOptions) -> Iterator[Finding]:
    first = [target.model for target in alias.use]
    yield from _repeated(("use",), first)
    yield from _repeated(("fallback",), alias.fallback or (), first)
    for reason, entries in alias.fallback_on.items():
        # What answers is always one of `use`; to name it alone is to try it again.
        if len(first) == 1:
            yield from _repeated(("fallback_on", reason), entries, first)
    if alias.shadow is not None and alias.shadow.model in (name, *(first if len(first) == 1 else ())):
        text = "is what answers already: its copies say nothing new and cost as much"
        yield _notice(("shadow", "model"), text, "name another model")


def _repeated(place: Path, names: Sequence[str], before: Sequence[str] = ()) -> Iterator[Finding]:
    seen = set(before)
    for index, name in enumerate(names):
        if name in seen:
            where = "under `use`" if name in before else "before"
            yield _notice((*place, index), f"stands {where} already and is tried once", "take it out")
        seen.add(name)


def _stores(config: LLMServiceConfig) -> Iterator[Finding]:
    state, audit = config.state, config.audit
    for name in ("path", "url"):
        if state.backend == "memory" and getattr(state, name):
            advice = "write `backend: sqlite`, or take it out" if name == "path" else "take it out"
            yield _notice(("state", name), "has no effect: nothing outlives the process with `backend: memory`", advice)
    for name in ("key", "content"):
        if audit.path is None and getattr(audit, name):
            yield _notice(
                ("audit", name), "has no effect: there is no audit log without `path`", "add `path`", key=True
            )


def _retries(config: LLMServiceConfig) -> Iterator[Finding]:
    retry = config.retry
    if {"max_retries", "max_attempts"} <= retry.model_fields_set and retry.max_retries >= retry.max_attempts:
        text = f"is never reached: max_attempts ends a call after {retry.max_attempts}"
        yield _notice(("retry", "max_retries"), text, "raise max_attempts, or lower it")


def _residency(config: LLMServiceConfig) -> Iterator[Finding]:
    residency = config.residency
    if residency.max_loaded and len({*residency.preload, *residency.pinned}) > residency.max_loaded:
        text = f"names more models than max_loaded lets in, {residency.max_loaded}: they push each other out"
        yield _notice(("residency", "preload"), text, "raise max_loaded, or preload fewer")
    for part in ("preload", "pinned"):
        for index, name in enumerate(getattr(residency, part)):
            size = residency.sizes.get(name)
            device = residency.devices.get(name) or residency.devices.get(name.partition("/")[0])
            room = residency.memory_budget.get(device) if device else None
            if size and room and size > room:
                text = f"needs more memory than `{device}` has for models, so it can never be loaded"
                yield _notice(("residency", part, index), text, "raise memory_budget, or correct sizes")


def _costs(costs: CostOptions, config: LLMServiceConfig) -> Iterator[Finding]:
    nothing = "refuses whatever costs anything"
    for name, whole in (("daily_limit", costs.daily_limit), ("monthly_budget", costs.monthly_budget)):
        if whole is not None and not whole:
            yield _notice(("costs", name), nothing, "leave it out for no limit")
    wholes: dict[Period, tuple[str, Decimal | None]]
    wholes = {"day": ("daily_limit", costs.daily_limit), "month": ("monthly_budget", costs.monthly_budget)}
    parts: list[tuple[Path, Decimal, Period]]
    if isinstance(costs.limits, tuple):
        parts = [(("costs", "limits", i, "amount"), one.amount, one.period) for i, one in enumerate(costs.limits)]
    else:
        named = [(name, amount, subject_and_period(name)) for name, amount in costs.limits.items()]
        parts = [(("costs", "limits", name), amount, found[1]) for name, amount, found in named if found]
    for place, amount, period in parts:
        name, whole = wholes[period]
        if not amount:
            yield _notice(place, nothing, "leave it out for no limit")
        elif whole is not None and amount > whole:
            yield _notice(place, f"is more than costs.{name}, so it never applies", "lower it")
    if "alert_threshold" in costs.model_fields_set and not costs.limited:
        yield _notice(("costs", "alert_threshold"), "has no effect without a budget", "add one, or take it out")
    if costs.currency not in _CURRENCIES.split():
        yield _notice(("costs", "currency"), "is no currency of ISO 4217", "write one such as USD or EUR")
    elif costs.currency != "USD" and (model := _without_price(config)):
        text = f"is not converted: `{model}` has no `price`, so what is known of it in US dollars counts as so much"
        yield _notice(("costs", "currency"), text, "give your models prices, or write USD")


def _without_price(config: LLMServiceConfig) -> str | None:
    """A hosted model that is priced by what is packaged."""
    for name, provider in config.providers.items():
        if not provider.needs_key or not provider.enabled:
            continue
        for model, facts in provider.models.items():
            if facts.price is None:
                return f"{name}/{model}"
        if not provider.models:
            return name
    return None
