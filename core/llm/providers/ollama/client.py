"""A typed client of Ollama's whole API: one method for each endpoint.

The client holds no connection. It asks its binding for the transport of the moment, so an injected client follows
every reload of the configuration; a stream that is running stays on the transport it began with.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport
from core.llm.providers.ollama.errors import error_from
from core.llm.providers.ollama.lines import JsonLines, truncated
from core.llm.providers.ollama.models.catalogue import (
    PsResponse,
    ShowResponse,
    StatusResponse,
    TagsResponse,
    TransferProgress,
    VersionResponse,
)
from core.llm.providers.ollama.models.reading import Reply
from core.llm.providers.ollama.models.requests import (
    ChatRequest,
    CopyRequest,
    CreateRequest,
    DeleteRequest,
    EmbeddingsRequest,
    EmbedRequest,
    GenerateRequest,
    OllamaModel,
    PullRequest,
    PushRequest,
    ShowRequest,
)
from core.llm.providers.ollama.models.responses import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
)
from core.llm.providers.ollama.wire import JSON_HEADERS

_R = TypeVar("_R", bound=Reply)
_Answer = TypeVar("_Answer", ChatResponse, GenerateResponse)

_DIGEST: Final = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_PIECE: Final = 2**20

QUICK: Final = 30.0
"""Seconds for questions that the server answers at once."""
PATIENT: Final = PhaseLimits(connect=10.0, first_token=None, idle=300.0, progress=None)
"""For work of unknown length: loading and running a model, moving a file. Silence of five minutes ends it."""


class OllamaClient:
    """Ollama's API. Every method raises `ProviderError`: classified, free of secrets.

    Bound the time of a call from outside (`async with asyncio.timeout(30)`); leaving a stream early (`aclose`, or the
    end of its task) cuts its connection, and Ollama stops generating.
    """

    def __init__(
        self,
        binding: Callable[[], Transport],
        *,
        clock: Clock | None = None,
        limits: PhaseLimits = PATIENT,
        quick: float = QUICK,
    ) -> None:
        """`binding` returns the current transport; `limits` hold for slow endpoints, `quick` seconds for others."""
        self._binding = binding
        self._clock = clock or SystemClock()
        self._limits = limits
        self._quick_s = quick

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """`POST /api/chat`, the answer in one piece."""
        return _complete(await self._post("/api/chat", request.streamed(stream=False), ChatResponse))

    def chat_stream(self, request: ChatRequest) -> AsyncIterator[ChatResponse]:
        """`POST /api/chat`, line by line; the last one has `done`. A stream that ends without it raises."""
        return self._stream("/api/chat", request.streamed(stream=True), ChatResponse, _is_done)

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """`POST /api/generate`, the answer in one piece."""
        return _complete(await self._post("/api/generate", request.streamed(stream=False), GenerateResponse))

    def generate_stream(self, request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        """`POST /api/generate`, line by line; the last one has `done`. A stream that ends without it raises."""
        return self._stream("/api/generate", request.streamed(stream=True), GenerateResponse, _is_done)

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """`POST /api/embed`: vectors of length one."""
        return await self._post("/api/embed", request, EmbedResponse)

    async def embeddings(self, request: EmbeddingsRequest) -> EmbeddingsResponse:
        """`POST /api/embeddings`: the older endpoint. Its numbers differ from `embed`'s; do not mix the two."""
        return await self._post("/api/embeddings", request, EmbeddingsResponse)

    async def tags(self) -> TagsResponse:
        """`GET /api/tags`: the installed models."""
        return await self._get("/api/tags", TagsResponse)

    async def ps(self) -> PsResponse:
        """`GET /api/ps`: the models in memory."""
        return await self._get("/api/ps", PsResponse)

    async def show(self, request: ShowRequest) -> ShowResponse:
        """`POST /api/show`: everything about one model."""
        return await self._post("/api/show", request, ShowResponse, self._quick())

    def pull(self, request: PullRequest) -> AsyncIterator[TransferProgress]:
        """`POST /api/pull`: progress until `success`. Cancelling stops it; the next pull continues where it was."""
        return self._transfer("/api/pull", request)

    def push(self, request: PushRequest) -> AsyncIterator[TransferProgress]:
        """`POST /api/push`: progress until `success`."""
        return self._transfer("/api/push", request)

    def create(self, request: CreateRequest) -> AsyncIterator[TransferProgress]:
        """`POST /api/create`: progress until `success`."""
        return self._transfer("/api/create", request)

    async def copy(self, request: CopyRequest) -> None:
        """`POST /api/copy`."""
        await self._send("POST", "/api/copy", request.to_json())

    async def delete(self, request: DeleteRequest) -> None:
        """`DELETE /api/delete`."""
        await self._send("DELETE", "/api/delete", request.to_json())

    async def blob_exists(self, digest: str) -> bool:
        """`HEAD /api/blobs/{digest}`: whether the server has that file."""
        call = HttpCall("HEAD", f"/api/blobs/{_checked_digest(digest)}", idempotent=True)
        reply = await self._binding().send(call, self._quick())
        try:
            if reply.status == 404:
                return False
            if reply.status >= 300:
                raise error_from(reply.status, reply.headers, b"")
        finally:
            reply.close()
        return True

    async def upload_blob(self, path: str | Path, digest: str | None = None) -> str:
        """`POST /api/blobs/{digest}`: upload a file unless the server has it; returns its digest.

        The digest is computed first when it is not given. The file is read in pieces off the event loop, never whole.
        """
        file = Path(path)
        found = digest if digest is not None else await asyncio.to_thread(_digest_of, file)
        if await self.blob_exists(found):
            return found
        call = HttpCall(
            "POST",
            f"/api/blobs/{_checked_digest(found)}",
            _pieces(file),
            {"content-type": "application/octet-stream"},
        )
        reply = await self._binding().send(call, self._limits)
        await _checked_body(reply)
        return found

    async def version(self) -> VersionResponse:
        """`GET /api/version`."""
        return await self._get("/api/version", VersionResponse)

    async def status(self) -> StatusResponse:
        """`GET /api/status`: settings of recent servers; older ones answer with an error of code `not_found`."""
        return await self._get("/api/status", StatusResponse)

    def _quick(self) -> PhaseLimits:
        return PhaseLimits(connect=self._limits.connect, deadline_at=self._clock.monotonic() + self._quick_s)

    async def _get(self, path: str, kind: type[_R]) -> _R:
        reply = await self._binding().send(HttpCall("GET", path, idempotent=True), self._quick())
        return kind.from_json(await _checked_body(reply))

    async def _post(self, path: str, request: OllamaModel, kind: type[_R], limits: PhaseLimits | None = None) -> _R:
        return kind.from_json(await self._send("POST", path, request.to_json(), limits or self._limits))

    async def _send(self, method: str, path: str, body: bytes, limits: PhaseLimits | None = None) -> bytes:
        reply = await self._binding().send(HttpCall(method, path, body, JSON_HEADERS), limits or self._quick())
        return await _checked_body(reply)

    def _transfer(
        self, path: str, request: PullRequest | PushRequest | CreateRequest
    ) -> AsyncIterator[TransferProgress]:
        return self._stream(path, request.streamed(stream=True), TransferProgress, lambda line: line.succeeded)

    async def _stream(
        self, path: str, request: OllamaModel, kind: type[_R], is_last: Callable[[_R], bool]
    ) -> AsyncIterator[_R]:
        call = HttpCall("POST", path, request.to_json(), JSON_HEADERS, streaming=True)
        reply = await self._binding().send(call, self._limits)
        try:
            if reply.status >= 300:
                raise error_from(reply.status, reply.headers, await reply.read())
            lines = JsonLines(reply.headers)
            async for data in reply.chunks():
                reply.output_seen()
                for source in lines.feed(data):
                    line = kind.from_object(source)
                    yield line
                    if is_last(line):
                        return
            for source in lines.end():
                line = kind.from_object(source)
                yield line
                if is_last(line):
                    return
        finally:
            reply.close()
        raise truncated()


async def _checked_body(reply: HttpReply) -> bytes:
    try:
        body = await reply.read()
    finally:
        reply.close()
    if reply.status >= 300:
        raise error_from(reply.status, reply.headers, body)
    return body


def _is_done(line: ChatResponse | GenerateResponse) -> bool:
    return line.done


def _complete(response: _Answer) -> _Answer:
    if not response.done:
        raise truncated()
    return response


def _checked_digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ProviderError("invalid_request", "a digest is `sha256:` and 64 hexadecimal digits", code="invalid_digest")
    return digest


def _digest_of(file: Path) -> str:
    with file.open("rb") as source:
        return f"sha256:{hashlib.file_digest(source, 'sha256').hexdigest()}"


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    opening = asyncio.create_task(asyncio.to_thread(file.open, "rb"))
    try:
        source = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread goes on: what it opens is closed when it is there.
        opening.add_done_callback(_close)
        raise
    try:
        while data := await asyncio.to_thread(source.read, _PIECE):
            yield data
    finally:
        source.close()


def _close(opened: "asyncio.Task[BinaryIO]") -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
