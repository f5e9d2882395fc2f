"""Servers that others use too: what they hold is asked for, now and then, while a model of ours is there.

What is in the books about such a server is advice: others load and evict as well, and the server may be started anew
behind us.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from core.llm.common.clock import Clock
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelHost, ModelStatus
from core.llm.providers.base.residency import LoadedLister
from core.llm.residency.registry import Registry
from core.llm.residency.resident import Resident

_LONGEST: Final = 120.0
_IN_MEMORY: Final = frozenset({"ready", "in_use"})


class Findings(Protocol):
    """Is told what a server holds."""

    def found(self, resident: Resident, status: ModelStatus | None) -> None:
        """The model is in memory (*status*), or it is not."""

    def found_foreign(self, handle: ModelHost, ref: ModelRef, status: ModelStatus) -> None:
        """A model is in memory that no call of ours has asked for."""


class Reconciler:
    """Asks servers in the background as long as there is a reason to."""

    def __init__(self, books: Registry, findings: Findings, turn: Callable[[], None], clock: Clock) -> None:
        self._books = books
        self._findings = findings
        self._turn = turn
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
        pause = self._books.options.reconcile_interval
        try:
            while servers := self._servers():
                await self._pause(pause)
                reached = [await self._ask(handle, residents) for handle, residents in servers]
                interval = self._books.options.reconcile_interval
                pause = interval if all(reached) else min(pause * 2, max(interval, _LONGEST))
                self._turn()
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
        for resident in self._books:
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
        except Exception:  # noqa: BLE001 - a provider's defect ends the look at its server, and at no other
            return False
        for resident in residents:
            self._findings.found(resident, statuses.pop(resident.ref.model, None))
        provider = residents[0].ref.provider
        for name, status in statuses.items():
            self._findings.found_foreign(handle, ModelRef(provider, name), status)
        return True
