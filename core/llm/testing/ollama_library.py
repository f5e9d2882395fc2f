"""The endpoints of a scripted Ollama server that manage models: list, show, pull, push, create, copy, delete, blobs."""

import hashlib
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from aiohttp import web
from pydantic_core import to_json

from core.llm.testing.ollama_script import OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_store import OllamaStore, full_name
from core.llm.testing.ollama_types import BadRequest

_NAME: Final = re.compile(r"[A-Za-z0-9._/-]+(:[A-Za-z0-9._-]+)?")
_DIGEST: Final = re.compile(r"sha256[:-][0-9a-fA-F]{64}")

Body = dict[str, Any]


class Library:
    """The models of one server and of the registry it pulls from."""

    def __init__(self, store: OllamaStore) -> None:
        self._store = store
        self._published: dict[str, OllamaDownload] = {}
        self.pulls_cut = 0
        """Pulls that a client left before they had ended."""

    def publish(self, *downloads: OllamaDownload | str) -> None:
        """Make models available to `pull`."""
        for item in downloads:
            download = OllamaDownload(OllamaModelSpec(item)) if isinstance(item, str) else item
            self._published[full_name(download.model.name)] = download

    async def tags(self, _request: web.Request, _body: Body) -> web.StreamResponse:
        """`GET /api/tags`."""
        newest = sorted(self._store.installed, key=lambda name: self._store.modified[name], reverse=True)
        return web.json_response({"models": [self._entry(self._store.installed[name]) for name in newest]})

    async def ps(self, _request: web.Request, _body: Body) -> web.StreamResponse:
        """`GET /api/ps`."""
        models = [
            {
                "name": spec.name,
                "model": spec.name,
                "size": spec.size,
                "digest": spec.digest,
                "details": _details(spec),
                "expires_at": _stamp(expires),
                "size_vram": 0,
                "context_length": context,
            }
            for spec, expires, context in self._store.resident()
        ]
        return web.json_response({"models": models})

    async def show(self, _request: web.Request, body: Body) -> web.StreamResponse:
        """`POST /api/show`."""
        spec = self._store.find(_named(body))
        parameters = "\n".join(f"{name:<30} {value}" for name, value in spec.parameters.items())
        answer: Body = {
            "license": "MIT",
            "modelfile": f"FROM {spec.name}",
            "parameters": parameters,
            "template": "{{ .Prompt }}",
            "details": _details(spec),
            "model_info": {
                "general.architecture": spec.family,
                "general.parameter_count": spec.size,
                f"{spec.family}.context_length": spec.context_length,
                f"{spec.family}.embedding_length": spec.dimensions,
            },
            "capabilities": list(spec.capabilities),
            "modified_at": _stamp(self._store.modified[spec.name]),
        }
        return web.json_response(answer)

    async def pull(self, request: web.Request, body: Body) -> web.StreamResponse:
        """`POST /api/pull`."""
        name = _checked(_named(body))
        return await _progress(request, body, self._pulling(full_name(name)))

    async def push(self, request: web.Request, body: Body) -> web.StreamResponse:
        """`POST /api/push`."""
        return await _progress(request, body, self._pushing(_named(body)))

    async def create(self, request: web.Request, body: Body) -> web.StreamResponse:
        """`POST /api/create`."""
        _checked(body.get("model") or "")
        if not body.get("from") and not body.get("files"):
            raise BadRequest("neither 'from' or 'files' was specified")
        return await _progress(request, body, self._creating(body))

    async def copy(self, _request: web.Request, body: Body) -> web.StreamResponse:
        """`POST /api/copy`."""
        source, destination = body.get("source") or "", body.get("destination") or ""
        for word, name in (("source", source), ("destination", destination)):
            if not _NAME.fullmatch(name):
                raise BadRequest(f'{word} "{name}" is invalid')
        if full_name(source) not in self._store.installed:
            raise BadRequest(f'model "{source}" not found', 404)
        self._store.add([_like(self._store.find(source), destination)])
        return web.Response(status=200)

    async def delete(self, _request: web.Request, body: Body) -> web.StreamResponse:
        """`DELETE /api/delete`."""
        self._store.remove(_named(body))
        return web.Response(status=200)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/blobs/{digest}`: reads the body as it comes and compares its digest."""
        digest = request.match_info["digest"]
        if not _DIGEST.fullmatch(digest):
            raise BadRequest("invalid digest format")
        if digest in self._store.blobs:
            return web.Response(status=200)
        found, size = hashlib.sha256(), 0
        async for data in request.content.iter_chunked(2**16):
            found.update(data)
            size += len(data)
        actual = f"sha256:{found.hexdigest()}"
        if actual != digest:
            raise BadRequest(f'digest mismatch, expected "{digest}", got "{actual}"')
        self._store.blobs[digest] = size
        return web.Response(status=201)

    async def _pulling(self, name: str) -> AsyncIterator[Body]:
        yield {"status": "pulling manifest"}
        download = self._published.get(name)
        if download is None:
            yield {"error": "pull model manifest: file does not exist"}
            return
        layers = download.digests()
        finished = False
        try:
            for number, (digest, size) in enumerate(layers):
                last = number == len(layers) - 1
                async for line in _layer(download, digest, size, first=number == 0, last=last):
                    yield line
                    if "error" in line:
                        return
                if last and download.cut:
                    download.cut = False
                    return
            finished = True
        finally:
            self.pulls_cut += not finished
        for status in ("writing manifest",) if download.unverified else ("verifying sha256 digest", "writing manifest"):
            yield {"status": status}
        self._store.add([download.model])
        yield {"status": "success"}

    async def _pushing(self, name: str) -> AsyncIterator[Body]:
        yield {"status": "retrieving manifest"}
        spec = self._store.installed.get(full_name(name))
        if spec is None:
            yield {"error": f"model '{name}' not found"}
            return
        digest = f"sha256:{spec.digest}"
        for done in (spec.size // 2, spec.size):
            yield {"status": f"pushing {digest[7:19]}", "digest": digest, "total": spec.size, "completed": done}
        yield {"status": "pushing manifest"}
        yield {"status": "success"}

    async def _creating(self, body: Body) -> AsyncIterator[Body]:
        spec = OllamaModelSpec(body["model"], parameters=dict(body.get("parameters") or {}))
        base = body.get("from")
        if base:
            if full_name(base) not in self._store.installed:
                yield {"error": "pull model manifest: file does not exist"}
                return
            source = self._store.find(base)
            spec = _like(source, body["model"])
            spec.parameters = {**source.parameters, **(body.get("parameters") or {})}
            yield {"status": f"using existing layer sha256:{source.digest}"}
        for digest in (body.get("files") or {}).values():
            if digest not in self._store.blobs:
                yield {"error": f"blob {digest} not found"}
                return
            yield {"status": f"parsing GGUF {digest[7:19]}"}
            spec.size = self._store.blobs[digest]
        yield {"status": "writing manifest"}
        self._store.add([spec])
        yield {"status": "success"}

    def _entry(self, spec: OllamaModelSpec) -> Body:
        entry: Body = {
            "name": spec.name,
            "model": spec.name,
            "modified_at": _stamp(self._store.modified[spec.name]),
            "size": spec.size,
            "digest": spec.digest,
            "details": _details(spec),
        }
        if spec.remote_host:
            entry.update(remote_host=spec.remote_host, remote_model=spec.name.split(":")[0])
        return entry


async def _layer(download: OllamaDownload, digest: str, size: int, *, first: bool, last: bool) -> AsyncIterator[Body]:
    line: Body = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size}
    step = max(size // download.steps, 1)
    done = download.done.get(digest, 0)
    while True:
        download.done[digest] = done
        yield {**line, "completed": done} if done else dict(line)
        if done >= size:
            return
        if last and done >= size // 2:
            if download.error is not None:
                error, download.error = download.error, None
                yield {"error": error}
                return
            if download.cut:
                return
        if first and download.hold is not None and done >= size // 2:
            await download.hold.wait()
        done = min(done + step, size)


async def _progress(request: web.Request, body: Body, lines: AsyncIterator[Body]) -> web.StreamResponse:
    if body.get("stream") is False:
        async for line in lines:
            if "error" in line:
                raise BadRequest(line["error"], 500)
            if line.get("status") == "success":
                return web.json_response(line)
        raise BadRequest("unexpected end of progress response", 500)
    response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
    await response.prepare(request)
    async for line in lines:
        await response.write(to_json(line) + b"\n")
    await response.write_eof()
    return response


def _named(body: Body) -> str:
    name = body.get("model") or body.get("name")
    if not name:
        raise BadRequest("model is required")
    return str(name)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadRequest("invalid model name")
    return name


def _like(spec: OllamaModelSpec, name: str) -> OllamaModelSpec:
    return OllamaModelSpec(
        name, spec.capabilities, spec.context_length, spec.size, spec.dimensions, spec.family, dict(spec.parameters)
    )


def _details(spec: OllamaModelSpec) -> Body:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": spec.family,
        "families": [spec.family],
        "parameter_size": f"{spec.size / 1e6:.1f}M",
        "quantization_level": "Q4_0",
    }


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
