"""The container: modules in, started objects out, everything stopped at the end.

injector creates the objects; this adds what it lacks: a check of all bindings before anything is created, errors with
the path to their cause, and a lifecycle.
"""

import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from injector import Binder, Injector, Module

from core import journal
from core.exceptions import ContainerError, ContainerStopped, ProvisionError, SignalsUnavailable, WrongState
from core.graph import GraphCheckFailed, GraphError, check_graph
from core.injection import Ref, TracingInjector, eager_keys, lazy_singleton, watch_multibindings
from core.lifecycle import ContainerState, Lifecycle, LifecycleModule
from core.signals import stop_signals

__all__ = [
    "Container",
    "ContainerError",
    "ContainerState",
    "ContainerStopped",
    "GraphCheckFailed",
    "GraphError",
    "ProvisionError",
    "Ref",
    "SignalsUnavailable",
    "WrongState",
    "lazy_singleton",
]

T = TypeVar("T")
AnyModule = Module | type[Module] | Callable[[Binder], None]


class Container:
    """An injector with a lifecycle.

    ``start()`` checks the bindings, creates every singleton, and runs their ``async start()`` in the order of their
    dependencies; ``stop()`` runs their ``async stop()`` in reverse. ``async with Container(...)`` does both.

    Args:
        modules: injector modules: instances, classes, or functions that take a binder. A later binding wins.
        overrides: Modules that come last; for tests.
        roots: Further keys to create at the start: what is bound without a scope, or as ``lazy_singleton``.
        start_timeout: Seconds for the whole start; each component has its own limit (15 s) besides.
        stop_timeout: Seconds for the whole stop; each component has its own limit (10 s) besides.
    """

    def __init__(
        self,
        modules: Sequence[AnyModule],
        *,
        overrides: Sequence[AnyModule] = (),
        roots: Iterable[Any] = (),
        start_timeout: float = 60,
        stop_timeout: float = 25,
    ) -> None:
        if isinstance(modules, Module) or callable(modules):
            raise TypeError("modules is a list, also of one: Container([module])")
        self.start_timeout = start_timeout
        self.stop_timeout = stop_timeout
        self._roots = tuple(roots)
        self._lifecycle = Lifecycle(start_timeout=start_timeout, stop_timeout=stop_timeout, prepare=self._create)
        installed = [module() if isinstance(module, type) else module for module in (*modules, *overrides)]
        # Without auto_bind=False injector gives 0 and '' to whoever asks for an unbound int or str.
        self._injector = TracingInjector([LifecycleModule(self._lifecycle), *installed], auto_bind=False)
        watch_multibindings(self._injector)

    @property
    def state(self) -> ContainerState:
        """Where the container is in its life."""
        return self._lifecycle.state

    @property
    def lifecycle(self) -> Lifecycle:
        """The hooks, background tasks and events of this container."""
        return self._lifecycle

    @property
    def injector(self) -> Injector:
        """The injector underneath, for libraries that want one."""
        return self._injector

    @overload
    def get(self, key: type[T]) -> T: ...
    @overload
    def get(self, key: Any) -> Any: ...
    def get(self, key: Any) -> Any:
        """Return the object bound to *key*: a class, a NewType, or ``Annotated[Class, Name(...)]``.

        Raises:
            ProvisionError: it is not bound, or a constructor failed; the path to the failure is named.
            LateHook: the container has started, and *key* would create a component with a start of its own.
            ContainerStopped: the container has stopped or failed.
        """
        if self.state in (ContainerState.STOPPED, ContainerState.FAILED):
            raise ContainerStopped(f"the container is {self.state}; nothing can be got from it. Build a new one.")
        return self._injector.get(key)

    def check(self) -> list[GraphError]:
        """Return everything that is wrong with the bindings. Nothing is created; an empty list is a pass."""
        return check_graph(self._injector, self._roots)

    async def start(self) -> None:
        """Check the bindings, create the singletons, start the components: all of them, or none.

        Raises:
            GraphCheckFailed: the bindings cannot work; every problem is listed.
            ProvisionError: a constructor failed.
            HookTimeout: a component was too slow.
            WrongState: it was started before.
            BaseException: what a component's ``start()`` raised, unchanged; errors of the rollback are in its notes.
        """
        await self._lifecycle.start()

    async def stop(self) -> None:
        """Stop every started component, dependents first. May be called any number of times.

        When the caller is cancelled the teardown goes on; another ``stop()`` waits for it.

        Raises:
            ExceptionGroup: every error there was; each has a note that names its component.
        """
        await self._lifecycle.stop()

    async def run(self, *, handle_signals: bool = True) -> int:
        """Start, wait for SIGINT, SIGTERM or a request to stop, then stop. Return the exit code of the process.

        It is 0 after a clean stop and 1 after an error, which is in the log. A second signal ends the process at once.

        Raises:
            SignalsUnavailable: this is not the main thread, and *handle_signals* is not False.
            WrongState: it was started before.
        """
        if self.state is not ContainerState.NEW:
            raise WrongState(f"the container is {self.state}; run() starts it, and works once.")
        signals: AbstractContextManager[None] = stop_signals(self._signalled) if handle_signals else nullcontext()
        with signals:
            try:
                async with self:
                    await self._lifecycle.wait_stopped()
            except Exception as error:  # noqa: BLE001 - run() ends the process: the error goes to the log
                if isinstance(error, ContainerStopped) and self._lifecycle.stop_requested:
                    return await self._interrupted()
                # The graph check writes for people, and what failed to stop is in the log with its traceback already.
                plain = isinstance(error, GraphCheckFailed) or self._lifecycle.state is ContainerState.STOPPED
                journal.write("ERROR", f"the container failed: {error}", None if plain else error)
                return 1
        return 0

    async def _interrupted(self) -> int:
        """Return the exit code when the stop came in the middle of the start."""
        try:
            await self.stop()
        except ExceptionGroup as errors:
            journal.write("ERROR", f"the container failed: {errors}")
            return 1
        return 0

    def _signalled(self, number: signal.Signals) -> None:
        journal.write("INFO", f"{number.name}: stopping. Once more ends the process at once.")
        self._lifecycle.request_stop()

    def _create(self) -> None:
        errors = self.check()
        if errors:
            raise GraphCheckFailed(errors)
        for key in (*eager_keys(self._injector), *self._roots):
            self._injector.get(key)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        except BaseExceptionGroup as failures:
            if error is None:
                raise
            # What ended the block matters more than what then failed to stop; that is in the log and in the notes.
            for failure in failures.exceptions:
                error.add_note(f"stopping the container: {failure!r} {' '.join(getattr(failure, '__notes__', ()))}")
