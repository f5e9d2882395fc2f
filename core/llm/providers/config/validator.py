"""Rules that need more than one field: names that must exist, circles, limits that cannot be met, addresses."""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from urllib.parse import urlsplit

from core.llm.providers.config.issues import suggest_name
from core.llm.providers.config.models import LLMServiceConfig, ProviderConfig
from core.llm.providers.config.names import Names
from core.llm.providers.config.tree import Path
from core.llm.providers.config.urls import is_loopback, sends_credentials, url_problem

Finding = tuple[Path, str, str | None, bool]
"""Where, what is wrong, what to do, and whether it is a warning only."""

_RESERVED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_HEADER_NAME = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def cross_check(config: LLMServiceConfig, provider_names: frozenset[str]) -> Iterator[Finding]:
    """Everything that is wrong with *config* as a whole; *provider_names* includes providers that are broken or off."""
    names = Names(config, provider_names)
    yield from names.findings()
    for name, provider in config.providers.items():
        for path, message, suggestion, warning in _provider(provider):
            yield ("providers", name, *path), message, suggestion, warning
    yield from _limits(config)
    yield from _costs(config, names)
    yield from _stores(config)


def _provider(provider: ProviderConfig) -> Iterator[Finding]:
    if provider.api_key and provider.api_keys:
        yield ("api_keys",), "stands beside api_key", "keep one of the two", False
    yield from _address(provider)
    for header in provider.headers:
        if not header or set(header) - _HEADER_NAME:
            yield ("headers", header), "is not the name of a header", "use letters, digits and `-`", False
        elif header.lower() in _RESERVED_HEADERS:
            yield ("headers", header), "is set by the connection itself", "remove it", False
    if provider.ca_file and not FilePath(provider.ca_file).expanduser().is_file():
        yield ("ca_file",), "there is no such file", "check the path", False
    if provider.proxy:
        parts = urlsplit(provider.proxy.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            yield ("proxy",), "is not the address of an HTTP proxy", "write http://host:port", False
    limits = provider.rate_limits
    for part in ("input_tokens_per_minute", "output_tokens_per_minute"):
        value = getattr(limits, part)
        if value and limits.tokens_per_minute and value > limits.tokens_per_minute:
            yield ("rate_limits", part), "is more than tokens_per_minute", "lower it", False
    yield from _timeouts(provider)
    for model, facts in provider.models.items():
        if facts.context_window and facts.max_output_tokens and facts.max_output_tokens > facts.context_window:
            yield ("models", model, "max_output_tokens"), "is more than context_window", "lower it", False
    if provider.default_model and provider.closed_models and provider.default_model not in provider.models:
        advice = suggest_name(provider.default_model, provider.models, "models")
        yield ("default_model",), "names no model of this provider", advice, False


def _address(provider: ProviderConfig) -> Iterator[Finding]:
    if not provider.base_url:
        return
    problem = url_problem(provider.base_url, allow_private=provider.allow_private)
    if problem:
        yield ("base_url",), f"{problem[0]}", problem[1], False
    elif (
        provider.base_url.startswith("http://")
        and sends_credentials(provider)
        and not provider.allow_insecure
        and not is_loopback(provider.base_url)
    ):
        advice = "use https://, or set allow_insecure: true if the network between is trusted"
        yield ("base_url",), "would send the key unencrypted", advice, False


def _timeouts(provider: ProviderConfig) -> Iterator[Finding]:
    timeouts = provider.timeouts
    # A default that is longer than a total somebody chose is no mistake of theirs.
    if "total" not in timeouts.model_fields_set:
        return
    for phase in ("connect", "first_token", "idle", "progress"):
        if phase in timeouts.model_fields_set and getattr(timeouts, phase) > timeouts.total:
            yield ("timeouts", phase), "is longer than timeouts.total, so it can never end a call", "shorten it", False


def _limits(config: LLMServiceConfig) -> Iterator[Finding]:
    retry, health, residency = config.retry, config.health_check, config.residency
    if {"initial_delay", "max_delay"} <= retry.model_fields_set and retry.initial_delay > retry.max_delay:
        yield ("retry", "initial_delay"), "is longer than retry.max_delay", "shorten it", False
    if "timeout" in health.model_fields_set and health.timeout > health.interval:
        yield ("health_check", "timeout"), "is longer than health_check.interval", "shorten it", False
    if residency.max_loaded and len(residency.pinned) > residency.max_loaded:
        yield ("residency", "pinned"), "pins more models than max_loaded allows", "raise max_loaded", False


def _costs(config: LLMServiceConfig, names: Names) -> Iterator[Finding]:
    costs = config.costs
    if costs.daily_limit is not None and costs.monthly_budget is not None and costs.daily_limit > costs.monthly_budget:
        yield ("costs", "daily_limit"), "is more than costs.monthly_budget, so it never applies", "lower it", True
    subjects: Mapping[str, object] = {**dict.fromkeys(names.providers), **config.models}
    for limit in costs.limits:
        subject, _, period = limit.rpartition("_")
        if period not in {"daily", "monthly"}:
            yield ("costs", "limits", limit), "must end in _daily or _monthly", "write <provider>_daily", False
        elif subject not in subjects:
            advice = suggest_name(subject, subjects, "providers and aliases")
            yield ("costs", "limits", limit), f"`{subject}` is no provider or alias", advice, False


def _stores(config: LLMServiceConfig) -> Iterator[Finding]:
    state = config.state
    if state.backend == "sqlite" and not state.path:
        yield ("state", "backend"), "sqlite needs a file", "add `path: .core-llm/state.db`", False
    if state.backend == "redis" and not state.url:
        yield ("state", "backend"), "redis needs an address", "add `url: redis://localhost:6379/0`", False
