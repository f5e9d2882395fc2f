"""Options of an alias: the models that answer to a name, and how one of them is chosen."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from core.llm.common.types import Capability
from core.llm.providers.config.models.experiments import BanditOptions, ShadowOptions
from core.llm.providers.config.models.frozen import Frozen
from core.llm.providers.config.models.limits import RequestLimitOptions
from core.llm.providers.config.models.reasons import FallbackReason
from core.llm.providers.config.models.streams import HedgeOptions, MidStreamOptions


class AliasTarget(Frozen):
    """One of several models behind an alias."""

    model: str
    weight: float = Field(1.0, ge=0, le=10**6)


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

    capabilities: Annotated[tuple[Capability, ...], BeforeValidator(_strings)] = ()
    min_context_window: int | None = Field(None, gt=0)
    min_output_tokens: int | None = Field(None, gt=0, description="Tokens that an answer may have at least.")
    max_input_price: Decimal | None = Field(None, ge=0, description="Per million tokens.")
    max_output_price: Decimal | None = Field(None, ge=0, description="Per million tokens.")


class AliasOptions(Frozen):
    """A name that services ask for, and the models that answer to it."""

    use: Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets)] = Field(min_length=1)
    where: WhereOptions | None = Field(None, description="Which of the models behind the alias are admitted.")
    fallback: Annotated[tuple[str, ...] | None, BeforeValidator(_strings)] = Field(
        None, description="Models tried in order after `use`; unset: the general `fallback_chain`; `[]`: none."
    )
    fallback_on: Mapping[FallbackReason, Annotated[tuple[str, ...], BeforeValidator(_strings)]] = Field(
        default_factory=dict,
        description="Models that come next after a failure of this kind, before the rest of `fallback`: "
        "`context_length: [big]`. A refusal is routed around only where `content_filter` is named here.",
    )
    strategy: BuiltInStrategy | str = Field(
        "ordered",
        union_mode="left_to_right",
        description="How the models of `use` are ordered; also a function of your own, by its name or as "
        "`package.module:function`.",
    )
    sticky_by: str | None = Field(
        None,
        min_length=1,
        description="Calls with the same value go to the same model: `user`, `prompt` (the system prompt), or a key of "
        "the request's metadata. Calls without a value are left to `strategy`.",
    )
    classifier: str | None = Field(
        None, min_length=1, description="A function of your own that names the class of a request, one of `classes`."
    )
    classes: Mapping[str, Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets), Field(min_length=1)]] = Field(
        default_factory=dict, description="Models instead of `use`, by the class of the request."
    )
    mid_stream: Annotated[MidStreamOptions, BeforeValidator(_policy)] = MidStreamOptions()
    hedge: Annotated[HedgeOptions | None, BeforeValidator(_hedge)] = None
    shadow: ShadowOptions | None = None
    bandit: BanditOptions = BanditOptions()
    limits: RequestLimitOptions | None = Field(None, description="Instead of the general `request_limits`.")
    defaults: Mapping[str, Any] = Field(default_factory=dict)


def alias_from(value: object) -> object:
    """An alias also where only its models were given."""
    return {"use": value} if isinstance(value, str | list | tuple) else value
