"""Options of an alias: the models that answer to a name, and how one of them is chosen."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from core.llm.providers.config.models.experiments import ShadowOptions
from core.llm.providers.config.models.frozen import Frozen
from core.llm.providers.config.models.limits import RequestLimitOptions
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


class AliasOptions(Frozen):
    """A name that services ask for, and the models that answer to it."""

    use: Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets)] = Field(min_length=1)
    fallback: Annotated[tuple[str, ...] | None, BeforeValidator(_strings)] = Field(
        None, description="Models tried in order after `use`; unset: the general `fallback_chain`; `[]`: none."
    )
    fallback_on: Mapping[str, Annotated[tuple[str, ...], BeforeValidator(_strings)]] = Field(
        default_factory=dict,
        description="Models tried after an error of this type instead of `fallback`, such as `context_length: [big]`.",
    )
    strategy: Literal["ordered", "weighted", "round_robin"] = "ordered"
    sticky_by: str | None = Field(
        None, description="Calls with the same value go to the same model: `user`, or a key of the request's metadata."
    )
    mid_stream: Annotated[MidStreamOptions, BeforeValidator(_policy)] = MidStreamOptions()
    hedge: Annotated[HedgeOptions | None, BeforeValidator(_hedge)] = None
    shadow: ShadowOptions | None = None
    limits: RequestLimitOptions | None = Field(None, description="Instead of the general `request_limits`.")
    defaults: Mapping[str, Any] = Field(default_factory=dict)


def alias_from(value: object) -> object:
    """An alias also where only its models were given."""
    return {"use": value} if isinstance(value, str | list | tuple) else value
