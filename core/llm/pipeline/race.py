"""Two attempts of one call at the same time: the first output wins, the other one is cut.

Each runs in a task of its own, on a branch of the call. Whatever ends the race, nothing stays behind: tasks are
cancelled, an answer that came too late is ended, and what was cut is booked before anybody reads the trace.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

from core.llm.common.trace import AttemptRole, CandidateTrace
from core.llm.pipeline.handler import Call, Reply

Attempt = Callable[[Call, CandidateTrace], Awaitable[Reply | None]]
"""Tries one candidate: its reply, or `None` where it has none."""


class Runner:
    """One of the two."""

    __slots__ = ("call", "done", "entry", "error", "task")

    def __init__(self, call: Call, entry: CandidateTrace) -> None:
        self.call = call
        self.entry = entry
        self.task: asyncio.Task[None] | None = None
        self.done = False
        self.error: Exception | None = None
        """What ends the whole call, where it had come to that alone."""


class Race:
    """The attempts of one call at one candidate, and at a second one if it comes to that."""

    __slots__ = ("_attempt", "_call", "_closed", "_news", "_tasks", "late", "reply", "runners", "winner")

    def __init__(self, call: Call, attempt: Attempt, tasks: "set[asyncio.Task[None]]") -> None:
        self._call = call
        self._attempt = attempt
        self._tasks = tasks
        self._closed = False
        self._news = asyncio.Event()
        self.late = False
        """Whether the first has been waited for long enough."""
        self.runners: list[Runner] = []
        self.winner: Runner | None = None
        self.reply: Reply | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.winner is not None or self.runners[0].error is not None or all(one.done for one in self.runners)

    def begin(self, entry: CandidateTrace, role: AttemptRole = "first") -> Runner:
        """Let *entry* run."""
        branch = self._call.branch()
        runner = Runner(branch, entry)
        self.runners.append(runner)
        if role == "hedge":
            # Out of what the first had left; and it repeats nothing: it is a repetition itself.
            branch.role, branch.attempts_left, branch.free_repetition = role, 1, False
            self.runners[0].call.attempts_left -= 1
        runner.task = asyncio.get_running_loop().create_task(self._run(runner), name=f"core.llm:{role}:{self._call.id}")
        self._tasks.add(runner.task)
        runner.task.add_done_callback(self._tasks.discard)
        return runner

    async def _run(self, runner: Runner) -> None:
        try:
            reply = await self._attempt(runner.call, runner.entry)
            if reply is None:
                return
            if self._closed or self.winner is not None:
                await reply.end("cancelled", asyncio.CancelledError())
            else:
                self.winner, self.reply = runner, reply
        except Exception as error:  # noqa: BLE001 - whoever waits for the race raises it
            runner.error = error
        finally:
            runner.done = True
            self._news.set()

    def ring(self) -> None:
        """The first has been waited for long enough."""
        self.late = True
        self._news.set()

    async def news(self) -> None:
        """Return once something has changed."""
        await self._news.wait()
        self._news.clear()

    def cut(self, why: str) -> None:
        """Stop whoever still runs. They are gone some turns of the event loop later."""
        self._closed = True
        for runner in self.runners:
            if not runner.done and runner.task is not None:
                runner.call.give_up_attempt()
                if runner.entry.outcome == "untried":
                    runner.entry.outcome, runner.entry.reason = "cut", why
                runner.task.cancel()

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
        """Take over into the call what its branches have used, and what the winner has come to."""
        call = self._call
        call.attempts_left = sum(runner.call.attempts_left for runner in self.runners)
        call.free_repetition = self.runners[0].call.free_repetition
        before = call.spent
        for runner in self.runners:
            call.spent += runner.call.spent - before
        if self.winner is not None and self.reply is not None:
            branch = self.winner.call
            call.target, call.attempt, call.api_key, call.request = (
                branch.target, branch.attempt, branch.api_key, branch.request,
            )  # fmt: skip
            self.reply.belong_to(call)
            if call.cost_limit is not None:
                # What the answer costs is known at its end only; whoever takes over a broken stream has to know it.
                self.reply.on_end(partial(_add_spendings, call, branch, branch.spent))


def _add_spendings(call: Call, branch: Call, before: Decimal, _: Reply, __: BaseException | None) -> None:
    call.spent += branch.spent - before
