"""The worker side: one model in torch, by transformers. Run as a worker module, never imported by the host.

Requests and answers are JSON texts of the OpenAI format, as for every local model.
"""

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from core.llm.transport.worker_main import EngineError, Job, serve

if TYPE_CHECKING:
    from core.llm.providers.transformers.batching import Batcher
    from core.llm.providers.transformers.constraint import Constraints
    from core.llm.providers.transformers.loader import Loaded
    from core.llm.providers.transformers.row import Row

_NO_WINDOW: Final = 4096
"""Tokens of an answer where neither the request nor the model bounds it."""


class TransformersEngine:
    """Holds the model of this process."""

    methods = frozenset({"load", "chat", "complete", "embed", "count", "memory"})

    def __init__(self) -> None:
        self._loaded: Loaded
        self._batcher: Batcher
        self._constraints: Constraints
        self._name = ""
        self._window: int | None = None
        self._template: str | None = None
        self._hidden: frozenset[int] = frozenset()
        self._longest = 1
        # Fast tokenizers must not be used by two threads at once.
        self._tokenizing = threading.Lock()

    def load(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:
        """Load the model and return what became of it."""

        def tell(message: str, completed: float | None = None, total: float | None = None) -> None:
            job.emit({"message": message, "completed": completed, "total": total})

        tell("importing torch")
        try:
            # Seconds and hundreds of megabytes, in the worker only.
            import torch  # noqa: PLC0415 - see above
            import transformers  # noqa: PLC0415 - see above

            from core.llm.providers.transformers import batching, constraint, loader, memory  # noqa: PLC0415 - see above
        except (MemoryError, SystemError):
            # Libraries that get no memory while they are imported fail in ways of their own.
            raise EngineError(
                "server_error", "the worker is out of memory before it has loaded anything", code="out_of_memory"
            ) from None
        except (ImportError, OSError) as error:
            raise EngineError("server_error", f"torch cannot be imported: {error}", code="missing_extra") from None
        torch.set_num_threads(params["n_threads"])
        loaded = self._loaded = loader.load(params, tell)
        self._name, self._window, self._template = params["name"], params["context_window"], params["chat_template"]
        self._hidden = _hidden_tokens(loaded.tokenizer)
        self._longest = max(map(len, loaded.tokenizer.get_vocab()), default=1)
        self._constraints = constraint.Constraints(loaded.tokenizer, loaded.ends)
        size = params["max_batch"]
        self._batcher = batching.Batcher(loaded.model, loaded.pad, loaded.ends, size, params["batch_wait"])
        if loaded.generates:
            tell("checking")
            self._batcher.check()
        batching.take_turns(loaded.model)
        return {
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "device": loaded.device,
            "dtype": str(loaded.model.dtype).removeprefix("torch."),
            "weights": memory.footprint(loaded.model),
            "batch": self._batcher.size,
        }

    def memory(self, params: Mapping[str, Any], job: Job) -> int | None:  # noqa: ARG002 - every method has them
        """Bytes on the device; `None` where it is the processor."""
        from core.llm.providers.transformers.memory import memory_in_use  # noqa: PLC0415 - loaded by now

        return memory_in_use(self._loaded.device)

    def chat(self, params: Mapping[str, Any], job: Job) -> None:
        """Answer a chat request as a stream: each item is one server-sent event."""
        from core.llm.providers.transformers.answer import Answer  # noqa: PLC0415 - loaded by now

        body = json.loads(params["body"])
        prompt = self._rendered(body)
        row = self._row(body, self._tokens(prompt, special=False), job)
        self._batcher.submit(row)
        Answer(job, row, self._name).chat(body, prompt)

    def complete(self, params: Mapping[str, Any], job: Job) -> None:
        """Continue a finished prompt, as a stream in the same way."""
        from core.llm.providers.transformers.answer import Answer  # noqa: PLC0415 - loaded by now

        body = json.loads(params["body"])
        row = self._row(body, self._tokens(body["prompt"]), job)
        self._batcher.submit(row)
        Answer(job, row, self._name).continuation()

    def embed(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Vectors for a list of texts, as an answer with status and body."""
        from core.llm.providers.transformers.embedder import vectors  # noqa: PLC0415 - loaded by now
        from core.llm.providers.transformers.memory import out_of_memory  # noqa: PLC0415 - loaded by now

        texts = json.loads(params["body"])["input"]
        ids = [self._tokens(text) for text in texts]
        self._fits(max(map(len, ids), default=0))
        if not all(ids):
            raise EngineError("invalid_request", "a text to embed is empty: it has no token")
        try:
            made = vectors(self._loaded, texts, ids)
        except RuntimeError as error:
            raise out_of_memory(error) or error from None
        count = sum(map(len, ids))
        answer = {
            "model": self._name,
            "data": [{"index": index, "embedding": vector} for index, vector in enumerate(made)],
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        return {"status": 200, "body": json.dumps(answer)}

    def count(self, params: Mapping[str, Any], job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - every method has a job
        """Tokens of a request's prompt, template and tools included, as an answer with status and body."""
        body = json.loads(params["body"])
        ids = self._tokens(body["prompt"]) if "prompt" in body else self._tokens(self._rendered(body), special=False)
        return {"status": 200, "body": json.dumps({"input_tokens": len(ids)})}

    def _rendered(self, body: Mapping[str, Any]) -> str:
        from core.llm.providers.transformers.chat_prompt import render  # noqa: PLC0415 - loaded by now

        return render(self._loaded.tokenizer, body, self._template)

    def _tokens(self, text: str, *, special: bool = True) -> list[int]:
        """*text* as tokens; *special* where the model's own beginning and end are to be added."""
        # Before it is cut into tokens: that takes longer than it is worth where the text is far too long.
        if self._window is not None and len(text) > self._window * self._longest:
            raise _too_long(f"{len(text)} characters cannot be {self._window} tokens", self._window)
        with self._tokenizing:
            return list(self._loaded.tokenizer.encode(text, add_special_tokens=special))

    def _fits(self, tokens: int) -> None:
        if self._window is not None and tokens > self._window:
            raise _too_long(f"the text has {tokens} tokens", self._window)

    def _row(self, body: Mapping[str, Any], prompt: list[int], job: Job) -> "Row":
        from core.llm.providers.transformers.row import Row  # noqa: PLC0415 - loaded by now
        from core.llm.providers.transformers.sampling import Sampler, sampling_of  # noqa: PLC0415 - loaded by now

        if not self._loaded.generates:
            raise EngineError("invalid_request", "this model only makes vectors: use it for embeddings", code="no_chat")
        if not prompt:
            raise EngineError("invalid_request", "the prompt is empty: it has no token")
        return Row(
            prompt,
            job=job,
            sampler=Sampler(sampling_of(body, self._loaded.defaults), prompt),
            decode=self._decode,
            ends=self._loaded.ends,
            stops=body.get("stop") or (),
            max_tokens=self._room(len(prompt), body.get("max_tokens")),
            constraint=self._constraints.of_request(body),
        )

    def _room(self, prompt: int, wanted: int | None) -> int:
        if self._window is None:
            return wanted or _NO_WINDOW
        left = self._window - prompt
        if left < 1:
            raise _too_long(f"the prompt has {prompt} tokens", self._window)
        if wanted is not None and wanted > left:
            raise _too_long(f"the prompt has {prompt} tokens and max_tokens is {wanted}", self._window)
        return left if wanted is None else wanted

    def _decode(self, ids: list[int]) -> str:
        with self._tokenizing:
            shown = [token for token in ids if token not in self._hidden]
            return str(
                self._loaded.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            )


def _hidden_tokens(tokenizer: Any) -> frozenset[int]:
    """Special tokens, which are no part of an answer; but those that mark a tool call or a thought have to be seen."""
    from core.llm.providers.transformers.tool_text import MARKS  # noqa: PLC0415 - beside its only use

    seen = {tokenizer.convert_tokens_to_ids(mark) for mark in MARKS if mark in tokenizer.get_added_vocab()}
    return frozenset(tokenizer.all_special_ids) - seen


def _too_long(what: str, window: int) -> EngineError:
    return EngineError(
        "context_length", f"{what}, and the context window of this model holds {window}", code="context_length_exceeded"
    )


if __name__ == "__main__":
    serve(TransformersEngine)
