"""Guardrails and streams for the tests of both."""

import asyncio
from collections.abc import Sequence

from core.llm.common.exceptions import ProviderError
from core.llm.common.guardrail import ALLOW, Block, GuardedRequest, Guardrail, InputVerdict, OutputVerdict
from core.llm.pipeline.guardrails import guardrails
from core.llm.pipeline.handler import Call, Handler, compose
from core.llm.pipeline.terminal import terminal
from core.llm.providers.base.response import StreamEvent
from core.llm.testing import ScriptedProvider
from tests.unit.pipeline.support import a_provider, a_target


class NoWord(Guardrail):
    """Blocks one phrase, in both directions; remembers what it was shown."""

    name = "no_word"

    def __init__(self, phrase: str, window: int | None = None) -> None:
        self.phrase = phrase
        self.window = window or len(phrase)
        self.seen: list[str] = []
        self.requests: list[GuardedRequest] = []

    def check_input(self, request: GuardedRequest) -> InputVerdict:
        self.requests.append(request)
        return Block("it was asked for") if any(self.phrase in one.text for one in request.messages) else ALLOW

    async def check_output(self, text: str) -> OutputVerdict:
        self.seen.append(text)
        return Block("it was answered") if self.phrase in text else ALLOW


def behind(*rails: Guardrail) -> tuple[Handler, ScriptedProvider]:
    """A scripted provider behind guardrails."""
    provider = a_provider()
    return compose(guardrails(rails), terminal(a_target(provider))), provider


async def shown(handler: Handler, call: Call) -> tuple[list[StreamEvent], ProviderError | None]:
    """What a reader of the stream gets to see, and how it breaks."""
    events: list[StreamEvent] = []
    reply = await handler(call)
    try:
        while (event := await reply.next()) is not None:
            events.append(event)
    except ProviderError as error:
        await reply.end("failed", error)
        return events, error
    except asyncio.CancelledError as error:
        await reply.end("cancelled", error)
        raise
    await reply.end("answered")
    return events, None


def texts(events: Sequence[StreamEvent]) -> str:
    """The text of *events*."""
    return "".join(event.text for event in events)
