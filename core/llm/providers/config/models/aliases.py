"""Options of an alias: the models that answer to a name, and how one of them is chosen."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from core.llm.common.types import Capability
from core.llm.providers.config.models.experiments import BanditOptions, ShadowOptions
from core.llm.providers.config.models.frozen import Also, Frozen, Price, Tokens, own_defaults
from core.llm.providers.config.models.limits import RequestLimitOptions
from core.llm.providers.config.models.reasons import FallbackReason
from core.llm.providers.config.models.streams import HedgeOptions, MidStreamOptions

_NAME: Final = Also("text", "text")
_POLICY: Final = Also("text", "one of error, restart, continue, buffer")
_AFTER: Final = Also("quantity", "true, a duration such as 800ms, p95", ("string", "number", "boolean"))


class AliasTarget(Frozen):
    """One of several models behind an alias."""

    shorthand: ClassVar[str] = "model"
    model: str = Field(description="Alias, provider/model, or provider.")
    weight: float = Field(
        default=1.0,
        ge=0,
        le=10**6,
        description="Its share of the calls, beside the weights of the others; `strategy: weighted` reads it.",
    )


def _targets(value: object) -> object:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"model": item} if isinstance(item, str) else item for item in items)


def _strings(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _policy(value: object) -> object:
    return {"policy": value} if isinstance(value, str) else value


def _hedge(value: object) -> object:
    """`hedge: true` means its defaults, `hedge: 800ms` the moment."""
    if isinstance(value, bool):
        return {} if value else None
    return {"after": value} if isinstance(value, str | int | float) else value


BuiltInStrategy = Literal[
    "ordered",
    "weighted",
    "round_robin",
    "least_in_flight",
    "latency",
    "first_token",
    "cost",
    "headroom",
    "sticky",
    "prefer_loaded",
    "bandit",
]


class WhereOptions(Frozen):
    """Which models are admitted; one about which a fact is not known does not meet a condition on it."""

    capabilities: Annotated[tuple[Capability, ...], BeforeValidator(_strings), _NAME] = Field(
        default=(), description="What a model must be able to do."
    )
    min_context_window: Tokens | None = Field(
        default=None, description="Tokens that request and answer may have together, at least."
    )
    min_output_tokens: Tokens | None = Field(default=None, description="Tokens that an answer may have at least.")
    max_input_price: Price | None = Field(default=None, description="Per million tokens.")
    max_output_price: Price | None = Field(default=None, description="Per million tokens.")


class AliasOptions(Frozen):
    """A name that services ask for, and the models that answer to it."""

    shorthand: ClassVar[str] = "use"
    """What may stand in the place of the whole mapping."""

    use: Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets), _NAME] = Field(min_length=1)
    where: WhereOptions | None = Field(default=None, description="Which of the models behind the alias are admitted.")
    fallback: Annotated[tuple[str, ...] | None, BeforeValidator(_strings), _NAME] = Field(
        default=None, description="Models tried in order after `use`; unset: the general `fallback_chain`; `[]`: none."
    )
    fallback_on: Mapping[FallbackReason, Annotated[tuple[str, ...], BeforeValidator(_strings), _NAME]] = Field(
        default_factory=dict,
        description="Models that come next after a failure of this kind, before the rest of `fallback`: "
        "`context_length: [big]`. A refusal is routed around only where `content_filter` is named here.",
    )
    strategy: BuiltInStrategy | str = Field(
        default="ordered",
        union_mode="left_to_right",
        description="How the models of `use` are ordered; also a function of your own, by its name or as "
        "`package.module:function`.",
    )
    sticky_by: str | None = Field(
        default=None,
        min_length=1,
        description="Calls with the same value go to the same model: `user`, `prompt` (the system prompt), or a key of "
        "the request's metadata. Calls without a value are left to `strategy`.",
    )
    classifier: str | None = Field(
        default=None,
        min_length=1,
        description="A function of your own that names the class of a request, one of `classes`.",
    )
    classes: Mapping[str, Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets), _NAME, Field(min_length=1)]] = (
        Field(default_factory=dict, description="Models instead of `use`, by the class of the request.")
    )
    mid_stream: Annotated[MidStreamOptions, BeforeValidator(_policy), _POLICY] = own_defaults()
    hedge: Annotated[HedgeOptions | None, BeforeValidator(_hedge), _AFTER] = None
    shadow: ShadowOptions | None = None
    bandit: BanditOptions = own_defaults()
    limits: RequestLimitOptions | None = Field(default=None, description="Instead of the general `request_limits`.")
    defaults: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Options, such as `temperature`, for requests that do not set them.",
    )


def alias_from(value: object) -> object:
    """An alias also where only its models were given."""
    return {"use": value} if isinstance(value, str | list | tuple) else value
