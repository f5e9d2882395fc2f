"""Embeddings through InvokeModel: each family of models has its own shape. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import ModelFacts, Usage
from core.llm.common.wire import HttpCall
from core.llm.dialects.embedded_batches import EmbeddedBatch, vector_of
from core.llm.dialects.headers import JSON_HEADERS
from core.llm.dialects.json import encode_json, schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.bedrock.naming import base_model, model_path

Family = Literal["titan", "cohere", "nova"]

_BATCH: Final = {"titan": 1, "cohere": 96, "nova": 1}
_TOKENS_HEADER: Final = "x-amzn-bedrock-input-token-count"
_FAMILIES: Final[Mapping[str, Family]] = {"amazon.titan": "titan", "cohere.": "cohere", "amazon.nova": "nova"}


def family_of(model: str, facts: ModelFacts) -> Family:
    """Whose shape *model* speaks: what its facts say, else what its name begins with.

    Raises:
        UnsupportedFeature: neither says.
    """
    told = facts.quirks.get("embeddings")
    for prefix, family in _FAMILIES.items():
        if told == family or (told is None and base_model(model).startswith(prefix)):
            return family
    raise UnsupportedFeature(
        f"how {model} makes embeddings is not known: use a model of Titan, Cohere or Nova, or set the quirk "
        "`embeddings: titan | cohere | nova` on it"
    )


def batches(family: Family, inputs: Sequence[str]) -> list[Sequence[str]]:
    """*inputs* in the portions that *family* takes in one request."""
    size = _BATCH[family]
    return [inputs[begin : begin + size] for begin in range(0, len(inputs), size)]


def encode_embeddings(request: EmbeddingRequest, family: Family, inputs: Sequence[str], facts: ModelFacts) -> HttpCall:
    """The HTTP call for *inputs*, one portion of those of *request*."""
    if family == "cohere":
        body: dict[str, Any] = {"texts": list(inputs), "input_type": "search_document"}
    elif family == "titan":
        body = {"inputText": inputs[0]}
    else:
        text = {"truncationMode": "NONE", "value": inputs[0]}
        body = {
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", "text": text},
        }
    if request.dimensions is not None:
        place = facts.quirks.get("dimensions")
        if not isinstance(place, str):
            raise UnsupportedFeature(f"{request.model} has one length of vectors: leave out dimensions")
        outer, _, inner = place.rpartition(".")
        (body.setdefault(outer, {}) if outer else body)[inner] = request.dimensions
    for name, value in request.extra.items():
        if name in {"texts", "inputText", "taskType"}:
            continue
        known = body.get(name)
        body[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, Mapping) else value
    return HttpCall("POST", model_path(request.model, "invoke"), encode_json(body), JSON_HEADERS, idempotent=True)


def decode_embeddings(family: Family, count: int, headers: Mapping[str, str], body: bytes) -> EmbeddedBatch:
    """The *count* vectors in *body*, in the order of the texts, and what they cost.

    Raises:
        ProviderError: a vector is missing, or is not made of finite numbers.
    """
    answer = json_answer(body, headers)
    raw: Any = [answer.get("embedding")] if family == "titan" else answer.get("embeddings")
    if family == "cohere" and isinstance(raw, Mapping):
        raw = raw.get("float")
    elif family == "nova" and isinstance(raw, list):
        raw = [entry.get("embedding") if isinstance(entry, Mapping) else None for entry in raw]
    if not isinstance(raw, list) or len(raw) != count:
        found = len(raw) if isinstance(raw, list) else "no"
        raise schema_error(f"{found} vectors for {count} texts")
    usage = _usage(answer.get("inputTextTokenCount"), headers.get(_TOKENS_HEADER))
    return EmbeddedBatch(tuple(vector_of(one if isinstance(one, list) else None) for one in raw), usage)


def _usage(told: object, header: str | None) -> Usage:
    if isinstance(told, int) and not isinstance(told, bool) and told >= 0:
        return Usage(input=told, raw={"inputTextTokenCount": told})
    if header is not None and header.isascii() and header.isdigit() and len(header) < 10:
        return Usage(input=int(header), raw={_TOKENS_HEADER: header})
    return Usage(estimated=True)
