"""Embeddings of the Gemini format.

There are three ways, and the model and the API decide which one is open:

- `batchEmbedContents`: many texts in one request; the Gemini API
- `predict`: many texts, on Vertex AI, for its older models
- `embedContent`: one text, on Vertex AI, for its newer models
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from core.llm.common.types import Usage
from core.llm.common.wire import HttpCall
from core.llm.dialects.embedded_batches import EmbeddedBatch, vector_of
from core.llm.dialects.gemini_endpoint import GeminiEndpoint
from core.llm.dialects.gemini_errors import gemini_error
from core.llm.dialects.gemini_stream import json_chunks
from core.llm.dialects.gemini_usage import usage_from_gemini
from core.llm.dialects.headers import JSON_HEADERS
from core.llm.dialects.json import encode_json, schema_error
from core.llm.providers.base.request import EmbeddingRequest

EmbeddingMethod = Literal["batch", "predict", "single"]

_METHODS: Final = {"batch": "batchEmbedContents", "predict": "predict", "single": "embedContent"}
# Of the raw fields of a request, those that `predict` wants beside each text; the others are parameters of the whole.
_PER_TEXT: Final = {"taskType": "task_type", "task_type": "task_type", "title": "title"}


def encode_embeddings(
    request: EmbeddingRequest, inputs: Sequence[str], endpoint: GeminiEndpoint, method: EmbeddingMethod
) -> HttpCall:
    """The HTTP call for *inputs*, which are all or some of those of *request*; `single` takes one."""
    body: dict[str, Any]
    if method == "predict":
        per_text = {_PER_TEXT[name]: value for name, value in request.extra.items() if name in _PER_TEXT}
        parameters = {name: value for name, value in request.extra.items() if name not in _PER_TEXT}
        if request.dimensions is not None:
            parameters["outputDimensionality"] = request.dimensions
        body = {"instances": [{"content": text, **per_text} for text in inputs]}
        if parameters:
            body["parameters"] = parameters
    elif method == "batch":
        name = endpoint.resource(request.model)
        body = {"requests": [{"model": name, **_content(request, text)} for text in inputs]}
    else:
        body = _content(request, inputs[0])
    return HttpCall("POST", endpoint.path(request.model, _METHODS[method]), encode_json(body), JSON_HEADERS)


def decode_embeddings(count: int, method: EmbeddingMethod, headers: Mapping[str, str], body: bytes) -> EmbeddedBatch:
    """The *count* vectors in *body*.

    Raises:
        ProviderError: it is an error; a vector is missing, is of another length, or is not made of finite numbers.
    """
    answer = json_chunks(body, headers)[0]
    if answer.get("error") is not None:
        raise gemini_error(answer, headers=headers)
    entries = {"batch": answer.get("embeddings"), "predict": answer.get("predictions")}.get(
        method, [answer.get("embedding")]
    )
    if not isinstance(entries, list) or len(entries) != count:
        found = len(entries) if isinstance(entries, list) else "no"
        raise schema_error(f"{found} vectors for {count} texts")
    usage = usage_from_gemini(answer.get("usageMetadata"))[0]
    if method == "predict":
        entries = [entry.get("embeddings") if isinstance(entry, Mapping) else None for entry in entries]
        usage = _counted(entries) or usage
    vectors = tuple(vector_of(entry.get("values") if isinstance(entry, Mapping) else None) for entry in entries)
    if len({len(vector) for vector in vectors}) > 1:
        raise schema_error("the vectors differ in length")
    return EmbeddedBatch(vectors, usage)


def _content(request: EmbeddingRequest, text: str) -> dict[str, Any]:
    content: dict[str, Any] = {"content": {"parts": [{"text": text}]}, **request.extra}
    if request.dimensions is not None:
        content["outputDimensionality"] = request.dimensions
    return content


def _counted(entries: Sequence[Any]) -> Usage | None:
    """What each prediction says about its own text."""
    total = 0
    for entry in entries:
        statistics = entry.get("statistics") if isinstance(entry, Mapping) else None
        count = statistics.get("token_count") if isinstance(statistics, Mapping) else None
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < 10**9:
            return None
        total += int(count)
    return Usage(input=total)
