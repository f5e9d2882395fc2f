"""Embeddings of the OpenAI format."""

import struct
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from core.llm.common.wire import HttpCall
from core.llm.dialects.embedded_batches import EmbeddedBatch, Vector, finite, vector_of
from core.llm.dialects.headers import JSON_HEADERS
from core.llm.dialects.json import encode_json, schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_usage import usage_from_openai
from core.llm.providers.base.request import EmbeddingRequest


def encode_embeddings(request: EmbeddingRequest, inputs: Sequence[str], quirks: OpenAIQuirks) -> HttpCall:
    """The HTTP call for *inputs*, which are all or some of those of *request*."""
    body: dict[str, Any] = {"model": request.model, "input": list(inputs)}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user is not None and "user" not in quirks.rejects:
        body["user"] = request.user
    body.update({name: value for name, value in request.extra.items() if name not in {"model", "input"}})
    return HttpCall("POST", quirks.embeddings_path, encode_json(body), JSON_HEADERS)


def decode_embeddings(count: int, quirks: OpenAIQuirks, headers: Mapping[str, str], body: bytes) -> EmbeddedBatch:
    """The *count* vectors in *body*, ordered by the index each one carries.

    Raises:
        ProviderError: a vector is missing, is there twice, is of another length, or is not made of finite numbers.
    """
    answer = json_answer(body, headers)
    entries = answer.get("data")
    if not isinstance(entries, list) or len(entries) != count:
        found = len(entries) if isinstance(entries, list) else "no"
        raise schema_error(f"{found} vectors for {count} texts")
    vectors: list[Vector | None] = [None] * count
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise schema_error("a vector is not in an object")
        index = entry.get("index")
        if index is None:
            index = position
        if type(index) is not int or not 0 <= index < count or vectors[index] is not None:
            raise schema_error(f"vector number {position} has a wrong index")
        vectors[index] = _vector(entry.get("embedding"), quirks)
    whole = tuple(vector for vector in vectors if vector is not None)
    if len({len(vector) for vector in whole}) > 1:
        raise schema_error("the vectors differ in length")
    model = answer.get("model")
    return EmbeddedBatch(whole, usage_from_openai(answer.get("usage"))[0], model if isinstance(model, str) else "")


def _vector(raw: Any, quirks: OpenAIQuirks) -> Vector:
    return finite(_unpacked(raw, quirks)) if isinstance(raw, str) else vector_of(raw)


def _unpacked(text: str, quirks: OpenAIQuirks) -> Vector:
    try:
        data = b64decode(text, validate=True)
        if quirks.embedding_base64 == "int8":
            return tuple(map(float, struct.unpack(f"{len(data)}b", data)))
        return struct.unpack(f"<{len(data) // 4}f", data)
    except (ValueError, struct.error):
        return ()
