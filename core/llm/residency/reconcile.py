"""Servers that others use too: what they hold is asked for, now and then, while a model of ours is there.

What is in the books about such a server is advice: others load and evict as well, and the server may be started anew
behind us.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from core.llm.common.clock import Clock
from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelHost
from core.llm.providers.base.residency import LoadedLister
from core.llm.residency.resident import Resident

if TYPE_CHECKING:
    from core.llm.residency.keeper import Keeper

_LONGEST: Final = 120.0
_IN_MEMORY: Final = frozenset({"ready", "in_use"})


class Reconciler:
    """Asks servers in the background as long as there is a reason to."""

    def __init__(self, keeper: "Keeper", clock: Clock) -> None:
        self._keeper = keeper
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def begin(self) -> None:
        """A model is on a server: look at it from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="core.llm:residency:reconcile")

    def soon(self) -> None:
        """Something is wrong: look now."""
        self.begin()
        self._wake.set()

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        pause = self._keeper.options.reconcile_interval
        try:
            while servers := self._servers():
                await self._pause(pause)
                reached = [await self._ask(handle, residents) for handle, residents in servers]
                interval = self._keeper.options.reconcile_interval
                pause = interval if all(reached) else min(pause * 2, max(interval, _LONGEST))
                self._keeper.turn()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    async def _pause(self, seconds: float) -> None:
        timer = self._clock.call_at(self._clock.monotonic() + seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
            self._wake.clear()

    def _servers(self) -> list[tuple[ModelHost, list[Resident]]]:
        """Servers that hold a model of ours, each with all its models."""
        found: dict[int, tuple[ModelHost, list[Resident]]] = {}
        for resident in self._keeper.residents:
            if not resident.owned:
                found.setdefault(id(resident.handle), (resident.handle, []))[1].append(resident)
        return [server for server in found.values() if any(one.phase != "absent" and one.ours for one in server[1])]

    async def _ask(self, handle: ModelHost, residents: Sequence[Resident]) -> bool:
        """Compare the books with what *handle* says; whether it said something."""
        try:
            if isinstance(handle, LoadedLister):
                listed = await handle.loaded_models([resident.ref.model for resident in residents])
                statuses = {status.model: status for status in listed}
            else:
                asked = [await handle.model_status(resident.ref.model) for resident in residents]
                statuses = {status.model: status for status in asked if status.state in _IN_MEMORY}
        except LLMError:
            return False
        for resident in residents:
            self._keeper.found(resident, statuses.pop(resident.ref.model, None))
        provider = residents[0].ref.provider
        for name, status in statuses.items():
            self._keeper.found_foreign(handle, ModelRef(provider, name), status)
        return True
