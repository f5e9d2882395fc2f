"""One life of a worker process, from its start to the moment it is reaped."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.exceptions import LLMError, ProviderError, WorkerCrashed
from core.llm.common.types import PhaseLimits
from core.llm.transport.frames import FrameError, FrameReader, encode_frame
from core.llm.transport.process_calls import WorkerCall
from core.llm.transport.process_exit import WorkerExit, describe_exit, error_from
from core.llm.transport.process_memory import died_of_memory, memory_kills
from core.llm.transport.process_output import WorkerOutput
from core.llm.transport.process_scratch import ScratchDirectory
from core.llm.transport.process_spec import WorkerSpec

PROTOCOL: Final = 1
_MISSED_BEATS: Final = 3
_SETTLE: Final = 0.05
"""Seconds to wait for the exit code after the connection's end, and the other way round."""


class WorkerChild(asyncio.Protocol):
    """A running worker. Made by `spawn`; ends by itself, by `end`, or by a crash, after which `ended` is set."""

    def __init__(self, spec: WorkerSpec, clock: Clock, on_end: Callable[[WorkerExit], None]) -> None:
        self.clock = clock
        self.pid = 0
        self.ended = asyncio.Event()
        """The process is reaped, its descriptors are closed, its files are removed."""
        self._spec = spec
        self._on_end = on_end
        self._process: asyncio.subprocess.Process
        self._transport: asyncio.Transport | None = None
        self._output: WorkerOutput
        self._kills_before = memory_kills()
        self._cleanup = contextlib.ExitStack()
        self._reader = FrameReader()
        self._calls: dict[int, WorkerCall] = {}
        self._number = 0
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failure: Callable[[], LLMError] | None = None
        self._expected = False
        self._seen = clock.monotonic()
        self._beat_timer: TimerHandle | None = None
        self._beat_due = 0.0
        self._cancel_timers: dict[int, TimerHandle] = {}
        self._watcher: asyncio.Task[None]
        self._killer: asyncio.Task[None] | None = None

    @classmethod
    async def spawn(cls, spec: WorkerSpec, clock: Clock, on_end: Callable[[WorkerExit], None]) -> "WorkerChild":
        """Start the process; it is not ready before `greeted`."""
        child = cls(spec, clock, on_end)
        with contextlib.ExitStack() as cleanup, contextlib.ExitStack() as theirs:
            scratch = ScratchDirectory()
            cleanup.callback(scratch.remove)
            ours, channel = socket.socketpair()
            cleanup.callback(child._close_socket, ours)
            theirs.callback(channel.close)
            guard, held = os.pipe()
            cleanup.callback(os.close, held)
            theirs.callback(os.close, guard)
            printed, stdout = os.pipe()
            theirs.callback(os.close, stdout)
            child._output = WorkerOutput(printed, spec.name)
            cleanup.callback(child._output.close)
            child._process = await asyncio.create_subprocess_exec(
                *spec.command(channel.fileno(), guard),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stdout,
                env=spec.environment(str(scratch.path)),
                cwd=scratch.path,
                pass_fds=(channel.fileno(), guard),
                start_new_session=True,
            )
            child.pid = child._process.pid
            child._output.belongs_to(child.pid)
            scratch.belongs_to(child.pid)
            child._cleanup = cleanup.pop_all()
        child._watcher = asyncio.create_task(child._watch(), name=f"worker {spec.name}")
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        except BaseException:
            await child.end(0)
            raise
        return child

    async def greeted(self) -> None:
        """Return once the worker has said hello.

        Raises:
            WorkerCrashed: it ended instead, or said nothing within `start_timeout`.
        """
        try:
            async with asyncio.timeout(self._spec.start_timeout):
                await asyncio.shield(self._hello)
        except TimeoutError:
            self._give_up(f"said nothing within {self._spec.start_timeout:g} s of its start")
            raise self._error() from None

    def watch_heartbeats(self) -> None:
        """From now on, silence means that the worker hangs. A loader may hold the interpreter lock before that."""
        self._seen = self.clock.monotonic()
        self._check_heartbeat()

    @property
    def usable(self) -> bool:
        """True while calls may be made."""
        return self._failure is None and not self._expected

    @property
    def output(self) -> str:
        """The last lines it printed."""
        return self._output.text

    @property
    def calls(self) -> int:
        """Calls that the worker has not finished with, cancelled ones included."""
        return len(self._calls)

    async def call(
        self, method: str, params: Mapping[str, Any], limits: PhaseLimits, on_end: Callable[[], None]
    ) -> WorkerCall:
        """Send a call. *on_end* is run once the worker has finished with it, also where this raises.

        Raises:
            ProviderError: the parameters cannot be sent.
        """
        self._number += 1
        number = self._number
        try:
            frame = encode_frame({"call": number, "method": method, "params": dict(params)})
        except FrameError as error:
            on_end()
            raise ProviderError("invalid_request", str(error)) from None
        call = self._calls[number] = WorkerCall(self, number, limits, lambda: self._forget(number, on_end))
        self._idle.clear()
        if self._failure is not None:
            call.fail(self._failure)
        else:
            self._write(frame)
            try:
                await self._writable.wait()
            except asyncio.CancelledError:
                call.abandon()
                raise
        return call

    async def drain(self) -> None:
        """Return once the worker has finished with every call."""
        await self._idle.wait()

    def _forget(self, number: int, on_end: Callable[[], None]) -> None:
        self._calls.pop(number, None)
        timer = self._cancel_timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        if not self._calls:
            self._idle.set()
        on_end()

    # What a call asks for (process_calls.CallSite).

    def cancel_call(self, number: int) -> None:
        """Ask the worker to stop call *number*; if it does not, it hangs."""
        if number in self._calls and number not in self._cancel_timers and self._failure is None:
            self._send({"cancel": number})
            due = self.clock.monotonic() + self._spec.cancel_timeout
            message = f"did not stop a cancelled call within {self._spec.cancel_timeout:g} s"
            self._cancel_timers[number] = self.clock.call_at(due, lambda: self._give_up(message))

    def allow_items(self, number: int, count: int) -> None:
        """Let the worker send *count* more items of call *number*."""
        if number in self._calls and self._failure is None:
            self._send({"credit": number, "count": count})

    def _send(self, message: dict[str, Any]) -> None:
        self._write(encode_frame(message))

    def _write(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    # What arrives (asyncio.Protocol).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        # Not every event loop derives its transports from asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        """The worker reads slowly: further calls wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The worker has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Hand the messages in *data* to the calls they belong to."""
        self._seen = self.clock.monotonic()
        if self._failure is not None:
            return
        try:
            for message, _ in self._reader.feed(data):
                self._take(message)
        except FrameError as error:
            self._break_off(str(error))
        except (KeyError, TypeError, AttributeError):
            self._break_off("a message lacks a field")

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            if message.get("hello") == PROTOCOL and not self._hello.done():
                self._hello.set_result(None)
            elif "beat" not in message:
                raise FrameError("a message is of no known kind")
            return
        call = self._calls.get(number)
        if call is None:
            raise FrameError("a message belongs to no call")
        if "item" in message:
            if not call.add(message["item"]):
                raise FrameError("a call sent more items than it was allowed to")
        elif "result" in message:
            call.finish(message["result"])
        else:
            call.fail(error_from(message["error"]))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """The worker has closed its end, most likely by ending."""
        self._lost.set()
        self._writable.set()

    # The end.

    def _break_off(self, problem: str) -> None:
        text = f"worker {self._spec.name} (pid {self.pid}) broke the protocol: {problem}; it was stopped"
        self._stop_after(lambda: ProviderError("protocol", text, code="worker_protocol", retryable=True))

    def _give_up(self, problem: str) -> None:
        text = f"worker {self._spec.name} (pid {self.pid}) hangs: it {problem}; it was stopped"
        self._stop_after(
            lambda: WorkerCrashed(
                text, pid=self.pid, model=self._spec.name, output=self._output.text, code="worker_hangs"
            )
        )

    def _stop_after(self, failure: Callable[[], LLMError]) -> None:
        if self._failure is None:
            self._fail_calls(failure)
            self._killer = asyncio.create_task(self._kill(), name=f"stop worker {self._spec.name}")

    def _fail_calls(self, failure: Callable[[], LLMError]) -> None:
        self._failure = failure
        self._stop_timers()
        for call in list(self._calls.values()):
            call.fail(failure)
        if not self._hello.done():
            self._hello.set_exception(failure())
            self._hello.exception()  # nobody may be waiting for it any more

    def _error(self) -> LLMError:
        assert self._failure is not None  # noqa: S101 - every caller has just set it
        return self._failure()

    def _check_heartbeat(self) -> None:
        if self._failure is not None or self._expected:
            return
        interval = self._spec.heartbeat
        now = self.clock.monotonic()
        late = 0.0 if self._beat_timer is None else now - self._beat_due
        # A check that comes late itself (a busy loop, a suspended machine) has not had the chance to read beats.
        if now - self._seen > _MISSED_BEATS * interval and late < interval:
            self._give_up(f"gave no sign of life for {now - self._seen:.1f} s")
            return
        self._beat_due = now + interval
        self._beat_timer = self.clock.call_at(self._beat_due, self._check_heartbeat)

    def _stop_timers(self) -> None:
        for timer in (self._beat_timer, *self._cancel_timers.values()):
            if timer is not None:
                timer.cancel()
        self._cancel_timers.clear()

    async def end(self, grace: float, why: str = "was unloaded") -> None:
        """End the process: calls may finish within *grace* seconds, the rest fail; returns once it is reaped.

        With no grace at all it gets SIGTERM at once.
        """
        self._expected = True
        if self._calls and grace > 0 and self._failure is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self.drain()
        if self._failure is None:
            name = self._spec.name
            self._send({"exit": True})
            self._fail_calls(
                lambda: ProviderError("server_error", f"the local model {name} {why}", code="worker_stopped")
            )
            orderly = min(grace, self._spec.term_grace)
            self._killer = asyncio.create_task(self._kill(orderly), name=f"stop worker {name}")
        await self.ended.wait()

    async def _kill(self, orderly: float = 0) -> None:
        """Time for an orderly end first, where one was asked for; then SIGTERM; then SIGKILL."""
        if orderly and await self._has_exited(orderly):
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # one that was stopped would take the other only when it is woken
        if not await self._has_exited(self._spec.term_grace):
            self._signal(signal.SIGKILL)

    async def _has_exited(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _watch(self) -> None:
        """Notice the end of the process or of its connection, whichever comes first, and clean up."""
        exited = asyncio.ensure_future(self._process.wait())
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((exited, lost), return_when=asyncio.FIRST_COMPLETED)
            # The exit code belongs into the error, the last messages to their calls; neither is worth a long wait.
            await asyncio.wait((exited, lost), timeout=_SETTLE)
            self._output_settled()
            if self._failure is None:
                self._fail_calls(self._crash())
            if not exited.done() and self._killer is None:
                self._signal(signal.SIGKILL)
            await exited
            self._signal(signal.SIGKILL)  # whatever the worker itself has started
        finally:
            lost.cancel()
            if self._process.returncode is None:  # this task was cancelled: the event loop is being shut down
                self._signal(signal.SIGKILL)
            self._finish()

    def _close_socket(self, ours: socket.socket) -> None:
        if self._transport is None:
            ours.close()
        else:
            self._transport.abort()

    def _output_settled(self) -> None:
        if self._process.returncode is not None:
            self._output.close()

    def _crash(self) -> Callable[[], LLMError]:
        code = self._process.returncode
        text = f"worker {self._spec.name} (pid {self.pid}) {describe_exit(code)}"
        output = self._output.text
        kind = "worker_crashed"
        if died_of_memory(code, output, self._kills_before, memory_kills()):
            kind, text = "out_of_memory", f"{text}. It was out of memory: use a smaller model, context or memory_limit"
        return lambda: WorkerCrashed(
            text, pid=self.pid, exit_code=code, model=self._spec.name, output=output, code=kind
        )

    def _finish(self) -> None:
        self._stop_timers()
        self._cleanup.close()
        failure = self._failure() if self._failure else None
        self.ended.set()
        how = WorkerExit(
            self.pid, self._process.returncode, self._expected, str(failure or "was stopped"), self._output.text
        )
        self._on_end(how)
