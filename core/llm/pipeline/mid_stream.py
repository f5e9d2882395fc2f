"""What becomes of a stream that breaks after its first output, where the alias says more than "an error".

    error      the error, with exactly what was delivered; nothing here runs
    restart    a `StreamReset`, and the answer from its beginning, by another candidate if there is one
    continue   the rest of the answer, by a model that takes its beginning as its own
    buffer     the first tokens are held back, so that an early break is an attempt that failed like any other

Nothing is announced before the candidate that takes over has its first output: where none does, the caller gets the
error of the break, and what was delivered stands.
"""

from collections.abc import AsyncIterator

from core.llm.common.decisions import StreamRecovered
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.candidates import Candidates
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.mid_stream_join import Joint, cannot_continue, continued
from core.llm.pipeline.mid_stream_recovery import Route, find, others
from core.llm.pipeline.mid_stream_spend import Spent
from core.llm.pipeline.reasons import ends_the_call
from core.llm.providers.base.response import (
    StreamEvent,
    StreamReset,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from core.llm.providers.config.models.service import LLMServiceConfig


def mid_stream(config: LLMServiceConfig, candidates: Candidates) -> Layer:
    """The layer for streams of aliases with a `mid_stream` policy; no layer at all where none has one."""
    routes = {name: alias for name, alias in config.models.items() if alias.mid_stream.policy != "error"}
    currency = config.costs.currency

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            alias = routes.get(call.request.model or config.default_model or "") if call.mode == "stream" else None
            if alias is None:
                return await inner(call)
            if alias.mid_stream.policy == "buffer":
                call.held_tokens = alias.mid_stream.buffer_tokens
                return await inner(call)
            asked = call.request
            reply = await inner(call)
            mending = _Mending(call, reply, Route(alias, candidates, asked), Spent(candidates, currency))
            mending.outer = outer = Reply(call, tail=mending)
            outer.first_output_at = reply.first_output_at
            return outer

        return handle if routes else inner

    return layer


class _Mending(AsyncIterator[StreamEvent]):
    """The events of one reply, and of those that take over when it breaks."""

    __slots__ = (
        "_before", "_call", "_error", "_joint", "_recoveries", "_reply", "_reset", "_route", "_spent", "_tool_calls",
        "outer",
    )  # fmt: skip

    outer: Reply
    """The reply that the caller has; it collects what was delivered."""

    def __init__(self, call: Call, reply: Reply, route: Route, spent: Spent) -> None:
        self._call = call
        self._reply = reply
        self._route = route
        self._spent = spent
        self._before = ""
        """What earlier replies had said of the text that is being continued."""
        self._joint: Joint | None = None
        self._reset: StreamReset | None = None
        self._tool_calls: set[type[StreamEvent]] = set()
        self._recoveries = 0
        self._error: ProviderError | None = None

    async def __anext__(self) -> StreamEvent:
        while True:
            if self._reset is not None:
                reset, self._reset = self._reset, None
                return reset
            try:
                event = await self._reply.next()
            except ProviderError as error:
                self._error = error
                await self._mend(error)
                continue
            if event is None:
                raise StopAsyncIteration
            kind = event.__class__
            if kind is ToolCallDelta or kind is ToolCallReady:
                self._tool_calls.add(kind)
            found = self._adjusted(event) if self._recoveries else event
            if found is not None:
                return found

    async def aclose(self) -> None:
        """End the reply that is running now, as the caller's has ended."""
        outer, reply = self.outer, self._reply
        whole = outer.response
        if whole is None or not self._recoveries:
            reply.response = whole
            await reply.end(outer.outcome, self._error or outer.error)
            return
        # The layers around the last attempt settle what it made; the caller's answer is that of all attempts together.
        reply.response = own = reply.collector.response()
        try:
            await reply.end(outer.outcome)
        finally:
            self._spent.add_to(whole, own)

    def _adjusted(self, event: StreamEvent) -> StreamEvent | None:
        """*event* as it goes on from what was delivered before; `None` where nothing is left of it."""
        if isinstance(event, UsageReport):
            return UsageReport(self._spent.together(event.usage))
        if self._joint is not None:
            if isinstance(event, TextDelta):
                text = self._joint.fit(event.text)
                return TextDelta(text) if text else None
            if isinstance(event, StreamStart):
                # The caller has had one; the answer is signed by whoever completes it.
                self.outer.collector.start = event
                return None
        return event

    async def _mend(self, error: ProviderError) -> None:
        """Put another reply in the place of the one that broke.

        Raises:
            ProviderError: *error*, where there is none to be had.
        """
        call, broken = self._call, self._reply
        target = call.target
        policy = self._policy(error)
        if policy is None or target is None:
            raise error
        attempt = call.attempt
        broken.on_break = "next_candidate" if others(call, target) else "retry"
        await broken.end("failed", error)
        self._spent.note(call, broken, target)
        if policy == "continue":
            fresh = await self._continuation(target)
            if fresh is None and self._route.options.otherwise == "restart":
                policy = "restart"
        else:
            fresh = None
        if policy == "restart":
            fresh = await find(call, self._route, target, self._route.asked, prefilled=False)
            if fresh is None:
                call.trace.notes.append("the broken stream was not begun again: no candidate was left for it")
        if fresh is None:
            if attempt is not None:
                attempt.decision = "raise"
            raise error
        self._take_over(fresh, policy, target, error)

    def _policy(self, error: ProviderError) -> str | None:
        """What the route allows after *error*; `None` where that is nothing."""
        call, options = self._call, self._route.options
        if ends_the_call(error):
            return None
        reason = None
        if self._recoveries >= options.max_recoveries:
            reason = f"mid_stream.max_recoveries ({options.max_recoveries}) is used up"
        elif call.attempts_left <= 0:
            reason = "retry.max_attempts is used up"
        elif ToolCallReady in self._tool_calls:
            reason = "a whole tool call had been delivered, and may have been run"
        if reason is None and options.policy == "continue":
            reason = cannot_continue(self._reply.collector, self._route.asked, in_tool_call=bool(self._tool_calls))
            if reason is not None and options.otherwise == "restart":
                call.trace.notes.append(f"the broken stream was not continued: {reason}")
                return "restart"
        if reason is not None:
            call.trace.notes.append(f"the broken stream was left as it is: {reason}")
            return None
        return options.policy

    async def _continuation(self, broken: ModelRef) -> Reply | None:
        delivered = self._delivered()
        asked = continued(self._route.asked, delivered)
        fresh = await find(self._call, self._route, broken, asked, prefilled=True)
        if fresh is None:
            self._call.trace.notes.append("the broken stream was not continued: no candidate took the text up")
            return None
        self._joint = Joint(delivered)
        self._before = delivered
        return fresh

    def _delivered(self) -> str:
        text = self._reply.collector.text()
        return self._before + (text if self._joint is None else self._joint.kept(text))

    def _take_over(self, fresh: Reply, policy: str, broken: ModelRef, error: ProviderError) -> None:
        call = self._call
        target = call.target or broken
        how = "begun again" if policy == "restart" else "continued"
        said = f"the stream of {broken} broke after {self.outer.collector.characters} characters"
        call.trace.notes.append(f"{said} ({error.code or error.type}): {how} by {target}")
        self._spent.warn(f"{said} and was {how} by {target}")
        self._recoveries += 1
        self._reply, self._error = fresh, None
        if policy == "restart":
            self._reset = StreamReset(error.code or error.type, target)
            self._joint, self._before = None, ""
            self._tool_calls.clear()
            self.outer.first_output_at = fresh.first_output_at
        call.events.publish(StreamRecovered(call.id, broken, target, policy))
