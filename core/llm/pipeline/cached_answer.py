"""A complete answer as bytes, for keeping and for sharing, and back. Pure.

Whoever is given one gets objects of its own. The bytes carry a checksum over themselves and over the key they are kept
under, so that what was damaged, or belongs to something else, is never taken for an answer.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from pydantic_core import from_json, to_json

from core.llm.common.messages import TextPart, ThinkingPart, ToolCall
from core.llm.common.types import CallWarning, Cost, FinishReason, Usage
from core.llm.providers.base.response import (
    AnswerPart,
    LLMResponse,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)

_FORM: Final = 1
"""Changes with the form of the bytes: an older one is not read."""
_CHECKSUM: Final = 16

_BUCKETS: Final = ("input", "cache_read", "cache_write", "output", "reasoning")


def may_be_kept(response: LLMResponse) -> bool:
    """Whether *response* is whole and certain: not cut, filtered, refused or empty, and its tokens counted."""
    return (
        response.finish_reason.unified in {"stop", "tool_calls"}
        and response.refusal is None
        and not response.usage.estimated
        and not response.cached
        and bool(response.content or response.tool_calls)
        and not any(call.arguments_error for call in response.tool_calls)
    )


def packed_parts(parts: tuple[AnswerPart, ...]) -> bytes | None:
    """*parts* as they are now, whatever their owner does to them later; `None` where JSON cannot hold them."""
    try:
        return to_json([_part(part) for part in parts])
    except ValueError:
        return None


def packed_or_none(key: str, response: LLMResponse) -> bytes | None:
    """*response* under *key*; `None` where JSON cannot hold it, such as half of a surrogate pair."""
    parts = packed_parts(response.parts)
    return None if parts is None else packed(key, response, parts)


def packed(key: str, response: LLMResponse, parts: bytes) -> bytes:
    """*response* under *key*, with *parts* in the place of its own."""
    usage, cost = response.usage, response.cost
    body = to_json(
        {
            "form": _FORM,
            "finish": [response.finish_reason.unified, response.finish_reason.raw],
            "model": response.model,
            "provider": response.provider,
            "request_id": response.request_id,
            "refusal": response.refusal,
            "usage": [getattr(usage, bucket) for bucket in _BUCKETS],
            "estimated": usage.estimated,
            "cost": None if cost is None else [str(cost.amount), cost.currency, cost.source, cost.estimated],
            "warnings": [[one.code, one.message, one.parameter] for one in response.warnings],
            "parts": from_json(parts),
        }
    )
    return _checksum(key, body) + body


def unpacked(key: str, data: bytes) -> LLMResponse | None:
    """The answer that was packed under *key*; `None` where *data* is anything else."""
    body = data[_CHECKSUM:]
    if data[:_CHECKSUM] != _checksum(key, body):
        return None
    found = from_json(body)
    if found["form"] != _FORM:
        return None
    cost = found["cost"]
    return LLMResponse(
        tuple(_PARTS[kind](**fields) for kind, fields in found["parts"]),
        FinishReason(*found["finish"]),
        found["model"],
        found["provider"],
        Usage(**dict(zip(_BUCKETS, found["usage"], strict=True)), estimated=found["estimated"]),
        None if cost is None else Cost(Decimal(cost[0]), *cost[1:]),
        warnings=tuple(CallWarning(*one) for one in found["warnings"]),
        request_id=found["request_id"],
        refusal=found["refusal"],
    )


def own_call(call: ToolCall) -> ToolCall:
    """*call* with arguments that nobody else can change."""
    return replace(call, arguments=deepcopy(dict(call.arguments)))


def free_of_charge(response: LLMResponse, currency: str) -> None:
    """Make *response* one that has cost nothing: another call has paid for it."""
    response.cached = True
    response.usage = Usage()
    response.cost = Cost(Decimal(0), currency, "cache")


def events_of(response: LLMResponse) -> Iterator[StreamEvent]:
    """*response* as a stream."""
    yield StreamStart(response.model, response.provider, response.request_id)
    index = 0
    for part in response.parts:
        if isinstance(part, TextPart):
            yield TextDelta(part.text)
        elif isinstance(part, ThinkingPart):
            yield ThinkingDelta(part.text, part.signature, part.redacted)
        else:
            yield ToolCallDelta(index, part.id, part.name, part.arguments_json())
            yield ToolCallReady(index, part)
            index += 1
    yield UsageReport(response.usage)
    yield StreamFinish(response.finish_reason)


def _checksum(key: str, body: bytes) -> bytes:
    return blake2b(body, key=blake2b(key.encode(), digest_size=32).digest(), digest_size=_CHECKSUM).digest()


_PARTS: Final[dict[str, Any]] = {"text": TextPart, "thinking": ThinkingPart, "tool_call": ToolCall}


def _part(part: AnswerPart) -> tuple[str, dict[str, Any]]:
    return part.type, {name: getattr(part, name) for name in part.__slots__ if name != "type"}
