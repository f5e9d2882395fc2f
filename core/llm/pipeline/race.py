"""Two attempts of one call at the same time: the first output wins, the other one is cut.

The first runs where the call runs, for nearly always it is alone; the second runs in a task of its own, on a branch of
the call. Whatever ends the race, nothing stays behind: what runs is cancelled, an answer that came too late is ended,
and what was cut is booked before anybody reads the trace.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

from core.llm.common.trace import CandidateTrace
from core.llm.pipeline.handler import Call, Reply

Attempt = Callable[[Call, CandidateTrace], Awaitable[Reply | None]]
"""Tries one candidate: its reply, or `None` where it has none."""


class Runner:
    """One of the two."""

    __slots__ = ("call", "cut", "done", "entry", "error", "spent", "task")

    def __init__(self, call: Call, entry: CandidateTrace) -> None:
        self.call = call
        self.entry = entry
        self.task: asyncio.Task[None] | None = None
        """Its own task; `None` for the first, which has none."""
        self.done = False
        self.cut = False
        """Whether it was given up while it ran."""
        self.error: Exception | None = None
        """What ends the whole call, where it had come to that alone."""
        self.spent = call.spent
        """What the call had cost when it began."""


class Race:
    """The attempts of one call at one candidate, and at a second one if it comes to that."""

    __slots__ = ("_attempt", "_call", "_closed", "_news", "_own", "_tasks", "reply", "runners", "winner")

    def __init__(self, call: Call, attempt: Attempt, tasks: "set[asyncio.Task[None]]") -> None:
        self._call = call
        self._attempt = attempt
        self._tasks = tasks
        self._closed = False
        self._news: asyncio.Event | None = None
        self._own: asyncio.Task[object] | None = None
        self.runners: list[Runner] = []
        self.winner: Runner | None = None
        self.reply: Reply | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.winner is not None or self.runners[0].error is not None or all(one.done for one in self.runners)

    async def run(self, entry: CandidateTrace) -> None:
        """Let *entry* run here, to its end or until the second one is faster."""
        runner = Runner(self._call, entry)
        self.runners.append(runner)
        self._own = task = asyncio.current_task()
        cancelling = task.cancelling() if task is not None else 0
        reply: Reply | None = None
        try:
            reply = await self._attempt(self._call, entry)
        except asyncio.CancelledError:
            if not runner.cut:
                raise
        except Exception as error:  # noqa: BLE001 - whoever runs the race raises it
            runner.error = error
        finally:
            runner.done = True
        if runner.cut and task is not None and task.uncancel() > cancelling:
            # Somebody else has cancelled the call as well.
            raise asyncio.CancelledError
        if reply is not None:
            await self._arrived(runner, reply)

    def begin(self, entry: CandidateTrace) -> Runner:
        """Let *entry* run beside the first."""
        branch = self._call.branch()
        runner = Runner(branch, entry)
        self.runners.append(runner)
        # Out of what the first had left; and it repeats nothing: it is a repetition itself.
        branch.role, branch.attempts_left, branch.free_repetition = "hedge", 1, False
        self._call.attempts_left -= 1
        self._news = asyncio.Event()
        runner.task = asyncio.get_running_loop().create_task(self._beside(runner), name=f"core.llm:hedge:{branch.id}")
        self._tasks.add(runner.task)
        runner.task.add_done_callback(self._tasks.discard)
        return runner

    async def _beside(self, runner: Runner) -> None:
        try:
            reply = await self._attempt(runner.call, runner.entry)
            if reply is not None:
                await self._arrived(runner, reply)
        except Exception as error:  # noqa: BLE001 - as above
            runner.error = error
        finally:
            runner.done = True
            if self._news is not None:
                self._news.set()
        if self.winner is runner:
            self._cut(self.runners[0], f"{runner.entry.target} was faster")

    async def _arrived(self, runner: Runner, reply: Reply) -> None:
        if self._closed or self.winner is not None:
            await reply.end("cancelled", asyncio.CancelledError())
        else:
            self.winner, self.reply = runner, reply

    async def wait(self) -> None:
        """Return once it is over."""
        while not self.over and self._news is not None:
            await self._news.wait()
            self._news.clear()

    def cut(self, why: str) -> None:
        """Stop whoever still runs. They are gone some turns of the event loop later."""
        self._closed = True
        for runner in self.runners:
            self._cut(runner, why)

    def _cut(self, runner: Runner, why: str) -> None:
        if runner.entry.outcome == "untried":
            runner.entry.outcome, runner.entry.reason = "cut", why
        if not runner.done and not runner.cut:
            runner.cut = True
            runner.call.give_up_attempt()
            task = self._own if runner.task is None else runner.task
            if task is not None:
                task.cancel()

    async def stop(self, error: BaseException) -> None:
        """The call has ended with *error* while they ran: end everything."""
        self.cut("the call ended first")
        try:
            if self.reply is not None:
                cancelled = isinstance(error, asyncio.CancelledError)
                await self.reply.end("cancelled" if cancelled else "failed", error)
        finally:
            tasks = [runner.task for runner in self.runners if runner.task is not None and not runner.done]
            if tasks:
                await asyncio.wait(tasks)

    def settle(self) -> None:
        """Take over into the call what the second has used, and what it has come to where it has won."""
        call = self._call
        for runner in self.runners[1:]:
            branch = runner.call
            call.attempts_left += branch.attempts_left
            call.spent += branch.spent - runner.spent
            if self.winner is not runner or self.reply is None:
                if runner.task is not None and not runner.task.done():
                    # What is cut may have to be paid for, and is counted once it has gone.
                    runner.task.add_done_callback(partial(_add_spendings, call, branch, branch.spent))
                continue
            call.target, call.attempt, call.api_key, call.request = (
                branch.target, branch.attempt, branch.api_key, branch.request,
            )  # fmt: skip
            self.reply.belong_to(call)
            if call.cost_limit is not None:
                # What the answer costs is known at its end only; whoever takes over a broken stream has to know it.
                self.reply.on_end(partial(_add_spendings, call, branch, branch.spent))


def _add_spendings(call: Call, branch: Call, before: Decimal, *_: object) -> None:
    """What *branch* has cost since *before*, once its reply or its task has ended."""
    call.spent += branch.spent - before
