"""Hold a request to what a single one may ask for, before anything is sent.

Size comes first, without looking at the content; tokens are counted only where size alone does not decide, and outside
the event loop where there is much to count. How long an answer may be and what it may cost is looked at per candidate,
in `preflight`.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

from core.llm.common.decisions import CallRefused
from core.llm.common.exceptions import LLMError, RateLimited, RequestError
from core.llm.common.messages import MediaPart, TextPart, ThinkingPart, ToolResultPart
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.tokens import estimate_request, estimate_text

if TYPE_CHECKING:
    from core.llm.providers.config.models.limits import RequestLimitOptions
    from core.llm.providers.config.models.service import LLMServiceConfig

AT_ONCE: Final = 64 * 1024
"""Characters that are counted in the event loop; more go to a thread, in slices of this length."""
_CHARACTERS_PER_TOKEN: Final = 10
"""No common tokenizer packs text tighter than this."""


class UserSlots:
    """How many calls of each user are in flight. Only who has one is remembered."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._running)

    def take(self, user: str, most: int) -> bool:
        """One call more of *user*; `False` where *most* are in flight already."""
        running = self._running.get(user, 0)
        if running >= most:
            return False
        self._running[user] = running + 1
        return True

    def give_back(self, user: str) -> None:
        """A call of *user* has ended."""
        running = self._running[user] - 1
        if running:
            self._running[user] = running
        else:
            del self._running[user]


def limits_of(config: "LLMServiceConfig", request: LLMRequest) -> "RequestLimitOptions":
    """What *request* may ask for: the limits of its alias, or the general ones."""
    alias = config.models.get(request.model or config.default_model or "")
    return config.request_limits if alias is None or alias.limits is None else alias.limits


def bound(call: Call, config: "LLMServiceConfig") -> None:
    """Write down on *call* what it may ask for and cost."""
    _bound(call, limits_of(config, call.request))


def _bound(call: Call, limits: "RequestLimitOptions") -> None:
    asked = call.request.cost_limit
    call.limits = limits
    if asked is not None or limits.max_cost is not None:
        own = [Decimal(str(asked))] if asked is not None else []
        call.cost_limit = min([*own, *([limits.max_cost] if limits.max_cost is not None else [])])


def request_limits(config: "LLMServiceConfig", users: UserSlots) -> Layer:
    """The layer that refuses what is too large, and more calls of one user than *config* allows at once."""
    general = config.request_limits
    special = any(alias.limits is not None for alias in config.models.values())

    def layer(inner: Handler) -> Handler:
        def handle(call: Call) -> Awaitable[Reply]:
            limits = limits_of(config, call.request) if special else general
            _bound(call, limits)
            problem = too_many_bytes(call, limits.max_input_bytes)
            if problem is not None:
                _refuse(call, RequestError(problem))
            if limits.max_input_tokens is None and (limits.max_concurrency is None or call.request.user is None):
                return inner(call)
            return counted(call, limits)

        async def counted(call: Call, limits: "RequestLimitOptions") -> Reply:
            if limits.max_input_tokens is not None:
                problem = await too_many_tokens(call, limits.max_input_tokens)
                if problem is not None:
                    _refuse(call, RequestError(problem))
            user, most = call.request.user, limits.max_concurrency
            if user is None or most is None:
                return await inner(call)
            if not users.take(user, most):
                _refuse(
                    call,
                    RateLimited(
                        f"this user has {most} calls in flight, which is all that request_limits.max_concurrency "
                        "allows: wait until one has ended"
                    ),
                )
            try:
                reply = await inner(call)
            except BaseException:
                users.give_back(user)
                raise
            reply.on_end(partial(_give_back, users, user))
            return reply

        return handle

    return layer


def _give_back(users: UserSlots, user: str, _reply: Reply, _error: BaseException | None) -> None:
    users.give_back(user)


def _refuse(call: Call, error: LLMError) -> None:
    if call.events.wants(CallRefused):
        call.events.publish(CallRefused(call.id, str(error)))
    raise error


def too_many_bytes(call: Call, most: int) -> str | None:
    """Why *call* is too large to be looked at; its text is not even measured where its length settles it."""
    if call.mode != "embed":
        characters = 0
        for message in call.request.messages:
            content = message.content
            if content.__class__ is not str or message.tool_calls:
                break
            characters += len(content)
        else:
            # No character has more than four bytes: what is that short needs no second look.
            if 4 * characters <= most:
                return None
    size = longest = 0
    for piece in _pieces(call):
        if isinstance(piece, int):
            size += piece
            longest += piece
        else:
            size += len(piece)
            longest += len(piece) if piece.isascii() else 4 * len(piece)
    if longest > most >= size:
        size = sum(
            piece if isinstance(piece, int) else len(piece.encode("utf-8", "replace")) for piece in _pieces(call)
        )
    if size <= most:
        return None
    return f"the request holds at least {size} bytes, request_limits.max_input_bytes is {most}: send less, or raise it"


async def too_many_tokens(call: Call, most: int) -> str | None:
    """Why *call* has too many prompt tokens."""
    characters = sum(len(piece) for piece in _pieces(call) if isinstance(piece, str))
    tokens = characters // _CHARACTERS_PER_TOKEN
    if tokens <= most:
        if characters > AT_ONCE:
            with call.guard:
                tokens = await asyncio.to_thread(_counted, call, most)
        elif call.mode == "embed":
            tokens = sum(map(estimate_text, call.inputs))
        else:
            tokens = estimate_request(call.request).tokens
    if tokens <= most:
        return None
    return (
        f"the prompt has about {tokens} tokens or more, request_limits.max_input_tokens is {most}: send less, or "
        "raise it"
    )


def _counted(call: Call, most: int) -> int:
    """Tokens of the text of *call*, counted no further than to what is too many."""
    tokens = 0
    for piece in _pieces(call):
        if isinstance(piece, int):
            continue
        for begin in range(0, len(piece), AT_ONCE):
            tokens += estimate_text(piece[begin : begin + AT_ONCE])
            if tokens > most:
                return tokens
    return tokens


def _pieces(call: Call) -> Iterator[str | int]:
    """The text of *call*, and the sizes of what is attached to it."""
    if call.mode == "embed":
        yield from call.inputs
        return
    for message in call.request.messages:
        content = message.content
        if isinstance(content, str):
            yield content
        else:
            for part in content:
                if isinstance(part, MediaPart):
                    yield len(part.data) if part.data is not None else len(part.url or "")
                elif isinstance(part, TextPart | ThinkingPart):
                    yield part.text
                elif isinstance(part, ToolResultPart):
                    yield part.content
        for tool_call in message.tool_calls:
            yield tool_call.name
            yield tool_call.arguments_json()
