"""Downloads that a server does by itself: begun with one request, and asked about until they are done."""

import asyncio
from abc import abstractmethod
from dataclasses import dataclass
from typing import Final, Literal

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_manager import ManagerLimits, ServerModelManager
from core.llm.providers.base.provider import Progress, ProviderServices
from core.llm.providers.base.single_flight import Tell

_POLL_FIRST: Final = 0.1
_POLL_LONGEST: Final = 2.0
_MISSES: Final = 5
"""So many polls in a row may fail before the pull counts as failed."""


@dataclass(frozen=True, slots=True)
class PullJob:
    """A download on the server, as it stands."""

    id: str
    state: Literal["running", "done", "failed"]
    progress: Progress


class PullJobManager(ServerModelManager):
    """A manager of models whose server pulls by jobs. *pull_stall*: seconds that a pull may stand still."""

    def __init__(
        self,
        services: ProviderServices,
        limits: ManagerLimits,
        *,
        unload_on_stop: bool,
        pull_stall: float,
        pull_from: tuple[str, ...] = (),
    ) -> None:
        super().__init__(services, limits, unload_on_stop=unload_on_stop, pull_from=pull_from)
        self._pull_stall = pull_stall

    @abstractmethod
    async def begin_pull(self, model: str) -> PullJob:
        """Begin to download *model*."""

    @abstractmethod
    async def poll_pull(self, job: PullJob) -> PullJob:
        """Where *job* stands."""

    @abstractmethod
    async def stop_pull(self, job: PullJob) -> None:
        """Stop *job* where the server can, keeping what can be resumed."""

    async def download(self, model: str, report: Tell) -> Progress:
        """Download *model*; cancelled or stalled, it stops the job where the server can."""
        job = await self.begin_pull(model)
        try:
            job = await self._follow(model, job, report)
        except asyncio.CancelledError:
            await self._stop_quietly(job)
            raise
        if job.state == "failed":
            raise ProviderError(
                "server_error", f"the download of {model!r} failed: {job.progress.message}", code="pull_failed"
            )
        return job.progress

    async def _follow(self, model: str, job: PullJob, report: Tell) -> PullJob:
        clock = self._services.clock
        pause, misses, moved_at = _POLL_FIRST, 0, clock.monotonic()
        while job.state == "running":
            report(job.progress)
            await clock.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)
            try:
                seen = await self.poll_pull(job)
            except ProviderError as error:
                # The download goes on at the server; one lost question about it is no failure of the download.
                misses += 1
                if not error.retryable or misses >= _MISSES:
                    raise
                continue
            misses = 0
            if seen.progress != job.progress:
                moved_at = clock.monotonic()
            elif clock.monotonic() - moved_at >= self._pull_stall:
                await self._stop_quietly(job)
                raise ProviderError(
                    "timeout",
                    f"the download of {model!r} has made no progress for {self._pull_stall:g} s; look at the "
                    "server's network and disk, or raise pull_stall_timeout",
                    code="pull_stalled",
                )
            job = seen
        return job

    async def _stop_quietly(self, job: PullJob) -> None:
        try:
            await self.stop_pull(job)
        except ProviderError as error:
            self._event(job.id, "pull", "failed", message=f"the download could not be stopped: {error.message}")
