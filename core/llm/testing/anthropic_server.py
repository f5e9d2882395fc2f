"""An Anthropic server for tests: the Messages API on 127.0.0.1, as strict as the vendor's, with scripted answers.

It refuses what the API refuses (unknown fields, turns that do not alternate, calls without results, budgets that are
too small, thinking that it has not signed), and answers what it is told to, or the user's words.

    async with AnthropicServer() as server:
        server.script(AnthropicAnswer("Hello there", thinking="A greeting."))
        config = AnthropicConfig(type="anthropic", base_url=server.url, api_key="sk-ant-test")

No model runs in it. `trust` lets it accept thinking that was signed elsewhere, such as in a recording.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from pydantic_core import from_json, to_json

from core.llm.data.facts import model_facts
from core.llm.testing.anthropic_content import BadRequest
from core.llm.testing.anthropic_rules import check_request
from core.llm.testing.anthropic_script import MODEL, AnthropicAnswer, error_body, frame, signature_of
from core.llm.testing.local_server import LocalServer, ServerCall

_REQUEST_ID: Final = "req_served"


@dataclass(slots=True)
class _Failure:
    status: int
    body: bytes
    headers: Mapping[str, str]


class AnthropicServer(LocalServer):
    """The server. `async with` starts it on a free port of 127.0.0.1 and stops it."""

    def __init__(self, *models: str, api_key: str | None = None) -> None:
        """With *models*, others get a 404; with *api_key*, requests without it get a 401."""
        super().__init__()
        self.models = list(models)
        self.api_key = api_key
        self.calls: list[ServerCall] = []
        self.page_size = 1000
        """Models per page of the list, at most."""
        self._trusted: set[str] = set()
        self._answers: deque[AnthropicAnswer] = deque()
        self._failures: deque[_Failure] = deque()

    def script(self, *answers: AnthropicAnswer) -> None:
        """What the next requests for messages get, in order; afterwards the user's words come back."""
        for answer in answers:
            self._answers.append(answer)
            if answer.thinking:
                self.trust(signature_of(answer.thinking))
            if answer.redacted:
                self.trust(answer.redacted)

    def trust(self, *signatures: str) -> None:
        """Accept thinking with these signatures, and redacted thinking with this data."""
        self._trusted.update(signatures)

    def fail(
        self, status: int, kind: str, message: str = "", *, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer the next *times* requests, of any kind, with an error."""
        body = to_json(error_body(kind, message or kind))
        self._failures.extend([_Failure(status, body, headers or {})] * times)

    def route(self, router: web.UrlDispatcher) -> None:
        """Messages, token counts and the model list."""
        router.add_post("/v1/messages", self._guarded(self._messages))
        router.add_post("/v1/messages/count_tokens", self._guarded(self._count))
        router.add_get("/v1/models", self._guarded(self._models))
        router.add_route("*", "/{tail:.*}", self._guarded(_missing))

    def _guarded(self, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = _decoded(await request.read()) if request.method == "POST" else None
                self.calls.append(ServerCall.of(request, body))
                self._check_access(request.headers)
                if self._failures:
                    failure = self._failures.popleft()
                    return web.Response(
                        status=failure.status,
                        body=failure.body,
                        content_type="application/json",
                        headers={"request-id": _REQUEST_ID, **failure.headers},
                    )
                answer: web.StreamResponse = await handler(request, body)
                return answer
            except BadRequest as refused:
                return web.json_response(
                    error_body(refused.kind, str(refused)), status=refused.status, headers={"request-id": _REQUEST_ID}
                )

        return handle

    def _check_access(self, headers: Mapping[str, str]) -> None:
        if "anthropic-version" not in headers:
            raise BadRequest("anthropic-version: header is required")
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not key or (self.api_key is not None and key != self.api_key):
            raise BadRequest("invalid x-api-key", 401, "authentication_error")

    def _check(self, body: dict[str, Any], *, counting: bool) -> None:
        model = body.get("model")
        if self.models and model not in self.models:
            raise BadRequest(f"model: {model}", 404, "not_found_error")
        check_request(body, model_facts("anthropic", str(model)), counting=counting)
        for index, message in enumerate(body["messages"]):
            for number, block in enumerate(message["content"] if isinstance(message["content"], list) else ()):
                kind = block["type"]
                if kind == "thinking" and block.get("signature") not in self._trusted:
                    raise BadRequest(f"messages.{index}.content.{number}: Invalid `signature` in `thinking` block")
                if kind == "thinking" and block["signature"].startswith("sig"):
                    if block["signature"] != signature_of(block["thinking"]):
                        raise BadRequest(f"messages.{index}.content.{number}: `thinking` blocks cannot be modified")
                elif kind == "redacted_thinking" and block.get("data") not in self._trusted:
                    raise BadRequest(f"messages.{index}.content.{number}: Invalid `data` in `redacted_thinking` block")

    async def _messages(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self._check(body, counting=False)
        answer = self._answers.popleft() if self._answers else AnthropicAnswer(_last_words(body))
        if body.get("stream"):
            return await _send(request, answer)
        return web.Response(body=answer.whole(), content_type="application/json", headers={"request-id": _REQUEST_ID})

    async def _count(self, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self._check(body, counting=True)
        return web.json_response({"input_tokens": len(to_json(body).split())})

    async def _models(self, request: web.Request, _body: None) -> web.StreamResponse:
        names = self.models or [MODEL]
        limit = min(int(request.query.get("limit", "20")), self.page_size)
        after = request.query.get("after_id")
        begin = names.index(after) + 1 if after in names else 0
        page = names[begin : begin + limit]
        data = [
            {"type": "model", "id": name, "display_name": name.title(), "created_at": "2026-01-01T00:00:00Z",
             "max_input_tokens": 200000, "max_tokens": 64000}
            for name in page
        ]  # fmt: skip
        ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
        return web.json_response({"data": data, "has_more": begin + limit < len(names), **ends})


async def _send(request: web.Request, answer: AnthropicAnswer) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream; charset=utf-8", "request-id": _REQUEST_ID}
    )
    await response.prepare(request)
    for one in answer.opening():
        await response.write(one)
    for number, one in enumerate(answer.text_frames()):
        if number == answer.cut_after:
            return response
        if number == answer.error_after:
            await response.write(_overloaded())
            return response
        await response.write(one)
    for one in answer.closing():
        await response.write(one)
    return response


def _overloaded() -> bytes:
    fields = error_body("overloaded_error", "Overloaded")
    return frame("error", error=fields["error"], request_id=fields["request_id"])


async def _missing(_request: web.Request, _body: Any) -> web.StreamResponse:
    raise BadRequest("Not Found", 404, "not_found_error")


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        value = from_json(data)
    except ValueError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("The request body is not a JSON object")
    return value


def _last_words(body: Mapping[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(block["text"] for block in content if block["type"] == "text") or "Done."
