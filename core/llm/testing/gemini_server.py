"""A Gemini server for tests: it refuses what Google refuses, and answers in Google's shapes.

Both APIs are there: `/v1`, `/v1beta` with a key in the header, and Vertex AI's `/v1`, `/v1beta1` with a bearer token.
Every request is checked field by field, history and signatures included; a key in the address is refused.

```python
async with GeminiServer(api_key="k") as server:
    server.will_answer(GeminiAnswer("Hello"))
    ...                                        # base_url: server.url
    assert server.calls[0].body["contents"]
```
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from core.llm.testing import gemini_shapes as shapes
from core.llm.testing.gemini_shapes import SKIP_SIGNATURES, BadRequest
from core.llm.testing.local_server import LocalServer, ServerCall

_METHODS = {
    "generateContent": shapes.GENERATE,
    "streamGenerateContent": shapes.GENERATE,
    "countTokens": shapes.COUNT,
    "batchEmbedContents": shapes.BATCH_EMBED,
    "embedContent": shapes.EMBED,
    "predict": shapes.PREDICT,
}


@dataclass(frozen=True, slots=True)
class GeminiModelSpec:
    """One model that the server has."""

    name: str = "gemini-test"
    signatures: bool = False
    """Calls in the history need a thought signature."""
    tools_with_schema: bool = True
    embeds: bool = False
    dimensions: int = 8
    input_tokens: int = 1_048_576
    output_tokens: int = 65_536


@dataclass(frozen=True, slots=True)
class GeminiAnswer:
    """One answer: text, or parts in the wire's own shape."""

    text: str = ""
    parts: Sequence[Mapping[str, Any]] = ()
    finish: str | None = "STOP"
    usage: Mapping[str, Any] = field(
        default_factory=lambda: {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    )
    block_reason: str | None = None
    """The prompt is blocked: there are no candidates."""

    def chunks(self, model: str) -> list[dict[str, Any]]:
        """The chunks of a stream: one for each part, the finish and the usage in the last."""
        head = {"modelVersion": model, "responseId": "response-1"}
        if self.block_reason is not None:
            return [{**head, "promptFeedback": {"blockReason": self.block_reason}, "usageMetadata": dict(self.usage)}]
        parts = [*self.parts, *({"text": word} for word in _words(self.text))] or [{"text": ""}]
        chunks: list[dict[str, Any]] = [
            {**head, "candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]} for part in parts
        ]
        if self.finish is not None:
            chunks[-1]["candidates"][0]["finishReason"] = self.finish
        chunks[-1]["usageMetadata"] = dict(self.usage)
        return chunks

    def whole(self, model: str) -> dict[str, Any]:
        """The answer in one piece."""
        if self.block_reason is not None:
            return self.chunks(model)[0]
        parts = [*self.parts, *([{"text": self.text}] if self.text else [])]
        candidate = {"content": {"role": "model", "parts": parts} if parts else {}, "index": 0}
        if self.finish is not None:
            candidate["finishReason"] = self.finish
        head = {"modelVersion": model, "responseId": "response-1"}
        return {**head, "candidates": [candidate], "usageMetadata": dict(self.usage)}


@dataclass(frozen=True, slots=True)
class GeminiFailure:
    """One refusal, in Google's error object."""

    status: int
    message: str
    word: str = "INVALID_ARGUMENT"
    details: Sequence[Mapping[str, Any]] = ()


class GeminiServer(LocalServer):
    """Answers from a queue, else with a text; see the module's description."""

    def __init__(
        self,
        *models: GeminiModelSpec,
        api_key: str | None = None,
        token: str | None = None,
        check_signatures: bool = True,
    ) -> None:
        super().__init__()
        self.models = {model.name: model for model in models or (GeminiModelSpec(),)}
        self.api_key = api_key
        self.token = token
        """The bearer token that Vertex AI's addresses ask for; may be changed at any time, as if it were revoked."""
        self.check_signatures = check_signatures
        self.calls: list[ServerCall] = []
        self._answers: deque[GeminiAnswer | GeminiFailure] = deque()
        self._issued: set[str] = set(SKIP_SIGNATURES)

    def will_answer(self, *answers: GeminiAnswer) -> None:
        """Answer the next requests for an answer, in order. Signatures in them count as issued by this server."""
        for answer in answers:
            self._issued.update(part["thoughtSignature"] for part in answer.parts if "thoughtSignature" in part)
        self._answers.extend(answers)

    def will_fail(self, *failures: GeminiFailure) -> None:
        """Refuse the next requests for an answer."""
        self._answers.extend(failures)

    def route(self, router: web.UrlDispatcher) -> None:
        """One handler for the addresses of both APIs."""
        router.add_route("*", "/{tail:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            data = await request.read()
            try:
                body = json.loads(data) if data else None
            except ValueError:
                raise BadRequest("Invalid JSON payload received. Unexpected token.") from None
            self.calls.append(ServerCall.of(request, body))
            return await self._answer(request, body)
        except BadRequest as refused:
            failure = GeminiFailure(refused.status, str(refused), refused.word, refused.details)
            return _refusal(failure)

    async def _answer(self, request: web.Request, body: Any) -> web.StreamResponse:
        steps = request.path.strip("/").split("/")
        version, rest = steps[0], steps[1:]
        is_vertex = bool(rest) and rest[0] in {"projects", "publishers"}
        if version not in ({"v1", "v1beta1"} if is_vertex else {"v1", "v1beta"}):
            raise BadRequest("Not Found", 404, "NOT_FOUND")
        self._check_access(request, is_vertex=is_vertex)
        if request.method == "GET":
            return self._list(is_vertex=is_vertex)
        name, _, method = rest[-1].partition(":")
        if request.method != "POST" or method not in _METHODS or "models" not in rest:
            raise BadRequest("Not Found", 404, "NOT_FOUND")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise BadRequest("Invalid content type: application/json is wanted", 415)
        spec = self.models.get(name)
        if spec is None:
            text = f"models/{name} is not found for API version {version}, or is not supported for {method}."
            raise BadRequest(text, 404, "NOT_FOUND")
        asked = shapes.checked({} if body is None else body, _METHODS[method])
        if method in {"generateContent", "streamGenerateContent"}:
            return await self._generate(request, spec, asked, stream=method != "generateContent")
        if method == "countTokens":
            return self._count(spec, asked, is_vertex=is_vertex)
        return self._embed(spec, asked, method, is_vertex=is_vertex)

    def _check_access(self, request: web.Request, *, is_vertex: bool) -> None:
        if "key" in request.query or "access_token" in request.query:
            raise BadRequest("this server takes no credentials in the address: they end up in logs")
        if is_vertex and self.token is not None:
            if request.headers.get("authorization") != f"Bearer {self.token}":
                text = "Request had invalid authentication credentials. Expected OAuth 2 access token."
                raise BadRequest(text, 401, "UNAUTHENTICATED")
        elif self.api_key is not None and request.headers.get("x-goog-api-key") != self.api_key:
            if "x-goog-api-key" not in request.headers:
                text = "Method doesn't allow unregistered callers (callers without established identity)."
                raise BadRequest(text, 403, "PERMISSION_DENIED")
            reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            raise BadRequest("API key not valid. Please pass a valid API key.", details=[reason])

    async def _generate(
        self, request: web.Request, spec: GeminiModelSpec, asked: Mapping[str, Any], *, stream: bool
    ) -> web.StreamResponse:
        shapes.check_generate(asked, demands_signatures=spec.signatures, tools_with_schema=spec.tools_with_schema)
        if self.check_signatures:
            self._check_signatures(asked["contents"])
        answer = self._answers.popleft() if self._answers else GeminiAnswer("OK")
        if isinstance(answer, GeminiFailure):
            return _refusal(answer)
        if not stream:
            return web.json_response(answer.whole(spec.name))
        if request.query.get("alt") != "sse":
            return web.json_response(answer.chunks(spec.name))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in answer.chunks(spec.name):
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    def _check_signatures(self, contents: Sequence[Mapping[str, Any]]) -> None:
        for content in contents:
            for part in content["parts"]:
                if part.get("thoughtSignature", next(iter(SKIP_SIGNATURES))) not in self._issued:
                    raise BadRequest("Corrupted thought signature.")

    def _count(self, spec: GeminiModelSpec, asked: Mapping[str, Any], *, is_vertex: bool) -> web.StreamResponse:
        whole = asked.get("generateContentRequest")
        if is_vertex and whole is not None:
            raise BadRequest('Invalid JSON payload received. Unknown name "generateContentRequest": Cannot find field.')
        if not is_vertex and asked.keys() - {"contents", "generateContentRequest"}:
            raise BadRequest('Invalid JSON payload received. Unknown name "systemInstruction": Cannot find field.')
        if whole is not None and whole.get("model") != f"models/{spec.name}":
            raise BadRequest("* CountTokensRequest.generate_content_request.model: model must be the one of the path")
        inner = whole or asked
        if not inner.get("contents"):
            raise BadRequest("* contents is not specified")
        return web.json_response({"totalTokens": len(json.dumps(inner).split())})

    def _embed(
        self, spec: GeminiModelSpec, asked: Mapping[str, Any], method: str, *, is_vertex: bool
    ) -> web.StreamResponse:
        if (method == "batchEmbedContents") is is_vertex or not spec.embeds:
            raise BadRequest(f"models/{spec.name} is not supported for {method}.", 404, "NOT_FOUND")
        if method == "predict":
            size = asked.get("parameters", {}).get("outputDimensionality") or spec.dimensions
            vectors = [_vector(one["content"], size) for one in asked["instances"]]
            counted = {"token_count": 3, "truncated": False}
            predictions = [{"embeddings": {"values": vector, "statistics": counted}} for vector in vectors]
            return web.json_response({"predictions": predictions})
        requests = asked.get("requests", [asked])
        if len(requests) > 100:
            raise BadRequest("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch")
        made = []
        for one in requests:
            if method == "batchEmbedContents" and one.get("model") != f"models/{spec.name}":
                raise BadRequest("* BatchEmbedContentsRequest.requests[0].model: unexpected model name format")
            text = "".join(part.get("text", "") for part in one["content"]["parts"])
            made.append({"values": _vector(text, one.get("outputDimensionality") or spec.dimensions)})
        usage = {"usageMetadata": {"promptTokenCount": 3 * len(made), "totalTokenCount": 3 * len(made)}}
        found = {"embedding": made[0]} if is_vertex else {"embeddings": made}
        return web.json_response({**found, **usage})

    def _list(self, *, is_vertex: bool) -> web.StreamResponse:
        if is_vertex:
            entries = [{"name": f"publishers/google/models/{name}", "versionId": "default"} for name in self.models]
            return web.json_response({"publisherModels": entries})
        listed = [
            {
                "name": f"models/{spec.name}",
                "displayName": spec.name.title(),
                "inputTokenLimit": spec.input_tokens,
                "outputTokenLimit": spec.output_tokens,
                "supportedGenerationMethods": ["embedContent"] if spec.embeds else ["generateContent", "countTokens"],
            }
            for spec in self.models.values()
        ]
        return web.json_response({"models": listed})


def _refusal(failure: GeminiFailure) -> web.StreamResponse:
    error: dict[str, Any] = {"code": failure.status, "message": failure.message, "status": failure.word}
    if failure.details:
        error["details"] = list(failure.details)
    return web.json_response({"error": error}, status=failure.status)


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:] if text else []


def _vector(text: str, size: int) -> list[float]:
    return [((len(text) + number) % 17) / 17 + 0.01 for number in range(size)]
