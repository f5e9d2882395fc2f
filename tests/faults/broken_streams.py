"""An upstream whose streams break in the middle, and two spares: what a policy makes of them."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from core.container import Container
from core.llm import LLMService, ProviderModule, UsageLedger
from core.llm.common.decisions import StreamRecovered
from core.llm.common.events import EventBus
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.trace import CallTrace
from core.llm.providers.base.response import LLMResponse, StreamEvent, StreamReset
from core.llm.testing import EventRecorder, FakeClock
from core.llm.testing.fault_dialects import WIRE_DIALECTS, WireDialect
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import End, Fin, Send, Stall, Step, WireScript, stream
from tests.faults.rig import FAR, say_what_is_loaded

TEXT = "The quick brown fox jumps over the lazy dog"
BEGUN = "The quick "
REST = "brown fox jumps over the lazy dog"
OTHER = "A slow green turtle"
LIMITS = {"stall": {"idle": 0.15}, "slow": {"min_rate": 200, "rate_window": 0.3}}
"""What notices that a stream goes wrong in this way; where there is no such limit, all are far away."""

BREAKS = ("cut", "stall", "malformed", "slow")
CODES = {"cut": "body_cut", "stall": "idle_timeout", "malformed": "json", "slow": "too_slow"}


def broken(dialect: WireDialect, how: str, words: int = 2, text: str = TEXT) -> WireScript:
    """The stream of *text* that goes wrong after its first *words*."""
    frames = dialect.frames(text, "m")
    begun = frames.opening + frames.pieces[:words]
    rest = frames.pieces[words:]
    ending: list[Step] = []
    if how == "cut":
        ending = [Stall(0.02), Fin()]
    elif how == "stall":
        ending = [Stall()]
    elif how == "malformed":
        ending = [Send(frame) for frame in (dialect.garbage, *rest, *frames.closing)]
    else:
        # Never silent for long enough, and never enough.
        ending = [step for frame in (*rest, *frames.closing) for step in (Stall(0.1), Send(frame))]
    return stream(begun, content_type=dialect.content_type, end=False).then(*ending, End())


def whole(dialect: WireDialect, text: str, gap: float = 0.0) -> WireScript:
    """A complete stream of *text*, with *gap* seconds after each frame."""
    frames = dialect.frames(text, "m")
    return stream([*frames.opening, *frames.pieces, *frames.closing], content_type=dialect.content_type, gap=gap)


@dataclass
class Seen:
    """What a consumer saw of one stream."""

    events: list[StreamEvent] = field(default_factory=list)
    response: LLMResponse | None = None
    error: LLMError | None = None

    @property
    def shown(self) -> str:
        """The text on the screen of a consumer that wipes it at a reset."""
        text = ""
        for event in self.events:
            text = "" if isinstance(event, StreamReset) else text + event.text
        return text

    @property
    def all_text(self) -> str:
        """Every character that was ever delivered."""
        return "".join(event.text for event in self.events)

    @property
    def resets(self) -> list[StreamReset]:
        """The resets, in order."""
        return [event for event in self.events if isinstance(event, StreamReset)]

    @property
    def trace(self) -> CallTrace:
        """The story of the call."""
        trace = self.response.trace if self.response is not None else self.error.trace  # type: ignore[union-attr]  # one of the two is there
        assert trace is not None
        return trace

    @property
    def partial(self) -> str:
        """The text that the error says was delivered."""
        assert isinstance(self.error, ProviderError)
        assert self.error.partial is not None
        return self.error.partial.text


@dataclass
class Streams:
    """A service with the broken upstream `faulty`, and the spares behind it."""

    llm: LLMService
    dialect: WireDialect
    faulty: WireServer
    spare: WireServer
    recovered: EventRecorder
    ledger: UsageLedger
    clock: FakeClock | None

    async def read(self, prompt: Any = "hi", **options: Any) -> Seen:
        """One stream, read to its end."""
        seen = Seen()
        try:
            async with self.llm.stream(prompt, model="route", **options) as events:
                async for event in events:
                    seen.events.append(event)
                seen.response = await events.response()
        except LLMError as error:
            seen.error = error
        return seen

    def sent(self, server: WireServer, nth: int = -1) -> dict[str, Any]:
        """The body of a request that reached *server*."""
        body = json.loads(server.requests[nth].body)
        assert isinstance(body, dict)
        return body

    @property
    def recoveries(self) -> list[str]:
        """The policies by which the stream was recovered, as events told it."""
        return [event.policy for event in self.recovered.of(StreamRecovered)]


@asynccontextmanager
async def broken_streams(
    mid_stream: Any,
    *,
    dialect: str = "openai",
    prefill: bool = False,
    fallback: tuple[str, ...] = ("spare/m",),
    facts: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    clock: FakeClock | None = None,
    **service: Any,
) -> AsyncIterator[Streams]:
    """A service whose alias `route` has the policy *mid_stream*; the spare speaks OpenAI's format."""
    wire = WIRE_DIALECTS[dialect]
    async with AsyncExitStack() as stack:
        faulty = await stack.enter_async_context(WireServer())
        spare = await stack.enter_async_context(WireServer())
        say_what_is_loaded(faulty)
        known = {"context_window": 100_000, "price": {"input": 1, "output": 10}, **(facts or {})}
        spares = {**known, "quirks": {"prefill": prefill}}
        config = {
            "models": {"route": {"use": "faulty/m", "fallback": list(fallback), "mid_stream": mid_stream}},
            "providers": {
                "faulty": {
                    **wire.provider, "base_url": faulty.url, "models": {"m": known},
                    "timeouts": {**FAR, **(limits or {})},
                    "allow_insecure": True,
                },
                "spare": {
                    "type": "openai", "api": "chat", "api_key": "sk-spare", "base_url": spare.url,
                    "models": {"m": spares}, "timeouts": FAR, "allow_insecure": True,
                },
            },
            "retry": {"max_retries": 1, "initial_delay": 0.002, "max_delay": 0.01},
            "health_check": {"enabled": False},
            **service,
        }  # fmt: skip
        module = ProviderModule({"llm_service": config}, watch=False, env={}, clock=clock)
        container = await stack.enter_async_context(Container([module]))
        recorder = EventRecorder(container.get(EventBus))
        yield Streams(container.get(LLMService), wire, faulty, spare, recorder, container.get(UsageLedger), clock)
