"""The whole configuration as frozen data with its defaults. No behaviour."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from core.llm.common.units import Duration
from core.llm.providers.config.models.aliases import AliasOptions, alias_from
from core.llm.providers.config.models.cache import CacheOptions
from core.llm.providers.config.models.costs import CostOptions
from core.llm.providers.config.models.frozen import A_LIST, Also, Frozen, own_defaults
from core.llm.providers.config.models.limits import RequestLimitOptions
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.residency import ResidencyOptions


class RetryOptions(Frozen):
    """How often and how fast the same model is tried again."""

    max_retries: int = Field(default=2, ge=0, le=10, description="Tries after the first, per model.")
    max_attempts: int = Field(default=5, ge=1, le=50, description="Attempts of one call in total, all models together.")
    initial_delay: Duration = Field(default=0.5, description="Grows by `backoff_factor`, with full jitter.")
    max_delay: Duration = Field(
        default=20.0,
        description="The longest pause that is our own choice; one that a provider asks for may be longer.",
    )
    backoff_factor: float = Field(
        default=2.0, ge=1, le=10, description="By how much each pause may be longer than the one before."
    )
    max_retry_after: Duration = Field(
        default=60.0, description="A provider that asks for a longer wait is passed over."
    )
    min_useful: Duration = Field(
        default=0.5,
        description="With less time left no further attempt is made; where it is known how long a model usually takes "
        "to begin, that counts instead.",
    )


class HealthCheckOptions(Frozen):
    """Background checks that cost no tokens."""

    enabled: bool = Field(default=True, description="Look after providers in the background.")
    interval: Duration = Field(default=30.0, description="Between two checks of a provider that is well.")
    timeout: Duration = Field(default=5.0, description="How long a check may take.")


class StateOptions(Frozen):
    """Where counters and the ledger are kept."""

    backend: Literal["memory", "sqlite", "redis"] = Field(
        default="memory",
        description="`memory` forgets with the process; `sqlite` is shared by the processes of one machine. "
        "`redis` is not available yet.",
    )
    path: str | None = Field(default=None, description="The file of `sqlite`; its folder is made where it is missing.")
    url: SecretStr | None = Field(default=None, description="The address for `redis`.")


class LoggingOptions(Frozen):
    """What is logged."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least that is written."
    )
    format: Literal["text", "json"] = Field(default="text", description="Lines for people, or one JSON object a line.")
    log_content: bool = Field(
        default=False, description="Write prompts and answers into the log. They may hold personal data."
    )


class AuditOptions(Frozen):
    """The audit log; off unless it has a path."""

    path: str | None = Field(
        default=None, min_length=1, description="A file of JSON lines, each sealed with the one before."
    )
    key: SecretStr | None = Field(
        default=None, description="Seals the lines, so that nobody without it can rewrite them."
    )
    content: bool = Field(default=False, description="Write prompts and answers instead of their digests and lengths.")


class ReloadOptions(Frozen):
    """How an edited file becomes live."""

    enabled: bool = Field(default=True, description="Follow edits while the application runs.")
    debounce: Duration = Field(default=0.1, description="Quiet time after the last change before the file is read.")
    poll_interval: Duration = Field(default=2.0, description="How often the files are compared, events or not.")
    on_sighup: bool = Field(default=False, description="Read the file again when the process gets SIGHUP.")


class LifecycleOptions(Frozen):
    """How old configurations and the service itself come to an end."""

    drain_timeout: Duration = Field(
        default=300.0, description="Calls on an old configuration may run this long after a reload."
    )
    shutdown_timeout: Duration = Field(default=15.0, description="Calls may run this long after stop.")
    stream_idle_timeout: Duration | None = Field(
        default=None, description="A stream whose consumer has asked for nothing for this long is closed; unset: never."
    )


class PluginOptions(Frozen):
    """Third-party providers found through entry points."""

    allow: tuple[str, ...] = Field(
        default=(), description="Names of installed providers that may be loaded; others are not imported."
    )


class LLMServiceConfig(Frozen):
    """The whole configuration: what stands under `llm_service`."""

    schema_version: Literal[1] = Field(default=1, description="The version of this format.")
    default_model: str | None = Field(
        default=None, description="Alias, provider/model or model name used when none is asked for."
    )
    fallback_chain: tuple[str, ...] = Field(
        default=(),
        description="Providers (or provider/model) tried in order where an alias names no fallback of its own.",
    )
    models: Mapping[
        str,
        Annotated[AliasOptions, BeforeValidator(alias_from), Also("text", "text"), A_LIST],
    ] = Field(default_factory=dict, description="Aliases: what services ask for.")
    providers: Mapping[str, ProviderConfig] = Field(default_factory=dict)
    timeout: Duration = Field(
        default=600.0, description="One deadline for a whole call, every attempt and fallback included."
    )
    parameter_policy: Literal["error", "warn", "drop"] = Field(
        default="warn",
        description="What happens to a parameter that a model does not take as asked: refuse the call, or send it "
        "without and say so in the response (`warn` logs it as well).",
    )
    request_limits: RequestLimitOptions = own_defaults()
    retry: RetryOptions = own_defaults()
    health_check: HealthCheckOptions = own_defaults()
    cache: CacheOptions = own_defaults()
    costs: CostOptions = own_defaults()
    state: StateOptions = own_defaults()
    residency: ResidencyOptions = own_defaults()
    logging: LoggingOptions = own_defaults()
    audit: AuditOptions = own_defaults()
    reload: ReloadOptions = own_defaults()
    lifecycle: LifecycleOptions = own_defaults()
    plugins: PluginOptions = own_defaults()
