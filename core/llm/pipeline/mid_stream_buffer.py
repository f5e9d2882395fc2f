"""Hold the first tokens of a stream back: while nobody has seen them, a break is a failed attempt like any other."""

from collections.abc import AsyncIterator

from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.handler import Call
from core.llm.pipeline.pace import tokens_of
from core.llm.providers.base.response import STREAM_EVENTS, StreamEvent, StreamFinish, ToolCallReady


async def hold_back(events: AsyncIterator[StreamEvent], head: list[StreamEvent], call: Call) -> None:
    """Read on until *head* holds as many tokens as *call* wants held back, or the whole answer.

    Raises:
        ProviderError: the stream broke, and nothing of it has been delivered.
    """
    attempt = call.attempt
    if attempt is not None:
        # What the model needed; the response says what the caller waited for.
        attempt.time_to_first_token = call.elapsed() - attempt.started
    held = sum(map(_weight, head))
    while held < call.held_tokens and head[-1].__class__ is not StreamFinish:
        try:
            event = await events.__anext__()
        except StopAsyncIteration:
            raise _cut_short() from None
        if not isinstance(event, STREAM_EVENTS):
            raise TypeError("this is no event of a stream")
        head.append(event)
        held += _weight(event)


def _weight(event: StreamEvent) -> int:
    # A tool call may come whole, without its pieces.
    return 1 if isinstance(event, ToolCallReady) else tokens_of(event)


def _cut_short() -> ProviderError:
    return ProviderError(
        "protocol",
        "the stream ended without a finish event; what it had brought was still held back",
        code="truncated",
        billing="estimated",
    )
