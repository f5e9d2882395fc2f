"""Options that every provider has. Provider folders derive their own configuration from `ProviderConfig`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr

from core.llm.common.types import Capability
from core.llm.common.units import Duration, Size
from core.llm.providers.config.models.frozen import A_LIST, Frozen, Price, Tokens, own_defaults
from core.llm.providers.config.models.key import PooledKey
from core.llm.providers.config.models.limits import QuotaOptions, RateLimitOptions, SlowCallOptions


class TimeoutOptions(Frozen):
    """How long each phase of one attempt may take."""

    connect: Duration = Field(default=10.0, description="Name lookup, connection and TLS handshake.")
    first_token: Duration = Field(default=60.0, description="From sending the request to the first output of a stream.")
    idle: Duration = Field(default=30.0, description="Between two network reads once the answer has begun.")
    progress: Duration = Field(default=60.0, description="Between two pieces of output; pings do not count.")
    total: Duration = Field(default=600.0, description="The whole attempt.")
    min_rate: float | None = Field(
        default=None,
        gt=0,
        le=10**6,
        description="Tokens per second, estimated, that a stream must bring once it has begun, or it breaks off.",
    )
    rate_window: Duration = Field(default=10.0, description="How long `min_rate` is measured before it is judged.")


class PriceOptions(Frozen):
    """Prices per million tokens."""

    input: Price = Field(description="A million tokens of the request.")
    output: Price = Field(description="A million tokens of the answer, thinking included.")
    cache_read: Price | None = Field(
        default=None, description="A million tokens that the provider found in its cache; unset: as `input`."
    )
    cache_write: Price | None = Field(
        default=None, description="A million tokens that it wrote into its cache; unset: as `input`."
    )


class ModelOptions(Frozen):
    """One model of a provider: facts that override the packaged ones, and defaults for its requests."""

    context_window: Tokens | None = Field(default=None, description="Tokens of prompt and answer together.")
    max_output_tokens: Tokens | None = Field(default=None, description="Tokens that an answer may have at most.")
    capabilities: frozenset[Capability] | None = Field(
        default=None, description="What it can do; instead of what is known about it."
    )
    price: PriceOptions | None = None
    rate_limits: QuotaOptions | None = Field(
        default=None, description="Limits of this model alone, on top of those of the provider."
    )
    slow_calls: SlowCallOptions | None = Field(default=None, description="In the place of those of the provider.")
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

    in_process: ClassVar[bool] = False
    """True where models run in processes of our own: there is no connection that could be configured."""

    type: str = Field(default="", description="Kind of provider; the key of the provider where it is left out.")
    enabled: bool = Field(default=True, description="`false` keeps the settings and asks this provider nothing.")
    api_key: SecretStr | None = Field(
        default=None, description="Unset or empty: a provider that needs one is off and says why."
    )
    api_keys: tuple[PooledKey, ...] = Field(
        default=(),
        description="A pool of keys instead of one; each alone, or as `{key: …, weight: 2}` for more of the calls.",
    )
    base_url: str | None = Field(
        default=None, description="Where its API begins; unset: its public address, if it has one."
    )
    models: Annotated[Mapping[str, ModelOptions], BeforeValidator(named_models), A_LIST] = Field(
        default_factory=dict, description="Models by the provider's own name: a list, or a mapping with facts."
    )
    default_model: str | None = Field(default=None, description="Used where a chain names the provider only.")
    timeouts: TimeoutOptions = own_defaults()
    rate_limits: RateLimitOptions = own_defaults()
    slow_calls: SlowCallOptions = own_defaults()
    max_retries: int | None = Field(
        default=None, ge=0, le=10, description="Overrides `retry.max_retries` for this provider."
    )
    headers: Mapping[str, SecretStr] = Field(default_factory=dict, description="Sent with every request.")
    extra: Mapping[str, Any] = Field(default_factory=dict, description="Raw fields for the body of every chat request.")
    proxy: SecretStr | None = Field(default=None, description="HTTP proxy; may hold credentials.")
    ca_file: str | None = Field(default=None, description="Certificate authorities to trust instead of the system's.")
    allow_insecure: bool = Field(default=False, description="Allow sending a key over plain http to another host.")
    allow_private: bool = Field(default=True, description="Allow base_url to be an address in a private network.")
    max_connections: int = Field(default=512, gt=0, le=100_000, description="Connections to it at a time.")
    max_response_bytes: Size = Field(default=64 * 2**20, description="The largest answer that is read.")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys that are set, the single one first."""
        return tuple([secret for secret, _ in self.weighted_secrets])

    @property
    def weighted_secrets(self) -> tuple[tuple[str, int], ...]:
        """The keys that are set, each with its share of the calls."""
        single = (self.api_key.get_secret_value(), 1) if self.api_key is not None else ("", 1)
        pool = [(key.get_secret_value(), key.weight) for key in self.api_keys]
        return tuple([entry for entry in (single, *pool) if entry[0]])

    @property
    def key_needed(self) -> bool:
        """Whether this provider, as it is configured, needs a key; subclasses that can do without one say when."""
        return self.needs_key
