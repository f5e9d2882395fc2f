"""Rules that need more than one field: names that must exist, circles, limits that cannot be met, addresses."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from core.llm.accounting.budgets import scope_of
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.issues import plain_words, suggest_name
from core.llm.providers.config.models.costs import BudgetOptions, subject_and_period
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.names import Finding, Names
from core.llm.providers.config.notices import notices
from core.llm.providers.config.routes import route_findings
from core.llm.providers.config.sources import user_path
from core.llm.providers.config.tree import Path
from core.llm.providers.config.urls import is_loopback, sends_credentials, url_problem
from core.llm.routing.functions import NO_FUNCTIONS, RoutingFunctions

_NO_DEFAULTS = frozenset({"messages", "model", "provider", "metadata", "extra"})
"""Fields of a request that are not left to a default: they have places of their own, or belong to one call."""
_RESERVED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_HEADER_NAME = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def cross_check(
    config: LLMServiceConfig, provider_names: frozenset[str], functions: RoutingFunctions = NO_FUNCTIONS
) -> Iterator[Finding]:
    """Everything that is wrong with *config* as a whole; *provider_names* includes providers that are broken or off."""
    names = Names(config, provider_names)
    yield from names.findings()
    for alias, options in config.models.items():
        yield from _defaults(("models", alias, "defaults"), options.defaults)
        for finding in route_findings(options, functions):
            yield finding._replace(path=("models", alias, *finding.path))
    for name, provider in config.providers.items():
        for finding in _provider(provider):
            yield finding._replace(path=("providers", name, *finding.path))
    yield from _limits(config)
    yield from _costs(config, names)
    yield from _stores(config)
    yield from notices(config)


def _provider(provider: ProviderConfig) -> Iterator[Finding]:
    if provider.api_key and provider.api_keys:
        yield Finding(("api_keys",), "stands beside api_key", "keep one of the two")
    yield from _address(provider)
    for header in provider.headers:
        if not header or set(header) - _HEADER_NAME:
            yield Finding(
                ("headers", header), "is not the name of a header", "use letters, digits and `-`", at_key=True
            )
        elif header.lower() in _RESERVED_HEADERS:
            yield Finding(("headers", header), "is set by the connection itself", "remove it", at_key=True)
    if provider.ca_file and ("\0" in provider.ca_file or not user_path(provider.ca_file).is_file()):
        yield Finding(("ca_file",), "there is no such file", "check the path")
    if provider.proxy and not _is_proxy(provider.proxy.get_secret_value()):
        yield Finding(("proxy",), "is not the address of an HTTP proxy", "write http://host:port")
    limits = provider.rate_limits
    for part in ("input_tokens_per_minute", "output_tokens_per_minute"):
        value = getattr(limits, part)
        if value and limits.tokens_per_minute and value > limits.tokens_per_minute:
            yield Finding(("rate_limits", part), "is more than tokens_per_minute", "lower it")
    yield from _timeouts(provider)
    for model, facts in provider.models.items():
        yield from _defaults(("models", model, "defaults"), facts.defaults)
        if facts.context_window and facts.max_output_tokens and facts.max_output_tokens > facts.context_window:
            yield Finding(("models", model, "max_output_tokens"), "is more than context_window", "lower it")
    if provider.default_model and provider.closed_models and provider.default_model not in provider.models:
        advice = suggest_name(provider.default_model, provider.models, "models")
        yield Finding(("default_model",), "names no model of this provider", advice)


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        # Credentials may hold what looks like the end of the host: a port behind them is not looked at.
        port_is_good = "@" in address or parts.port != 0
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and port_is_good
    except ValueError:
        return False


def _defaults(path: Path, defaults: Mapping[str, Any]) -> Iterator[Finding]:
    """What of *defaults* could never be sent; found here rather than by the first call."""
    fields = LLMRequest.model_fields.keys() - _NO_DEFAULTS
    for name in defaults:
        if name not in fields:
            yield Finding((*path, name), "is no field of a request", suggest_name(name, fields, "fields"), at_key=True)
    known = {name: value for name, value in defaults.items() if name in fields}
    if not known:
        return
    try:
        LLMRequest(messages="", **known)
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False, include_context=False):
            message = f"cannot be sent: {plain_words(item['msg'])}"
            yield Finding((*path, str(item["loc"][0])), message, "correct it, or take it out")


def _address(provider: ProviderConfig) -> Iterator[Finding]:
    if not provider.base_url:
        return
    problem = url_problem(provider.base_url, allow_private=provider.allow_private)
    if problem:
        yield Finding(("base_url",), f"{problem[0]}", problem[1])
    elif (
        provider.base_url.startswith("http://")
        and sends_credentials(provider)
        and not provider.allow_insecure
        and not is_loopback(provider.base_url)
    ):
        advice = "use https://, or set allow_insecure: true if the network between is trusted"
        yield Finding(("base_url",), "would send the key unencrypted", advice)


def _timeouts(provider: ProviderConfig) -> Iterator[Finding]:
    timeouts = provider.timeouts
    # A default that is longer than a total somebody chose is no mistake of theirs.
    for phase in ("connect", "first_token", "idle", "progress"):
        if phase in timeouts.model_fields_set and getattr(timeouts, phase) > timeouts.total:
            # No more than a warning: a total from the environment is meant to win over what the file says.
            text = "is longer than timeouts.total, so it can never end a call"
            yield Finding(("timeouts", phase), text, "shorten it", warning=True)


def _limits(config: LLMServiceConfig) -> Iterator[Finding]:
    retry, health, residency = config.retry, config.health_check, config.residency
    if {"initial_delay", "max_delay"} <= retry.model_fields_set and retry.initial_delay > retry.max_delay:
        yield Finding(("retry", "initial_delay"), "is longer than retry.max_delay", "shorten it")
    if "timeout" in health.model_fields_set and health.timeout > health.interval:
        yield Finding(("health_check", "timeout"), "is longer than health_check.interval", "shorten it")
    if residency.max_loaded and len(residency.pinned) > residency.max_loaded:
        yield Finding(("residency", "pinned"), "pins more models than max_loaded allows", "raise max_loaded")


def _costs(config: LLMServiceConfig, names: Names) -> Iterator[Finding]:
    costs = config.costs
    if costs.daily_limit is not None and costs.monthly_budget is not None and costs.daily_limit > costs.monthly_budget:
        yield Finding(
            ("costs", "daily_limit"), "is more than costs.monthly_budget, so it never applies", "lower it", warning=True
        )
    if isinstance(costs.limits, tuple):
        yield from _budgets(costs.limits, config, names)
        return
    subjects: Mapping[str, object] = {**dict.fromkeys(names.providers), **config.models}
    for limit in costs.limits:
        parts = subject_and_period(limit)
        if parts is None:
            yield Finding(
                ("costs", "limits", limit), "must end in _daily or _monthly", "write <provider>_daily", at_key=True
            )
        elif parts[0] not in subjects and parts[0].partition("/")[0] not in names.providers:
            advice = suggest_name(parts[0], subjects, "providers and aliases")
            yield Finding(("costs", "limits", limit), f"`{parts[0]}` is no provider or alias", advice, at_key=True)


def _budgets(limits: tuple[BudgetOptions, ...], config: LLMServiceConfig, names: Names) -> Iterator[Finding]:
    seen: set[object] = set()
    for index, limit in enumerate(limits):
        place: Path = ("costs", "limits", index)
        scope = limit.scope
        if not any((scope.provider, scope.model, scope.alias, scope.user)):
            yield Finding(
                (*place, "scope"),
                "names nothing",
                "name a provider, model, alias or user; daily_limit is for everything",
            )
        if scope.provider is not None and scope.provider not in names.providers:
            advice = suggest_name(scope.provider, names.providers, "providers")
            yield Finding((*place, "scope", "provider"), "names no provider", advice)
        if scope.alias is not None and scope.alias not in config.models:
            advice = suggest_name(scope.alias, config.models, "aliases")
            yield Finding((*place, "scope", "alias"), "names no alias", advice)
        identity = (scope_of(scope, config), limit.period)
        if identity in seen:
            yield Finding(place, "has the scope and period of another one", "keep one of the two")
        seen.add(identity)


def _stores(config: LLMServiceConfig) -> Iterator[Finding]:
    state = config.state
    if state.backend == "sqlite" and not state.path:
        yield Finding(("state", "backend"), "sqlite needs a file", "add `path: .core-llm/state.db`")
    if state.backend == "redis":
        yield Finding(("state", "backend"), "the redis store is not part of this version", "use sqlite or memory")
