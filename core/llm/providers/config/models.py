"""Everything that can be configured, as frozen data with its defaults. No behaviour.

Provider folders derive their own configuration from `ProviderConfig`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from core.llm.common.types import Capability
from core.llm.common.units import Duration, Size


class FrozenDict(dict[Any, Any]):
    """A dict that cannot be changed: a published configuration is shared by every call."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("configuration is read-only: edit the file, or use ProviderConfigManager.replace()")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a plain dict."""
        return (dict, (dict(self),))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return FrozenDict({key: _frozen(entry) for key, entry in value.items()})
    if isinstance(value, list):
        return tuple(_frozen(entry) for entry in value)
    return value


class Frozen(BaseModel):
    """Base of all configuration: immutable, strict about keys, silent about values in errors."""

    # Built when the first configuration is validated, not when the library is imported.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        # `retry:` with every line below it commented out is null: it means the defaults, as if it were not there.
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
        return data

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - the signature is pydantic's
        """Make the mappings inside as immutable as the model."""
        values = self.__dict__
        for name, value in values.items():
            if isinstance(value, dict | list):
                values[name] = _frozen(value)

    def __reduce__(self) -> Any:
        """Refuse to be pickled: configuration holds secrets."""
        raise TypeError(f"{type(self).__name__} is not picklable: configuration may hold secrets")


class TimeoutOptions(Frozen):
    """How long each phase of one attempt may take."""

    connect: Duration = Field(10.0, description="Name lookup, connection and TLS handshake.")
    first_token: Duration = Field(60.0, description="From sending the request to the first output of a stream.")
    idle: Duration = Field(30.0, description="Between two network reads once the answer has begun.")
    progress: Duration = Field(60.0, description="Between two pieces of output; pings do not count.")
    total: Duration = Field(600.0, description="The whole attempt.")


class RateLimitOptions(Frozen):
    """Limits of one provider, per key where it has several."""

    requests_per_minute: int | None = Field(None, gt=0, le=10**9)
    tokens_per_minute: int | None = Field(None, gt=0, le=10**12)
    input_tokens_per_minute: int | None = Field(None, gt=0, le=10**12)
    output_tokens_per_minute: int | None = Field(None, gt=0, le=10**12)
    requests_per_day: int | None = Field(None, gt=0, le=10**9)
    max_concurrency: int | None = Field(None, gt=0, le=10**6, description="Calls in flight at the same time.")


class PriceOptions(Frozen):
    """Prices per million tokens."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_read: Decimal | None = Field(None, ge=0)
    cache_write: Decimal | None = Field(None, ge=0)


class ModelOptions(Frozen):
    """One model of a provider: facts that override the packaged ones, and defaults for its requests."""

    context_window: int | None = Field(None, gt=0, description="Tokens of prompt and answer together.")
    max_output_tokens: int | None = Field(None, gt=0)
    capabilities: frozenset[Capability] | None = None
    price: PriceOptions | None = None
    quirks: Mapping[str, Any] = Field(
        default_factory=dict, description="Wire details, such as `token_cap: max_tokens`."
    )
    defaults: Mapping[str, Any] = Field(
        default_factory=dict, description="Request fields sent unless the caller sets them, such as `temperature: 0.2`."
    )


def named_models(value: object) -> object:
    """Models as a mapping by name, also where they were given as a list of names."""
    if isinstance(value, list | tuple):
        return {name: {} for name in value} if all(isinstance(name, str | int | float) for name in value) else value
    if isinstance(value, Mapping):
        return {name: {} if entry is None else entry for name, entry in value.items()}
    return value


class ProviderConfig(Frozen):
    """What every provider can be told."""

    needs_key: ClassVar[bool] = False
    """True where the provider is of no use without a key: it is off, and says so, as long as it has none."""
    closed_models: ClassVar[bool] = False
    """True where exactly the models under `models` exist, so that any other name is a mistake."""

    type: str = Field("", description="Kind of provider; the key of the provider where it is left out.")
    enabled: bool = True
    api_key: SecretStr | None = Field(
        None, description="Unset or empty: a provider that needs one is off and says why."
    )
    api_keys: tuple[SecretStr, ...] = Field((), description="A pool of keys instead of one.")
    base_url: str | None = None
    models: Annotated[Mapping[str, ModelOptions], BeforeValidator(named_models)] = Field(
        default_factory=dict, description="Models by the provider's own name: a list, or a mapping with facts."
    )
    default_model: str | None = Field(None, description="Used where a chain names the provider only.")
    timeouts: TimeoutOptions = TimeoutOptions()
    rate_limits: RateLimitOptions = RateLimitOptions()
    max_retries: int | None = Field(None, ge=0, le=10, description="Overrides `retry.max_retries` for this provider.")
    headers: Mapping[str, SecretStr] = Field(default_factory=dict, description="Sent with every request.")
    extra: Mapping[str, Any] = Field(default_factory=dict, description="Raw fields for the body of every chat request.")
    proxy: SecretStr | None = Field(None, description="HTTP proxy; may hold credentials.")
    ca_file: str | None = Field(None, description="Certificate authorities to trust instead of the system's.")
    allow_insecure: bool = Field(False, description="Allow sending a key over plain http to another host.")
    allow_private: bool = Field(True, description="Allow base_url to be an address in a private network.")
    max_connections: int = Field(512, gt=0, le=100_000)
    max_response_bytes: Size = Field(64 * 2**20)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys that are set, the single one first."""
        given = (*((self.api_key,) if self.api_key is not None else ()), *self.api_keys)
        return tuple(secret for key in given if (secret := key.get_secret_value()))

    @property
    def key_needed(self) -> bool:
        """Whether this provider, as it is configured, needs a key; subclasses that can do without one say when."""
        return self.needs_key


class AliasTarget(Frozen):
    """One of several models behind an alias."""

    model: str
    weight: float = Field(1.0, ge=0, le=10**6)


def _targets(value: object) -> object:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"model": item} if isinstance(item, str) else item for item in items)


def _strings(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class AliasOptions(Frozen):
    """A name that services ask for, and the models that answer to it."""

    use: Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets)] = Field(min_length=1)
    fallback: Annotated[tuple[str, ...] | None, BeforeValidator(_strings)] = Field(
        None, description="Models tried in order after `use`; unset: the general `fallback_chain`; `[]`: none."
    )
    strategy: Literal["ordered", "weighted", "round_robin"] = "ordered"
    defaults: Mapping[str, Any] = Field(default_factory=dict)


def _alias(value: object) -> object:
    return {"use": value} if isinstance(value, str | list | tuple) else value


class RetryOptions(Frozen):
    """How often and how fast the same model is tried again."""

    max_retries: int = Field(2, ge=0, le=10, description="Tries after the first, per model.")
    max_attempts: int = Field(5, ge=1, le=50, description="Attempts of one call in total, all models together.")
    initial_delay: Duration = Field(0.5, description="Grows by `backoff_factor`, with full jitter.")
    max_delay: Duration = 20.0
    backoff_factor: float = Field(2.0, ge=1, le=10)
    max_retry_after: Duration = Field(60.0, description="A provider that asks for a longer wait is passed over.")


class HealthCheckOptions(Frozen):
    """Background checks that cost no tokens."""

    enabled: bool = True
    interval: Duration = 30.0
    timeout: Duration = 5.0


class CacheOptions(Frozen):
    """Answers kept for identical requests."""

    enabled: bool = False
    ttl: Duration = 3600.0
    max_entries: int = Field(10_000, gt=0)


class CostOptions(Frozen):
    """Budgets, in `currency`."""

    monthly_budget: Decimal | None = Field(None, ge=0)
    daily_limit: Decimal | None = Field(None, ge=0)
    alert_threshold: float = Field(0.8, gt=0, le=1)
    limits: Mapping[str, Decimal] = Field(default_factory=dict)
    currency: str = Field("USD", pattern="^[A-Z]{3}$")


class StateOptions(Frozen):
    """Where counters and the ledger are kept."""

    backend: Literal["memory", "sqlite", "redis"] = "memory"
    path: str | None = None
    url: SecretStr | None = None


class ResidencyOptions(Frozen):
    """Which local models are in memory."""

    max_loaded: int | None = Field(None, gt=0)
    memory_budget: Mapping[str, Size] = Field(default_factory=dict, description="By device: `cpu`, `cuda:0`.")
    idle_ttl: Duration | Literal["never", "immediate"] = Field("never", union_mode="left_to_right")
    preload: tuple[str, ...] = ()
    preload_mode: Literal["background", "blocking", "required"] = "background"
    pinned: tuple[str, ...] = ()


class LoggingOptions(Frozen):
    """What is logged."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
    log_content: bool = False


class ReloadOptions(Frozen):
    """How an edited file becomes live."""

    enabled: bool = True
    debounce: Duration = Field(0.1, description="Quiet time after the last change before the file is read.")
    poll_interval: Duration = Field(2.0, description="How often the files are compared, events or not.")
    on_sighup: bool = False


class LifecycleOptions(Frozen):
    """How old configurations and the service itself come to an end."""

    drain_timeout: Duration = Field(
        300.0, description="Calls on an old configuration may run this long after a reload."
    )
    shutdown_timeout: Duration = Field(15.0, description="Calls may run this long after stop.")


class PluginOptions(Frozen):
    """Third-party providers found through entry points."""

    allow: tuple[str, ...] = ()


class LLMServiceConfig(Frozen):
    """The whole configuration: what stands under `llm_service`."""

    schema_version: Literal[1] = 1
    default_model: str | None = Field(
        None, description="Alias, provider/model or model name used when none is asked for."
    )
    fallback_chain: tuple[str, ...] = Field(
        (), description="Providers (or provider/model) tried in order where an alias names no fallback of its own."
    )
    models: Mapping[str, Annotated[AliasOptions, BeforeValidator(_alias)]] = Field(
        default_factory=dict, description="Aliases: what services ask for."
    )
    providers: Mapping[str, ProviderConfig] = Field(default_factory=dict)
    timeout: Duration = Field(600.0, description="One deadline for a whole call, every attempt and fallback included.")
    parameter_policy: Literal["error", "warn", "drop"] = Field(
        "warn",
        description="What happens to a parameter that a model does not take as asked: refuse the call, or send it "
        "without and say so in the response (`warn` logs it as well).",
    )
    retry: RetryOptions = RetryOptions()
    health_check: HealthCheckOptions = HealthCheckOptions()
    cache: CacheOptions = CacheOptions()
    costs: CostOptions = CostOptions()
    state: StateOptions = StateOptions()
    residency: ResidencyOptions = ResidencyOptions()
    logging: LoggingOptions = LoggingOptions()
    reload: ReloadOptions = ReloadOptions()
    lifecycle: LifecycleOptions = LifecycleOptions()
    plugins: PluginOptions = PluginOptions()
