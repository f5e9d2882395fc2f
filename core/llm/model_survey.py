"""What the providers of local models have, as they say themselves when they are asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.llm.common.clock import Clock
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import ModelFacts, ModelRef
from core.llm.providers.base.provider import ModelHost, ModelInfo, ModelStatus
from core.llm.providers.base.residency import LoadedLister
from core.llm.providers.base.single_flight import within
from core.llm.residency.registry import placement_of

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime

_THERE: Final = frozenset({"ready", "in_use"})


@dataclass(frozen=True, slots=True)
class SurveyedModel:
    """One model that its provider can load."""

    model: str
    """`provider/model`."""
    configured: bool
    installed: bool
    """Whether its provider has its files."""
    loaded: bool
    owned: bool
    """True where each application loads it for itself; False on a server that others use too."""
    memory_bytes: int | None
    """What it takes; `None` where it is not in memory, or nobody knows."""
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class ModelSurvey:
    """The models of every provider that loads and unloads models."""

    models: tuple[SurveyedModel, ...]
    unreachable: dict[str, str]
    """Providers that gave no answer, each with the reason. Of their models nothing is known."""


async def survey(runtime: "Runtime", clock: Clock, timeout: float) -> ModelSurvey:
    """Ask every provider that has models in memory, all at once; *timeout* is in seconds, for each."""
    hosts = {name: provider for name, provider in runtime.providers.items() if isinstance(provider, ModelHost)}
    answers = await asyncio.gather(*(_ask(runtime, name, host, clock, timeout) for name, host in hosts.items()))
    found: list[SurveyedModel] = []
    unreachable: dict[str, str] = {}
    for name, answer in zip(hosts, answers, strict=True):
        if isinstance(answer, str):
            unreachable[name] = answer
        else:
            found.extend(answer)
    return ModelSurvey(tuple(found), unreachable)


async def _ask(
    runtime: "Runtime", name: str, host: ModelHost, clock: Clock, timeout: float
) -> Sequence[SurveyedModel] | str:
    late = ProviderError("timeout", f"no answer within {timeout:g} s")
    try:
        return await within(_models_of(runtime, name, host), timeout, clock, lambda: late)
    except ProviderError as error:
        return error.message
    except LLMError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a provider's defect hides no other provider
        # The text of a foreign error may hold anything.
        return f"asked for its models, it raised {type(error).__name__}"


async def _models_of(runtime: "Runtime", name: str, host: ModelHost) -> Sequence[SurveyedModel]:
    configured = list(runtime.config.providers[name].models)
    installed = {_known_as(info.name, configured): info for info in await host.list_models()}
    names = list(dict.fromkeys([*configured, *installed]))
    memory = await _memory(host, names, installed)
    return [_surveyed(runtime, ModelRef(name, model), host, installed.get(model), memory) for model in names]


def _surveyed(
    runtime: "Runtime", ref: ModelRef, host: ModelHost, info: ModelInfo | None, memory: dict[str, int | None]
) -> SurveyedModel:
    model = ref.model
    configured = model in runtime.config.providers[ref.provider].models
    # A target is made for each model that is known; those that nobody configured are only looked at.
    facts = runtime.known_target(ref).facts if configured else info.facts if info is not None else ModelFacts()
    placement = placement_of(ref, host)
    owned = placement is not None and placement.owned
    return SurveyedModel(str(ref), configured, info is not None, model in memory, owned, memory.get(model), facts)


async def _memory(host: ModelHost, names: Sequence[str], installed: dict[str, ModelInfo]) -> dict[str, int | None]:
    """The models that are in memory, each with what it takes."""
    if isinstance(host, LoadedLister):
        statuses = await host.loaded_models(names)
    else:
        loaded = [name for name in names if name in installed and installed[name].loaded]
        statuses = [await host.model_status(name) for name in loaded]
    return {_known_as(one.model, names): one.memory_bytes for one in statuses if _is_there(one)}


def _is_there(status: ModelStatus) -> bool:
    return status.state in _THERE


def _known_as(name: str, known: Sequence[str]) -> str:
    """A server's name of a model in the words of the configuration, which may leave the tag `latest` out."""
    short = name.removesuffix(":latest")
    return short if short in known and name not in known else name
