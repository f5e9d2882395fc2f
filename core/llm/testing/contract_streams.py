"""Rules about streams: their order, their end, and what happens when somebody leaves early."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast, get_args

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.response import (
    OUTPUT_EVENTS,
    ResponseCollector,
    StreamEvent,
    StreamFinish,
    StreamStart,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from core.llm.testing.canary import SecretCanary
from core.llm.testing.contract_answers import AWKWARD_TEXT, WEATHER, AnswerChecks
from core.llm.testing.contract_case import collect, eventually, needs, require, shapes, text_of
from core.llm.testing.contract_upstream import ContractUpstream, UpstreamAnswer


class StreamChecks(AnswerChecks):
    """What `stream_generate` yields, and how it ends."""

    async def test_stream_generate_returns_an_iterator(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """It is called without `await`, and can be closed early."""
        upstream.answer(UpstreamAnswer())
        stream = provider.stream_generate(self.chat(canary, stream=True))
        require(
            isinstance(stream, AsyncIterator) and hasattr(stream, "aclose"),
            f"stream_generate returned {type(stream).__name__}: make it an async generator, or return an async "
            "iterator with aclose()",
        )
        async for _ in stream:
            pass

    async def test_a_stream_starts_once_and_first(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """`StreamStart` comes exactly once, before everything else, and says who answers."""
        upstream.answer(UpstreamAnswer(("Hel", "lo")))
        events = await collect(provider, self.chat(canary, stream=True))
        starts = [event for event in events if isinstance(event, StreamStart)]
        require(
            len(starts) == 1 and events[0] is starts[0],
            f"the events were {shapes(events)}: yield exactly one StreamStart, as the first event",
        )
        require(
            starts[0].provider == provider.name and starts[0].model,
            f"{starts[0]} must name the provider ({provider.name!r}) and the model",
        )

    async def test_a_stream_finishes_once_and_last(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """`StreamFinish` comes exactly once, after everything else: it is what tells complete from cut."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), usage=self.usage(), finish="length"))
        events = await collect(provider, self.chat(canary, stream=True))
        finishes = [event for event in events if isinstance(event, StreamFinish)]
        require(
            len(finishes) == 1 and events[-1] is finishes[0],
            f"the events were {shapes(events)}: yield exactly one StreamFinish, as the last event",
        )
        reason = finishes[0].finish_reason
        require(
            reason.unified == "length" and reason.raw,
            f"the stream finished with {reason!r}, the upstream said 'length': map it, and keep the upstream's word",
        )

    async def test_a_stream_delivers_the_whole_text(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The pieces, joined, are the answer, character for character."""
        pieces = tuple(AWKWARD_TEXT[start : start + 3] for start in range(0, len(AWKWARD_TEXT), 3))
        upstream.answer(UpstreamAnswer(pieces))
        text = text_of(await collect(provider, self.chat(canary, stream=True)))
        require(
            text == AWKWARD_TEXT,
            f"the stream delivered {text!r} of {AWKWARD_TEXT!r}: no piece may be dropped, doubled, stripped or changed",
        )

    async def test_stream_events_are_of_the_known_kinds(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The union of events is closed: every consumer knows all of them."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), usage=self.usage()))
        for event in await collect(provider, self.chat(canary, stream=True)):
            require(
                isinstance(event, get_args(StreamEvent)),
                f"a stream yielded a {type(event).__name__}: yield the events of core.llm.providers.base.response only",
            )

    async def test_a_stream_amounts_to_the_answer(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Streaming or not, the same answer of the upstream is the same answer."""
        answer = UpstreamAnswer(("Hel", "lo"), usage=self.usage())
        upstream.answer(answer)
        whole = await provider.generate(self.chat(canary))
        upstream.answer(answer)
        collector = ResponseCollector()
        for event in await collect(provider, self.chat(canary, stream=True)):
            collector.add(event)
        require(collector.finish, "a complete stream has no StreamFinish: yield it once the upstream is done")
        streamed = collector.response()
        for name in ("content", "finish_reason", "model", "provider"):
            ours, theirs = getattr(streamed, name), getattr(whole, name)
            require(ours == theirs, f"{name} is {ours!r} when streamed and {theirs!r} when not")

    @needs("usage")
    async def test_a_stream_reports_usage(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The last usage report holds the whole call, in disjoint buckets."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), usage=self.usage()))
        events = await collect(provider, self.chat(canary, stream=True))
        reports = [event.usage for event in events if isinstance(event, UsageReport)]
        require(reports, f"the events were {shapes(events)}: yield a UsageReport before StreamFinish")
        require(
            reports[-1] == self.usage(),
            f"the last UsageReport says {reports[-1]}, the upstream counted {self.usage()}: reports are cumulative",
        )

    @needs("tools")
    async def test_a_streamed_tool_call_is_completed(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Every call ends with one `ToolCallReady`; the deltas before it, where there are any, add up to it."""
        cities = ("Zürich", "Oslo") if "parallel_tools" not in self.lacks else ("Zürich",)
        calls = tuple(ToolCall(f"call_{city}", "weather", {"city": city}) for city in cities)
        upstream.answer(UpstreamAnswer((), tool_calls=calls, finish="tool_calls"))
        events = await collect(provider, self.chat(canary, stream=True, tools=[WEATHER]))
        ready = {event.index: event.call for event in events if isinstance(event, ToolCallReady)}
        require(
            [(call.name, dict(call.arguments)) for call in ready.values()] == [("weather", c.arguments) for c in calls],
            f"the events were {shapes(events)} and amount to {list(ready.values())}: yield one ToolCallReady for each "
            "call, with its parsed arguments and an index of its own",
        )
        for index, call in ready.items():
            deltas = [event for event in events if isinstance(event, ToolCallDelta) and event.index == index]
            text = "".join(delta.arguments for delta in deltas)
            require(
                not deltas or ToolCall.from_text("", "", text).arguments == call.arguments,
                f"the ToolCallDeltas of call {index} add up to {text!r}, its ToolCallReady says {call.arguments}",
            )

    @needs("thinking")
    async def test_streamed_thinking_is_not_text(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Reasoning comes as `ThinkingDelta`, so that it is never printed as the answer."""
        upstream.answer(UpstreamAnswer(("42",), thinking="six times seven"))
        events = await collect(provider, self.chat(canary, stream=True))
        thinking = "".join(event.thinking for event in events if isinstance(event, ThinkingDelta))
        require(
            (text_of(events), thinking) == ("42", "six times seven"),
            f"text {text_of(events)!r}, thinking {thinking!r}: yield reasoning as ThinkingDelta",
        )

    @needs("pausing")
    async def test_pieces_are_delivered_as_they_arrive(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The first piece is there while the upstream is still silent about the rest."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), hold_after=1))
        async with aclosing(_generator(provider, self, canary)) as stream:
            require(
                await _read_text(stream, self.patience) == "Hel",
                "the first piece did not come before the second was sent: yield each piece at once, collect nothing",
            )
            upstream.release()
            rest = [event async for event in stream]
        require(text_of(rest) == "lo", f"after the pause the stream delivered {text_of(rest)!r} instead of 'lo'")

    @needs("pausing")
    async def test_cancelling_a_stream_cuts_the_upstream(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """A cancelled reader costs nothing more: the upstream sees the end, and cancellation passes."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), hold_after=1))
        started = asyncio.Event()

        async def read() -> None:
            async for event in provider.stream_generate(self.chat(canary, stream=True)):
                if isinstance(event, OUTPUT_EVENTS):
                    started.set()

        await self.cancelled_call(asyncio.create_task(read()), started, upstream)

    @needs("pausing")
    async def test_cancelling_generate_cuts_the_upstream(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The same for a call that waits for the whole answer."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), hold_after=1))
        task = asyncio.create_task(provider.generate(self.chat(canary)))
        await eventually(lambda: upstream.open_calls == 1, "the call did not reach the upstream")
        started = asyncio.Event()
        started.set()
        await self.cancelled_call(task, started, upstream)

    @needs("pausing")
    async def test_leaving_a_stream_cuts_the_upstream(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Closing the iterator early closes what it holds; nothing is read to its end in secret."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), hold_after=1))
        async with aclosing(_generator(provider, self, canary)) as stream:
            await _read_text(stream, self.patience)
        await eventually(
            lambda: upstream.open_calls == 0,
            f"{self.prompt_deadline:g} s after aclose() the upstream is still serving the call: close the "
            "connection in a `finally` of stream_generate",
            timeout=self.prompt_deadline,
        )

    @needs("cutting")
    async def test_a_cut_stream_is_an_error(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """A stream that ends without its end raises after what was delivered; it never just stops."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), cut_after=1))
        events: list[StreamEvent] = []
        try:
            async for event in provider.stream_generate(self.chat(canary, stream=True)):
                events.append(event)  # noqa: PERF401 - what came before the error counts
        except ProviderError as error:
            require(text_of(events) == "Hel", f"before the error the stream delivered {text_of(events)!r}, not 'Hel'")
            require(
                not any(isinstance(event, StreamFinish) for event in events),
                "a cut stream yielded StreamFinish before it raised",
            )
            self.check_error(error, provider, canary)
        else:
            raise AssertionError(
                f"a cut stream ended quietly with {shapes(events)}: raise ProviderError('protocol', …) unless the "
                "upstream said that the answer is complete"
            )

    async def cancelled_call(
        self, task: "asyncio.Task[object]", started: asyncio.Event, upstream: ContractUpstream
    ) -> None:
        """Cancel *task* once it has *started*, and check that everybody noticed."""
        reached = asyncio.create_task(started.wait())
        await asyncio.wait({reached, task}, timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        require(
            started.is_set(),
            f"no output arrived within {self.patience:g} s: yield each piece as soon as the upstream sends it",
        )
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=self.prompt_deadline)
        require(not pending, f"a cancelled call was still running after {self.prompt_deadline:g} s")
        require(
            task.cancelled(),
            "a cancelled call did not end with CancelledError: never catch it, and never turn it into another error",
        )
        await eventually(
            lambda: upstream.open_calls == 0,
            f"{self.prompt_deadline:g} s after the cancellation the upstream is still serving the call: close the "
            "connection in a `finally`",
            timeout=self.prompt_deadline,
        )

    def check_error(self, error: BaseException, provider: BaseLLMProvider, canary: SecretCanary) -> None:
        """What holds for every error of a provider."""
        require(
            isinstance(error, ProviderError),
            f"{type(error).__name__} came out of the provider: translate what libraries raise into ProviderError",
        )
        failed = cast("ProviderError", error)
        require(
            failed.provider == provider.name and failed.model == self.model,
            f"the error is at {failed.provider}/{failed.model}: raise error.at(self.name, request.model)",
        )
        require(failed.message.strip(), "the error has no message: say what happened and what to do next")
        leaks = canary.find(error)
        require(
            not leaks,
            f"the error holds the credential in {', '.join(str(leak) for leak in leaks)}: mask it with "
            "core.llm.common.secrets.redact, and raise `from None`",
        )


def _generator(
    provider: BaseLLMProvider, case: StreamChecks, canary: SecretCanary
) -> AsyncGenerator[StreamEvent, None]:
    return cast("AsyncGenerator[StreamEvent, None]", provider.stream_generate(case.chat(canary, stream=True)))


async def _read_text(stream: AsyncIterator[StreamEvent], patience: float) -> str:
    """The first piece of text of *stream*."""
    try:
        async with asyncio.timeout(patience):
            async for event in stream:
                if event.text:
                    return event.text
    except TimeoutError:
        pass
    return ""
