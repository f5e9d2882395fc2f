"""Models that are loaded before anybody asks: in the background, or while the start of the application waits."""

import asyncio
from collections.abc import Awaitable, Callable

from core.llm.common.exceptions import LLMError, ModelLoadError, ServiceStopping
from core.llm.common.log import log
from core.llm.providers.config.models.residency import ResidencyOptions


def longest_wait(options: ResidencyOptions) -> float:
    """Seconds that a start may have to wait for its models."""
    waits = options.preload and options.preload_mode != "background"
    return options.preload_timeout if waits else 0.0


class Preload:
    """Loads what `residency.preload` names, each model by *load*."""

    def __init__(self, load: Callable[[str], Awaitable[object]]) -> None:
        self._load = load
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, options: ResidencyOptions) -> None:
        """Begin to load, and wait for it where *options* say so.

        Raises:
            LLMError: `preload_mode: required`, and a model cannot be loaded in time; says which and why.
        """
        required = options.preload_mode == "required"
        work = [self._spawn(name, required=required) for name in options.preload]
        if not work or options.preload_mode == "background":
            return
        done, late = await asyncio.wait(work, timeout=options.preload_timeout, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        if not late:
            return
        names = ", ".join(name for name, task in zip(options.preload, work, strict=True) if task in late)
        seconds = options.preload_timeout
        if required:
            raise ModelLoadError(f"{names}: not loaded within {seconds:g} s; raise residency.preload_timeout")
        log("WARNING", "{}: not loaded within {:g} s; the start goes on, and so does the load", names, seconds)

    async def stop(self) -> None:
        """End the loads that nobody else waits for."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _spawn(self, name: str, *, required: bool) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self._one(name, required=required), name="core.llm:preload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _one(self, name: str, *, required: bool) -> None:
        try:
            await self._load(name)
        except LLMError as error:
            if required:
                raise
            log("DEBUG" if isinstance(error, ServiceStopping) else "WARNING", "{} was not preloaded: {}", name, error)
