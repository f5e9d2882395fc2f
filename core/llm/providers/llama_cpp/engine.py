"""The worker side: one GGUF model in llama.cpp, by `xllamacpp`. Run as a worker module, never imported by the host.

Requests and answers are JSON texts of the OpenAI format, as llama.cpp's own server speaks it.
"""

import http.client
import json
import math
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from core.llm.providers.llama_cpp.gguf import split_siblings
from core.llm.providers.local_files import FileState, ModelFileError, opened, path_of
from core.llm.transport.worker_main import EngineError, Job, serve

# xllamacpp always opens a listener. In the worker's own directory, which nobody else can enter, it is no TCP port; the
# random key keeps even other programs of the same user out.
_SOCKET: Final = "engine.sock"
_COUNT_TIMEOUT: Final = 60.0
_SAME: Final = 0.999
"""Cosine from which on two vectors of one text are the same."""


class LlamaEngine:
    """Holds the model of this process."""

    methods = frozenset({"load", "chat", "complete", "embed", "count"})

    def __init__(self) -> None:
        self._server: Any = None
        self._key = secrets.token_hex(16)
        self._batches_agree: bool | None = None
        self._probing = threading.Lock()

    def load(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Load the model file and return what became of its settings."""
        try:
            import xllamacpp  # noqa: PLC0415 - a hundred megabytes, needed in the worker only
        except ImportError as error:
            raise EngineError("server_error", f"xllamacpp cannot be imported: {error}", code="missing_extra") from None
        settings = _settings(xllamacpp, params, self._key)
        with ExitStack() as files:
            try:
                settings.model.path = _opened(files, params)
                settings.lora_adapters = [_adapter(xllamacpp, files, entry) for entry in params["lora"]]
                self._server = xllamacpp.Server(settings)
            except ModelFileError as error:
                raise EngineError("server_error", str(error), code="load_failed") from None
            except (RuntimeError, ValueError):
                # The reason is what llama.cpp has just printed; the host has it.
                raise EngineError("server_error", "llama.cpp refuses the file", code="load_failed") from None
        return {"engine": f"xllamacpp {xllamacpp.__version__}"}

    def chat(self, params: Mapping[str, Any], job: Job) -> None:
        """Answer a chat request as a stream: each item is one server-sent event."""
        self._stream(self._server.handle_chat_completions, params, job)

    def complete(self, params: Mapping[str, Any], job: Job) -> None:
        """Continue a finished prompt, as a stream in the same way."""
        self._stream(self._server.handle_completions, params, job)

    def _stream(self, handle: Callable[[Any, Any], Any], params: Mapping[str, Any], job: Job) -> None:
        body = json.loads(params["body"])

        def take(chunk: Any) -> bool:
            return not job.emit(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n")

        self._run(lambda: handle(body, take))

    def embed(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:
        """Vectors for a list of texts, as an answer with status and body."""
        body = json.loads(params["body"])
        texts = body["input"]
        if len(texts) > 1 and not self._may_batch():
            return self._one_by_one(body, texts, job)
        return _answer(self._run(lambda: self._server.handle_embeddings(body)))

    def count(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Tokens of a request's prompt, template and tools included, as an answer with status and body."""
        body = json.loads(params["body"])
        if "prompt" not in body:
            return self._ask("/v1/chat/completions/input_tokens", params["body"])
        text = {"content": body["prompt"], "add_special": True, "parse_special": True}
        answer = self._ask("/tokenize", json.dumps(text))
        if answer["status"] != 200:
            return answer
        return {"status": 200, "body": json.dumps({"input_tokens": len(json.loads(answer["body"])["tokens"])})}

    def _ask(self, path: str, body: str) -> Mapping[str, Any]:
        """What the engine's own listener answers, with status and body."""
        connection = _LocalConnection(_COUNT_TIMEOUT)
        try:
            headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
            connection.request("POST", path, body.encode(), headers)
            answer = connection.getresponse()
            return {"status": answer.status, "body": answer.read().decode()}
        finally:
            connection.close()

    def _run(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (ValueError, RuntimeError) as error:
            # llama.cpp refuses by an exception what is wrong with the request: a schema, a grammar, an image.
            raise EngineError("invalid_request", f"llama.cpp refuses the request: {str(error)[:500]}") from None

    def _may_batch(self) -> bool:
        """Whether several texts in one call get the vectors that each would get alone. Not so in every build."""
        with self._probing:
            if self._batches_agree is None:
                texts = ["one", "a second text that is longer than the first", "3"]
                together = self._vectors(texts)
                alone = [self._vectors([text])[0] for text in texts]
                self._batches_agree = all(_cosine(a, b) > _SAME for a, b in zip(together, alone, strict=True))
            return self._batches_agree

    def _vectors(self, texts: list[str]) -> list[list[float]]:
        answer = self._run(lambda: self._server.handle_embeddings({"input": texts}))
        return [entry["embedding"] or [] for entry in answer.get("data", [])] or [[] for _ in texts]

    def _one_by_one(self, body: Mapping[str, Any], texts: list[str], job: Job) -> Mapping[str, Any]:
        data, tokens, answer = [], 0, {}
        for index, text in enumerate(texts):
            if job.cancelled:
                return {"status": 499, "body": "{}"}
            answer = self._run(partial(self._server.handle_embeddings, {**body, "input": [text]}))
            if "error" in answer:
                return _answer(answer)
            data.append({**answer["data"][0], "index": index})
            tokens += answer["usage"]["prompt_tokens"]
        return _answer({**answer, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


class _LocalConnection(http.client.HTTPConnection):
    """To the listener of this very process."""

    def __init__(self, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(_SOCKET)


def _opened(files: ExitStack, entry: Mapping[str, Any]) -> str:
    """A path that means the very file the host has checked, whatever lies at its path by now."""
    path = Path(entry["path"])
    descriptor = files.enter_context(opened(path, FileState.from_json(entry["state"])))
    # llama.cpp finds the other parts of a split model by the name of the first.
    return str(path) if split_siblings(path) else path_of(descriptor, path)


def _adapter(library: Any, files: ExitStack, entry: Mapping[str, Any]) -> Any:
    adapter = library.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = _opened(files, entry), entry["scale"]
    return adapter


def _settings(library: Any, params: Mapping[str, Any], key: str) -> Any:
    settings = library.CommonParams()
    settings.model_alias = {params["name"]}
    slots, per_call = params["n_parallel"], params["n_ctx"]
    settings.n_parallel = slots
    # One pool of memory for all slots, or vectors of several texts in one call come out wrong; and no slot gets more
    # than its part, or two long calls would starve each other.
    settings.kv_unified, settings.kv_unified_per_slot = True, per_call
    settings.n_ctx = per_call * slots
    settings.n_batch = min(params["n_batch"], settings.n_ctx)
    if params["embeddings"]:
        settings.embedding = True
        settings.n_ubatch = settings.n_batch  # a text has to fit into one batch
        if not params["has_pooling"]:
            settings.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    threads = params["n_threads"]
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    if params["n_gpu_layers"] is not None:
        settings.n_gpu_layers = params["n_gpu_layers"]
    if params["chat_template"] is not None:
        settings.chat_template = params["chat_template"]
    if not params["mmap"]:
        settings.load_mode = library.llama_load_mode.LLAMA_LOAD_MODE_NONE
    settings.cache_ram_mib = params["prompt_cache"] // 2**20
    settings.hostnames, settings.api_keys, settings.cors_origins = [_SOCKET], [key], ""
    settings.n_threads_http = 1
    settings.endpoint_slots = settings.ui = settings.warmup = False
    settings.offline = True
    settings.verbosity = 1  # errors: why a file cannot be loaded
    for name, value in params["engine"].items():
        try:
            setattr(settings, name, value)
        except (AttributeError, TypeError, ValueError) as error:
            message = f"the engine parameter {name!r} cannot be set: {error}"
            raise EngineError("invalid_request", message, code="load_failed") from None
    return settings


def _answer(body: Mapping[str, Any]) -> Mapping[str, Any]:
    error = body.get("error")
    if error and "too large to process" in error.get("message", ""):
        # A text longer than a batch is reported as a failure of the server, which it is not.
        error = {**error, "code": 400, "type": "exceed_context_size_error"}
        body = {"error": error}
    status = error.get("code", 500) if error else 200
    return {"status": status if isinstance(status, int) else 500, "body": json.dumps(body)}


def _cosine(left: list[float], right: list[float]) -> float:
    lengths = math.sqrt(sum(value * value for value in left)) * math.sqrt(sum(value * value for value in right))
    if not lengths or len(left) != len(right):
        return 0.0
    return sum(a * b for a, b in zip(left, right, strict=True)) / lengths


if __name__ == "__main__":
    os.umask(0o077)
    serve(LlamaEngine)
