"""The side of a user's class: loads it, calls it, and writes what it says in the OpenAI format.

Run as a worker module, or in threads of the host where the user has chosen so. docs/providers/custom.md says what such
a class looks like.
"""

import importlib
import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from core.llm.providers.custom.stop_text import StopText
from core.llm.providers.local_files import FileState, ModelFileError, opened
from core.llm.transport.worker_main import EngineError, Job, serve

_Choice = Callable[[str], dict[str, Any]]
_FINISH: Final = frozenset({"stop", "length", "content_filter"})


class OwnEngine:
    """Holds the object of the user's class."""

    methods = frozenset({"load", "chat", "complete", "embed", "count"})

    def __init__(self) -> None:
        self._model: Any = None

    def load(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Import the class, make one object of it, and let that load."""
        reference = params["class"]
        try:
            module, _, name = reference.partition(":")
            model = getattr(importlib.import_module(module), name)()
            with _unchanged(params):
                model.load(params["settings"])
        except ModelFileError as error:
            raise EngineError("server_error", str(error), code="load_failed") from None
        except Exception as error:  # noqa: BLE001 - a class of the user's may raise anything
            # For whoever wrote the class: it goes to what the worker has printed.
            traceback.print_exc()
            said = f"{type(error).__name__}: {str(error)[:500]}"
            raise EngineError("server_error", f"{reference} raised {said}", code="load_failed") from None
        if not callable(getattr(model, "generate", None)):
            raise EngineError("server_error", f"{reference} has no method `generate`", code="load_failed")
        self._model = model
        return {"embeds": hasattr(model, "embed"), "counts": hasattr(model, "count_tokens")}

    def unload(self) -> None:
        """Let the object give back what it holds; only called where no process ends."""
        model, self._model = self._model, None
        if hasattr(model, "unload"):
            model.unload()

    def chat(self, params: Mapping[str, Any], job: Job) -> None:
        """Answer a chat request as a stream: each item is one server-sent event."""
        body = json.loads(params["body"])
        body["messages"] = [_plain(message) for message in body["messages"]]
        self._generate(body, job, lambda text: {"delta": {"content": text}})

    def complete(self, params: Mapping[str, Any], job: Job) -> None:
        """Continue a finished prompt, as a stream in the same way."""
        self._generate(json.loads(params["body"]), job, lambda text: {"text": text})

    def embed(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Vectors for a list of texts, as an answer with status and body."""
        if not hasattr(self._model, "embed"):
            return _refusal("this class has no method `embed`")
        try:
            vectors = self._model.embed(list(json.loads(params["body"])["input"]))
        except ValueError as error:
            return _refusal(str(error))
        data = [
            {"index": index, "embedding": [float(value) for value in vector]} for index, vector in enumerate(vectors)
        ]
        return {"status": 200, "body": json.dumps({"data": data, "model": "", "object": "list"})}

    def count(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Tokens of a request's prompt, as an answer with status and body."""
        if not hasattr(self._model, "count_tokens"):
            return _refusal("this class has no method `count_tokens`")
        body = json.loads(params["body"])
        if "messages" in body:
            body["messages"] = [_plain(message) for message in body["messages"]]
        return {"status": 200, "body": json.dumps({"input_tokens": int(self._model.count_tokens(body))})}

    def _generate(self, body: dict[str, Any], job: Job, choice: _Choice) -> None:
        stops = body.get("stop") or []
        text = StopText([stops] if isinstance(stops, str) else stops)
        finish, usage = "stop", None
        try:
            pieces = iter(self._model.generate(body))
            try:
                for piece in pieces:
                    if isinstance(piece, Mapping):
                        finish, usage = _ending(piece, finish)
                        break
                    if job.cancelled or not self._say(job, choice, text.add(str(piece))) or text.ended:
                        break
            finally:
                # A generator of the user's may hold something that its own `finally` gives back.
                getattr(pieces, "close", _nothing)()
        except ValueError as error:
            raise EngineError("invalid_request", f"the model refuses: {str(error)[:500]}") from None
        if self._say(job, choice, text.end()):
            _emit(job, {"choices": [{"index": 0, **choice(""), "finish_reason": finish}]})
            if usage is not None:
                _emit(job, {"choices": [], "usage": usage})

    @staticmethod
    def _say(job: Job, choice: _Choice, text: str) -> bool:
        return not job.cancelled and (
            not text or _emit(job, {"choices": [{"index": 0, **choice(text), "finish_reason": None}]})
        )


@contextmanager
def _unchanged(params: Mapping[str, Any]) -> Iterator[None]:
    """The file is the one that the host has checked, before and after the user's class has read it."""
    state = params.get("state")
    _check(params["path"], state)
    yield
    _check(params["path"], state)


def _check(path: str, state: Any) -> None:
    if state is not None:
        with opened(Path(path), FileState.from_json(state)):
            """What lies there is what was checked."""


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """*message* with its text as one text where it has nothing else."""
    parts = message.get("content")
    if isinstance(parts, list) and all(part.get("type") == "text" for part in parts):
        return {**message, "content": "\n".join(part["text"] for part in parts)}
    return message


def _ending(piece: Mapping[str, Any], finish: str) -> tuple[str, dict[str, int] | None]:
    wanted = str(piece.get("finish_reason", finish))
    if wanted not in _FINISH:
        raise ValueError(f"finish_reason {wanted!r} is none of {', '.join(sorted(_FINISH))}")
    if "input_tokens" not in piece or "output_tokens" not in piece:
        return wanted, None
    given, made = int(piece["input_tokens"]), int(piece["output_tokens"])
    return wanted, {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _emit(job: Job, chunk: Mapping[str, Any]) -> bool:
    return job.emit(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n")


def _refusal(reason: str) -> Mapping[str, Any]:
    error = {"message": reason[:500], "type": "invalid_request_error", "code": 400}
    return {"status": 400, "body": json.dumps({"error": error})}


def _nothing() -> None:
    """Not a generator."""


if __name__ == "__main__":
    os.umask(0o077)
    serve(OwnEngine)
