"""Answer a request from what an identical one was answered, streamed or not.

Only whole and certain answers are kept, as this layer saw them: what a guardrail outside of it puts into an answer is
for one caller and never kept. A hit costs nothing and says so.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

from core.llm.common.decisions import CacheHit
from core.llm.common.exceptions import NotCached
from core.llm.pipeline.answer_store import AnswerStore
from core.llm.pipeline.cached_answer import (
    events_of,
    free_of_charge,
    may_be_kept,
    own_call,
    packed,
    packed_parts,
    unpacked,
)
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.request_key import RequestKeys
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent, ToolCallReady
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.structured.answer import Fit, Misfit, read_response

Wish = Literal["off", "read", "refresh", "only"]


def from_cache(
    config: LLMServiceConfig, store: AnswerStore, swapped: Callable[[], Mapping[str, tuple[str, ...]]] = dict
) -> Layer:
    """The layer that answers from *store*, as `config.cache` and the request say.

    *swapped* tells which aliases mean other models now than *config* says.
    """
    options, keys, currency = config.cache, RequestKeys(config), config.costs.currency
    unless_said = options.enabled is True

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            wish = _wish(call.request, unless_said=unless_said) if call.mode != "embed" else "off"
            if wish == "off":
                return await inner(call)
            # Objects are validated and asked for again on one of the two ways only.
            form = call.mode if call.request.response_format is not None else ""
            key = keys.key(call.request, form, swapped())
            if wish != "refresh" and key is not None:
                reply = await kept(call, key)
                if reply is not None:
                    return reply
            if wish == "only":
                raise NotCached("no answer to this request is kept, and it asks for the cache only")
            call.key = key
            return await inner(call)

        async def kept(call: Call, key: str) -> Reply | None:
            with call.guard:
                stored = await store.get(key, call.clock.monotonic())
            if stored is None:
                return None
            response = unpacked(key, stored.data)
            if response is None or stored.age >= options.ttl or not with_object(response, call.request):
                store.drop(key)
                return None
            saved = response.cost
            call.trace.notes.append(
                f"answered from the cache, {stored.age:.0f} s old"
                + ("" if saved is None else f", which saved {saved.amount} {saved.currency}")
            )
            call.events.publish(CacheHit(call.id, stored.age, saved))
            free_of_charge(response, currency)
            if call.mode != "stream":
                return Reply(call, response=response)
            reply = Reply(call, tail=_Replay(events_of(response)))
            reply.first_output_at = call.elapsed()
            reply.on_end(partial(_say_the_same, response))
            return reply

        return handle

    return layer


def into_cache(config: LLMServiceConfig, store: AnswerStore) -> Layer:
    """The layer that keeps answers in *store*: those of calls that were given a key."""
    ttl = config.cache.ttl

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            reply = await inner(call)
            key = call.key
            if key is None:
                return reply
            response = reply.response
            if response is not None:
                parts = packed_parts(response.parts)
                reply.on_end(lambda reply, _: keep(call, key, reply, parts))
            else:
                seen = _Seen()
                reply.convert_events(seen)
                reply.on_end(lambda reply, _: keep(call, key, reply, packed_parts(seen.collector.parts())))
            return reply

        def keep(call: Call, key: str, reply: Reply, parts: bytes | None) -> None:
            response = reply.response
            if reply.outcome != "answered" or response is None or parts is None or not may_be_kept(response):
                return
            data = packed(key, response, parts)
            if call.mode == "stream" and call.request.response_format is not None:
                # Nobody has looked yet whether it fits.
                copy = unpacked(key, data)
                if copy is None or not with_object(copy, call.request):
                    return
            store.put(key, data, call.clock.monotonic(), ttl)

        return handle

    return layer


def with_object(response: LLMResponse, request: LLMRequest) -> bool:
    """Put the object into *response* that *request* wants; false where it has none that fits."""
    wanted = request.response_format
    if wanted is None:
        return True
    outcome = read_response(response, wanted)
    if isinstance(outcome, Fit):
        response.object = outcome.object
    return not isinstance(outcome, Misfit)


def _wish(request: LLMRequest, *, unless_said: bool) -> Wish:
    match request.cache:
        case None:
            return "read" if unless_said else "off"
        case True:
            return "read"
        case False:
            return "off"
        case said:
            return said


def _say_the_same(kept: LLMResponse, reply: Reply, _: BaseException | None) -> None:
    response = reply.response
    if response is not None:
        response.cached, response.cost, response.warnings = True, kept.cost, kept.warnings


class _Seen:
    """Notes what passes by, before anybody can change what is in it."""

    __slots__ = ("collector",)

    def __init__(self) -> None:
        self.collector = ResponseCollector()

    def __call__(self, event: StreamEvent) -> StreamEvent:
        if isinstance(event, ToolCallReady):
            self.collector.add(replace(event, call=own_call(event.call)))
        else:
            self.collector.add(event)
        return event


class _Replay(AsyncIterator[StreamEvent]):
    """Events that are all there, as a stream."""

    __slots__ = ("_events",)

    def __init__(self, events: Iterator[StreamEvent]) -> None:
        self._events = events

    async def __anext__(self) -> StreamEvent:
        for event in self._events:
            return event
        raise StopAsyncIteration
