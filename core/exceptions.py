"""Everything the container and the lifecycle raise.

    ContainerError
    ├── GraphCheckFailed       the bindings cannot work; nothing was created (see core/graph.py)
    ├── ProvisionError         an object could not be created; the path to it is named
    ├── LateHook               a hook, or a component with start()/stop(), came after the start
    ├── HookTimeout            a hook overran its time
    ├── HookCancelled          a hook ended itself with CancelledError
    ├── BackgroundTaskFailed   a task spawned with on_failure="stop_container" failed
    ├── SignalsUnavailable     run(handle_signals=True) outside the main thread
    └── WrongState             start() twice, or use from another event loop
        └── ContainerStopped   use after stop() or after a failed start()

``start()`` raises a component's own error unchanged; ``stop()`` raises an ``ExceptionGroup`` with every error in it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

Phase = Literal["start", "stop"]


def describe_key(key: Any) -> str:
    """Write an injection key the way its author wrote it: ``Annotated[str, 'api_key']``, ``list[Plugin]``, ``Repo``."""
    if get_origin(key) is Annotated:
        origin, *metadata = get_args(key)
        return f"Annotated[{', '.join([describe_key(origin), *map(repr, metadata)])}]"
    arguments = get_args(key)
    if arguments:
        name = getattr(get_origin(key), "__name__", str(get_origin(key)))
        return f"{name}[{', '.join(describe_key(argument) for argument in arguments)}]"
    return getattr(key, "__name__", None) or str(key)


class ContainerError(Exception):
    """Base of every error of the container and of its lifecycle."""


class ProvisionError(ContainerError):
    """An object could not be created.

    ``path`` leads from the key that was asked for to the one that failed; ``__cause__`` is the error of the constructor
    or provider.
    """

    def __init__(self, path: Sequence[Any], reason: str) -> None:
        super().__init__(path, reason)
        self.path = list(path)
        self.reason = reason

    def __str__(self) -> str:
        lines = [f"{describe_key(self.path[-1])} {self.reason}"]
        lines += [
            f"  {'   ' * (depth - 1)}{'└─ ' if depth else ''}{describe_key(key)}" for depth, key in enumerate(self.path)
        ]
        return "\n".join(lines)


class LateHook(ContainerError):
    """A hook was added when the start had already begun, so it would never have been started."""

    def __init__(self, hook: str) -> None:
        super().__init__(hook)
        self.hook = hook

    def __str__(self) -> str:
        return (
            f"{self.hook} came after the start, so its start() would never run. Bind it with scope=singleton, or name "
            f"it in Container(roots=[...]), so that it is created before the first hook runs; with an injector of your "
            f"own, get it before lifecycle.start()."
        )


class HookTimeout(ContainerError):
    """A hook did not finish in time and was cancelled.

    ``abandoned`` says that it ignored the cancellation as well and may still be running.
    """

    def __init__(self, hook: str, phase: Phase, timeout: float, *, place: str = "", abandoned: bool = False) -> None:
        super().__init__(hook, phase, timeout)
        self.hook = hook
        self.phase = phase
        self.timeout = timeout
        self.place = place
        self.abandoned = abandoned

    def __str__(self) -> str:
        verb = "start" if self.phase == "start" else "stop"
        text = f"{self.hook} did not {verb} within {max(self.timeout, 0):.3g} s"
        if self.place:
            text += f"; it was waiting in {self.place}"
        if self.abandoned:
            text += "; it ignored the cancellation and was abandoned"
        return f"{text}. If it needs longer, set {verb}_timeout on the component or its Hook, or on the container."


class HookCancelled(ContainerError):
    """A hook ended with ``CancelledError`` although nobody had cancelled it."""

    def __init__(self, hook: str, phase: Phase) -> None:
        super().__init__(hook, phase)
        self.hook = hook
        self.phase = phase

    def __str__(self) -> str:
        return (
            f"{self.hook}: {self.phase}() ended with CancelledError. Something it awaits was cancelled from elsewhere."
        )


class BackgroundTaskFailed(ContainerError):
    """A background task failed whose failure stops the container; ``__cause__`` is its error."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        return f"background task {self.task!r} failed and its policy is stop_container: {self.__cause__!r}"


class SignalsUnavailable(ContainerError):
    """Signal handlers were asked for where Python does not allow them."""

    def __init__(self) -> None:
        super().__init__(
            "signals can be handled in the main thread only. Call run(handle_signals=False), "
            "and stop() from wherever the host learns that it must end."
        )


class WrongState(ContainerError):
    """The call does not fit the state: a second start(), or use from another event loop."""


class ContainerStopped(WrongState):
    """The container has stopped, or failed to start. It cannot be used again: build a new one."""
