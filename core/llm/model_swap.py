"""Let an alias mean another model while calls run: nothing is flipped before the new model has answered.

overlap   load the new one beside the old, try it, flip, let the old go after its last call
replace   send calls to wait for the new one, drain and unload the old, load the new, try it; if that fails, those who
          wait go on to the old, which is loaded again
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from core.llm.asking import asked
from core.llm.common.clock import Clock
from core.llm.common.events import EventBus, ModelEvent
from core.llm.common.exceptions import (
    LLMError,
    ModelError,
    ModelLoadError,
    NoCapacity,
    ProviderError,
    UnknownModel,
    UnsupportedFeature,
)
from core.llm.common.types import ModelRef, PhaseLimits, SwapMode
from core.llm.pipeline.defects import own_error
from core.llm.pipeline.target import Target
from core.llm.providers.base.provider import Embedder, ModelHost, ModelStatus
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.base.residency import Warmable

if TYPE_CHECKING:
    from core.llm.runtime.live import LiveConfiguration
    from core.llm.runtime.runtime import Runtime


_WARM_UP: Final = 60.0
"""Seconds in which a loaded model has to answer one token."""
_POLL: Final = 0.05


class ModelSwap:
    """Carries out swaps, one at a time for each alias."""

    def __init__(self, live: "LiveConfiguration", clock: Clock, events: EventBus) -> None:
        self._live = live
        self._keeper = live.keeper
        self._aliases = live.state.swapped
        self._clock = clock
        self._events = events
        # Each lives as long as somebody swaps: names come from callers.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def swap(self, alias: str, model: str, mode: SwapMode) -> ModelStatus:
        """See `ModelManager.swap`."""
        async with self._locks.setdefault(alias, asyncio.Lock()):
            return await self._swap(alias, model, mode)

    async def _swap(self, alias: str, model: str, mode: SwapMode) -> ModelStatus:
        runtime = self._live.holder.current
        if alias not in runtime.config.models:
            known = ", ".join(runtime.config.models) or "none"
            raise UnknownModel(f"{alias!r} is no alias, so it cannot be swapped; aliases are: {known}")
        new = await target_of(runtime, model)
        olds = [old for old in await _meant_now(runtime, alias) if old.ref != new.ref]
        if self._wants_overlap(mode, new, olds):
            await self._overlap(runtime, alias, new, olds)
        else:
            await self._replace(runtime, alias, new, olds)
        self._tell(new.ref, "swapped", f"{alias} means {new.ref} now")
        if isinstance(new.provider, ModelHost):
            return await asked(new.provider.model_status(new.ref.model), new.ref)
        return ModelStatus(new.ref.model, "unknown", detail="hosted: there is nothing to load")

    def _wants_overlap(self, mode: SwapMode, new: Target, olds: Sequence[Target]) -> bool:
        resident = new.resident
        if mode == "replace":
            return False
        stays = [old.resident for old in olds if old.resident is not None]
        if resident is None or resident.phase == "ready" or self._keeper.fits_beside(resident, stays):
            return True
        if mode == "overlap":
            names = ", ".join(one.name for one in stays) or "what is pinned"
            raise NoCapacity(
                f"no room for {resident.name} beside {names}: swap with mode='replace', or raise the budget",
                model=resident.name,
            )
        return False

    async def _overlap(self, runtime: "Runtime", alias: str, new: Target, olds: Sequence[Target]) -> None:
        # The old ones are idle perhaps, and must not be what makes room for the new one.
        held = [old.resident for old in olds if old.resident is not None]
        for resident in held:
            resident.held += 1
        there = new.resident is not None and new.resident.phase == "ready"
        try:
            await self._load(new)
            self._flip(alias, runtime, [new])
        except BaseException:
            if not there and new.resident is not None and not new.resident.waiters:
                self._keeper.leave(new.resident)
            raise
        finally:
            for resident in held:
                resident.held -= 1
        self._let_go(olds)

    async def _replace(self, runtime: "Runtime", alias: str, new: Target, olds: Sequence[Target]) -> None:
        before = self._aliases.current.get(alias)
        self._flip(alias, runtime, [new, *olds])
        if new.resident is not None:
            new.resident.incoming = True
        flipped = False
        try:
            for old in olds:
                await self._drain(old)
            await self._load(new)
            self._flip(alias, runtime, [new])
            flipped = True
        except BaseException as error:
            await self._bring_back(olds, wait=isinstance(error, Exception))
            raise
        finally:
            if new.resident is not None:
                new.resident.incoming = False
            if not flipped:
                self._aliases.restore(alias, before)
                self._live.holder.current.reroute()

    async def _bring_back(self, olds: Sequence[Target], *, wait: bool) -> None:
        for old in olds:
            if old.resident is None:
                continue
            self._keeper.want(old.resident)
            if wait:
                try:
                    await self._keeper.load(old.resident)
                except LLMError as error:
                    self._tell(old.ref, "failed", f"not loaded again after a swap that failed: {error}")

    async def _load(self, new: Target) -> None:
        """Load the model and have it answer once; others get it only then."""
        provider, resident = new.provider, new.resident
        if not isinstance(provider, ModelHost):
            return
        if resident is not None and resident.phase != "ready":
            resident.warm_up = lambda: self._warm_up(new)
            try:
                await self._keeper.load(resident)
            finally:
                resident.warm_up = None
            return
        if resident is None:
            await asked(provider.load_model(new.ref.model), new.ref)
        await self._warm_up(new)

    async def _warm_up(self, target: Target) -> None:
        """One token, or one vector.

        Raises:
            ModelLoadError: the model does not answer.
        """
        provider, ref = target.provider, target.ref
        limits = PhaseLimits(deadline_at=self._clock.monotonic() + _WARM_UP)
        key = target.config.secrets[0] if target.config.secrets else None
        try:
            if isinstance(provider, Warmable):
                await provider.warm_model(ref.model)
            elif target.facts.lacks("chat") and isinstance(provider, Embedder):
                await provider.embed(EmbeddingRequest(ref.provider, ref.model, ("Hi",), limits, api_key=key))
            else:
                question = LLMRequest(messages="Hi", max_tokens=1)
                await provider.generate(
                    ChatRequest(ref.provider, ref.model, question, question.messages, target.facts, limits, key)
                )
        except (ModelError, UnsupportedFeature):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a provider raises, the model does not answer
            problem = own_error(error, ref)
            raise ModelLoadError(f"{ref} was loaded and does not answer: {problem}", model=str(ref)) from None

    async def _drain(self, old: Target) -> None:
        if old.resident is not None:
            if old.resident.phase != "absent":
                await self._keeper.unload(old.resident, math.inf)
        elif isinstance(old.provider, ModelHost):
            while any(call.target == old.ref for runtime in self._live.holder.live for call in runtime.calls):
                await self._clock.sleep(_POLL)
            await asked(old.provider.unload_model(old.ref.model), old.ref)

    def _let_go(self, olds: Sequence[Target]) -> None:
        """Let the old models leave after their last calls, unless they are wanted for something else."""
        runtime = self._live.holder.current
        used = {ref for alias in runtime.config.models for ref in runtime.router.chain([alias])}
        for old in olds:
            resident = old.resident
            if resident is not None and old.ref not in used and not resident.pinned:
                self._keeper.leave(resident)

    def _flip(self, alias: str, runtime: "Runtime", targets: Sequence[Target]) -> None:
        current = self._live.holder.current
        written = current.config.models.get(alias)
        if written is None or written != runtime.config.models[alias]:
            raise ProviderError(
                "cancelled", f"{alias!r} was edited while it was being swapped: what is written holds", code="edited"
            )
        self._aliases.set(alias, written, [str(target.ref) for target in targets])
        current.reroute()

    def _tell(self, ref: ModelRef, state: str, message: str) -> None:
        if self._events.wants(ModelEvent):
            self._events.publish(ModelEvent(str(ref), "state", state, message=message))


async def _meant_now(runtime: "Runtime", alias: str) -> list[Target]:
    """What answers to *alias*. A provider that is off, or away and asked for its model, has nothing that must go."""
    found = []
    for ref in dict.fromkeys(runtime.router.chain([alias])):
        with suppress(LLMError):
            found.append(await runtime.target(ref))
    return found


async def ref_of(runtime: "Runtime", model: str) -> ModelRef:
    """What *model* (alias, `provider/model` or model name) stands for first.

    Raises:
        UnknownModel: nothing is called like this.
        UnknownProvider: its provider is off.
    """
    refs = runtime.router.chain([model])
    if not refs:
        raise UnknownModel(f"nothing is called {model!r}: no alias, no provider/model, no model listed by a provider")
    runtime.provider(refs[0].provider)
    ref = runtime.completed(refs[0])
    return ref if ref.model else (await runtime.target(ref)).ref


async def target_of(runtime: "Runtime", model: str) -> Target:
    """The target of `ref_of`."""
    return runtime.known_target(await ref_of(runtime, model))
