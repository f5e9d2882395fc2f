"""The parts of the rig: what a dialect looks like on the wire, and calls whose whole outcome is kept."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from core.llm import LLMService
from core.llm.common.exceptions import LLMError
from core.llm.common.trace import AttemptTrace
from core.llm.providers.base.response import LLMResponse, StreamEvent
from core.llm.testing import wire_dialects as wire
from core.llm.testing.wire_server import WireRequest, WireServer
from core.llm.testing.wire_steps import WireScript, answer, stream

TEXT = "The quick brown fox"
KEY = "sk-canary-0123456789abcdef"
FAR = {"connect": 30, "first_token": 30, "idle": 30, "progress": 30, "total": 60}
"""Limits that no machine reaches by being slow: a test sets the one that it is about."""
SOON = 20
"""Seconds within which everything has happened that does not wait for one of them, on any machine."""


@dataclass(frozen=True)
class Dialect:
    """One wire format, as the server at fault speaks it."""

    name: str
    config: dict[str, Any]
    body: Callable[..., bytes]
    frames: Callable[..., list[bytes]]
    error: Callable[..., bytes]
    content_type: str
    ping: bytes
    """A sign of life that is no output."""
    opening: list[bytes]
    """What comes before the first output."""

    def answer(self, text: str = TEXT, **fields: Any) -> WireScript:
        """A complete answer."""
        return answer(self.body(text, **fields))

    def stream(self, frames: list[bytes] | None = None, **options: Any) -> WireScript:
        """A stream of *frames*, or a complete one."""
        return stream(self.frames(TEXT) if frames is None else frames, content_type=self.content_type, **options)

    def begun(self, words: int = 2) -> list[bytes]:
        """Everything up to and including the first *words* pieces of the text."""
        return self.frames(TEXT)[: words + (1 if self.name == "openai" else 0)]


OPENAI = Dialect(
    "openai",
    {"type": "openai", "api_key": KEY},
    wire.openai_answer,
    wire.openai_stream,
    wire.openai_error,
    "text/event-stream",
    b": ping\n\n",
    [wire.openai_chunk({"role": "assistant", "content": ""})],
)
OLLAMA = Dialect(
    "ollama",
    {"type": "ollama"},
    wire.ollama_answer,
    wire.ollama_stream,
    lambda message, **_: wire.ollama_error(message),
    "application/x-ndjson",
    wire.ndjson({"model": "wire-model", "message": {"role": "assistant", "content": ""}, "done": False}),
    [wire.ndjson({"model": "wire-model", "message": {"role": "assistant", "content": ""}, "done": False})],
)
DIALECTS = (OPENAI, OLLAMA)


def config_for(
    dialect: Dialect, url: str, spare_url: str, provider: dict[str, Any], service: dict[str, Any]
) -> dict[str, Any]:
    """A configuration with the aliases `only` (the upstream at fault) and `chain` (with the spare behind it)."""
    faulty = {"base_url": url, "allow_insecure": True, "models": {"m": {"context_window": 8000}}}
    if dialect is OPENAI:
        faulty["models"] = {"m": {"context_window": 8000, "max_output_tokens": 1000}}
    timeouts = {**FAR, **provider.pop("timeouts", {})}
    spare = {"type": "openai", "api_key": "sk-spare-0123456789", "base_url": spare_url, "models": {
        "m": {"context_window": 100_000}, "small": {"context_window": 1000},
    }}  # fmt: skip
    return {
        "llm_service": {
            "models": {
                "only": {"use": "faulty/m", "fallback": []},
                "chain": {"use": "faulty/m", "fallback": ["spare/m"]},
                "shrinking": {"use": "faulty/m", "fallback": ["spare/small"]},
            },
            "providers": {"faulty": {**dialect.config, **faulty, "timeouts": timeouts, **provider}, "spare": spare},
            "retry": {"max_retries": 2, "initial_delay": 0.002, "max_delay": 0.02, "max_retry_after": 5},
            "health_check": {"enabled": False},
            **service,
        }
    }


@dataclass
class Outcome:
    """How a call ended, whole."""

    response: LLMResponse | None = None
    error: LLMError | None = None
    events: list[StreamEvent] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """What was delivered."""
        if self.response is not None:
            return self.response.content
        return "".join(event.text for event in self.events)

    @property
    def attempts(self) -> list[AttemptTrace]:
        """Every attempt, in order."""
        trace = self.error.trace if self.error is not None else self.response.trace
        return trace.attempts

    @property
    def billing(self) -> list[str]:
        """What is known about the cost of each attempt."""
        return [attempt.billing for attempt in self.attempts]

    @property
    def kind(self) -> tuple[str, str | None]:
        """Type and code of the error."""
        assert self.error is not None, f"the call was answered: {self.text!r}"
        return self.error.type, self.error.code


@dataclass
class Rig:
    """A service with one upstream at fault and a healthy spare."""

    dialect: Dialect
    server: WireServer
    spare: WireServer
    llm: LLMService

    def __post_init__(self) -> None:
        # The spare answers whole or in a stream, as it is asked.
        self.spare.when(
            lambda request: "event-stream" in request.headers.get("accept", ""), stream(wire.openai_stream("spare"))
        )
        self.spare.otherwise(answer(wire.openai_answer("spare")))
        say_what_is_loaded(self.server)

    @property
    def hits(self) -> int:
        """Requests for an answer that reached the upstream at fault."""
        return sum(not _asks_what_is_loaded(request) for request in self.server.requests)

    async def generate(self, model: str = "only", **options: Any) -> Outcome:
        """One call; its error is kept, not raised."""
        began = time.monotonic()
        try:
            outcome = Outcome(await self.llm.generate("hi", model=model, **options))
        except LLMError as error:
            outcome = Outcome(error=error)
        outcome.seconds = time.monotonic() - began
        self.check(outcome)
        return outcome

    async def stream(self, model: str = "only", **options: Any) -> Outcome:
        """One streamed call, read to its end."""
        outcome, began = Outcome(), time.monotonic()
        try:
            async with self.llm.stream("hi", model=model, **options) as events:
                async for event in events:
                    outcome.events.append(event)
                outcome.response = await events.response()
        except LLMError as error:
            outcome.error = error
        outcome.seconds = time.monotonic() - began
        self.check(outcome)
        return outcome

    def check(self, outcome: Outcome) -> None:
        """What holds for every outcome: nothing of the HTTP library, and no secret, hangs on the error."""
        error: BaseException | None = outcome.error
        assert error is None or error.__cause__ is None
        while error is not None:
            assert not type(error).__module__.startswith("aiohttp"), f"{type(error)} hangs on the error"
            assert KEY not in f"{error} {error!r} {error.args}"
            error = error.__context__


def _asks_what_is_loaded(request: WireRequest) -> bool:
    return request.path == "/api/ps"


def say_what_is_loaded(server: WireServer) -> None:
    """Let *server* say that the model is in memory: a server of local models is asked before a stream."""
    loaded = {"models": [{"name": "m:latest", "model": "m:latest"}]}
    server.when(_asks_what_is_loaded, answer(json.dumps(loaded)))


@contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that swallows connection attempts: its queue is full, so the kernel drops what else arrives."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


def json_bytes(value: Any) -> bytes:
    """*value* as JSON."""
    return json.dumps(value).encode()
