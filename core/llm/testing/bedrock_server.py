"""AWS Bedrock on a local port: checks signature, path and body of every request as the service does, then answers.

```python
async with BedrockServer() as server:
    server.will(BedrockAnswer(converse_answer("Hello")))
    ...
    assert server.requests[-1].body["messages"]
```
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from core.llm.common.clock import Clock, SystemClock
from core.llm.testing.bedrock_frames import EVENT_STREAM, bedrock_error, converse_answer, converse_stream
from core.llm.testing.bedrock_rules import Refused, check_converse, check_count
from core.llm.testing.bedrock_signature import Account, signature_problem
from core.llm.testing.local_server import LocalServer

_OPERATIONS = frozenset({"converse", "converse-stream", "invoke", "count-tokens"})


@dataclass(frozen=True, slots=True)
class BedrockAnswer:
    """One answer: a body, the frames of a stream, or both: then a stream is answered with the frames."""

    body: bytes = b""
    frames: Sequence[bytes] | None = None
    status: int = 200
    error: str | None = None
    """Name of the exception, for the header `x-amzn-errortype`."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BedrockRequest:
    """One request as it arrived."""

    model: str
    """As the service reads it: decoded."""
    operation: str
    raw_path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Any


class BedrockServer(LocalServer):
    """Answers from a queue, then with the same short text for ever; refuses what the service would refuse."""

    def __init__(
        self,
        account: Account | None = None,
        *,
        api_key: str | None = None,
        models: Sequence[Mapping[str, Any]] = (),
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.account = account or Account()
        self.api_key = api_key
        """Accepted as bearer token instead of a signature."""
        self.models = list(models)
        self.clock = clock or SystemClock()
        self.requests: list[BedrockRequest] = []
        self.refusals: list[str] = []
        """Why requests were refused, in order."""
        self._queue: deque[BedrockAnswer] = deque()

    def will(self, *answers: BedrockAnswer) -> None:
        """Give these answers to the next requests that are not refused."""
        self._queue.extend(answers)

    def route(self, router: web.UrlDispatcher) -> None:
        """One handler for all addresses: names of models are read from the raw path."""
        router.add_route("*", "/{tail:.*}", self._handle)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        problem = self._credential_problem(request, headers, body)
        if problem is not None:
            return self._refuse(403, *problem)
        if request.method == "GET" and request.path == "/foundation-models":
            return self._respond(json.dumps({"modelSummaries": self.models}).encode())
        return await self._operation(request, headers, body)

    def _credential_problem(
        self, request: web.BaseRequest, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, str] | None:
        token = headers.get("authorization", "")
        if token.startswith("Bearer "):
            if token != f"Bearer {self.api_key}":
                return "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid."
            return None
        raw_path, _, query = request.raw_path.partition("?")
        return signature_problem(self.account, request.method, raw_path, query, headers, body, self.clock.now())

    async def _operation(self, request: web.BaseRequest, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
        steps = request.raw_path.split("/")
        if request.method != "POST" or len(steps) != 4 or steps[1] != "model" or steps[3] not in _OPERATIONS:
            return self._refuse(404, "UnknownOperationException", f"no operation at {request.raw_path}")
        operation = steps[3]
        try:
            value = json.loads(body)
            if operation == "count-tokens":
                check_count(value)
            elif operation != "invoke":
                check_converse(value, stream=operation == "converse-stream")
        except (ValueError, Refused) as error:
            return self._refuse(400, "ValidationException", str(error))
        self.requests.append(BedrockRequest(unquote(steps[2]), operation, request.raw_path, headers, value))
        answer = self._queue.popleft() if self._queue else self._default(operation)
        if answer.frames is None or (answer.body and operation != "converse-stream"):
            return self._respond(answer.body, answer.status, answer.error, answer.headers)
        return await self._stream(request, answer)

    @staticmethod
    def _default(operation: str) -> BedrockAnswer:
        if operation == "converse-stream":
            return BedrockAnswer(frames=converse_stream("Hello"))
        if operation == "count-tokens":
            return BedrockAnswer(b'{"inputTokens": 7}')
        if operation == "invoke":
            return BedrockAnswer(b'{"embedding": [0.25, 0.5], "inputTextTokenCount": 3}')
        return BedrockAnswer(converse_answer("Hello"))

    def _refuse(self, status: int, name: str, message: str) -> web.Response:
        self.refusals.append(f"{name}: {message}")
        return self._respond(bedrock_error(message), status, name)

    def _respond(
        self, body: bytes, status: int = 200, error: str | None = None, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        fields = {**self._headers(), **(headers or {})}
        if error is not None:
            fields["x-amzn-errortype"] = f"{error}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        return web.Response(status=status, body=body, content_type="application/json", headers=fields)

    def _headers(self) -> dict[str, str]:
        return {
            "Date": format_datetime(self.clock.now(), usegmt=True),
            "x-amzn-requestid": f"00000000-0000-0000-0000-{len(self.requests):012d}",
        }

    async def _stream(self, request: web.BaseRequest, answer: BedrockAnswer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, **self._headers(), **answer.headers})
        await response.prepare(request)
        for frame in answer.frames or ():
            await response.write(frame)
        await response.write_eof()
        return response
