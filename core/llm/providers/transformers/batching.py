"""Prompts that come together are computed together: one pass of the model gives the next token of every row.

Each row picks its own token and ends by itself, so rows know nothing of each other. What comes while a batch is running
is a batch of its own beside it; the passes of both take turns.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

import torch
from transformers import GenerationConfig

from core.llm.providers.transformers.memory import out_of_memory
from core.llm.providers.transformers.row import Row
from core.llm.transport.worker_main import EngineError

_SAME: Final = 0.999
"""Cosine from which on two rows of scores are the same."""


class Batcher:
    """Runs rows on one model, up to *size* of them in one batch, collected for *wait* seconds."""

    def __init__(self, model: Any, pad: int, ends: list[int], size: int, wait: float) -> None:
        self._model = model
        self._pad = pad
        self._ends = ends
        self._size = size
        self._wait = wait
        self._changed = threading.Condition()
        self._pending: list[Row] = []
        self._collecting = False

    def submit(self, row: Row) -> None:
        """Have *row* computed; its text is read from the row itself."""
        with self._changed:
            self._pending.append(row)
            self._changed.notify()
            if self._collecting:
                return
            self._collecting = True
        threading.Thread(target=self._collect, name="batch", daemon=True).start()

    def check(self) -> None:
        """Compute no rows together where the model gives them other scores than it gives each alone."""
        if self._size > 1 and not _rows_agree(self._model, self._pad):
            self._size = 1

    @property
    def size(self) -> int:
        """Rows that may be computed together."""
        return self._size

    def _collect(self) -> None:
        with self._changed:
            if self._size > 1:
                self._changed.wait_for(lambda: len(self._pending) >= self._size, self._wait)
            rows, self._pending = self._pending[: self._size], self._pending[self._size :]
            self._collecting = bool(self._pending)
            again = self._collecting
        if again:
            threading.Thread(target=self._collect, name="batch", daemon=True).start()
        self._run([row for row in rows if not row.look_for_cancel()])

    def _run(self, rows: list[Row]) -> None:
        if not rows:
            return
        try:
            generate(self._model, rows, self._pad, self._ends)
        except Exception as error:  # noqa: BLE001 - whatever torch raises ends the rows, not this thread
            problem = out_of_memory(error) or EngineError(
                "server_error", f"torch raised {type(error).__name__} while it generated", code="engine_error"
            )
            for row in rows:
                row.fail(problem)
        finally:
            for row in rows:  # one that is still going on here would be waited for without end
                row.fail(EngineError("server_error", "the batch ended before the answer did", code="engine_error"))


def generate(model: Any, rows: list[Row], pad: int, ends: list[int]) -> None:
    """Generate until every row is done. Shorter prompts are filled up on the left."""
    longest = max(len(row.prompt) for row in rows)
    ids = [[pad] * (longest - len(row.prompt)) + row.prompt for row in rows]
    mask = [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
    picker = _Picker(rows)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max(row.max_tokens for row in rows),
        pad_token_id=pad,
        eos_token_id=ends or None,
        use_cache=True,
    )
    with torch.inference_mode():
        model.generate(
            torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=[picker],
            stopping_criteria=[_Stopper(rows)],
        )


class _Picker:
    """Lets each row pick, and leaves `generate` no choice but what was picked."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002 - as `generate` calls it
        picked = [0 if row.look_for_cancel() else row.step(scores[place]) for place, row in enumerate(self._rows)]
        forced = torch.full_like(scores, -torch.inf)
        forced[range(len(picked)), picked] = 0
        return forced


class _Stopper:
    """Tells `generate` which rows are over."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002 - as `generate` calls it
        over = [row.look_for_cancel() for row in self._rows]
        return torch.tensor(over, device=input_ids.device, dtype=torch.bool)


def take_turns(model: Any) -> None:
    """Let only one thread at a time be in the model: some change themselves with the length of what they read."""
    turn = threading.Lock()
    inner: Callable[..., Any] = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with turn:
            return inner(*args, **kwargs)

    # `generate` asks which arguments there are.
    forward.__wrapped__ = inner  # type: ignore[attr-defined]  # what `inspect.signature` follows
    model.forward = forward


def _rows_agree(model: Any, pad: int) -> bool:
    vocabulary = int(model.get_input_embeddings().num_embeddings)
    texts = [[token % vocabulary for token in range(5, 5 + length)] for length in (3, 11)]
    longest = max(map(len, texts))

    def scores(chosen: list[list[int]], width: int) -> Any:
        ids = torch.tensor([[pad] * (width - len(text)) + text for text in chosen], device=model.device)
        mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in chosen], device=model.device)
        answer = model.generate(
            ids,
            attention_mask=mask,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=2,
                min_new_tokens=2,
                pad_token_id=pad,
                return_dict_in_generate=True,
                output_logits=True,
            ),
        )
        return answer.logits[0].float()

    with torch.inference_mode():
        together = scores(texts, longest)
        alone = torch.cat([scores([text], len(text)) for text in texts])
        return bool((torch.nn.functional.cosine_similarity(together, alone, dim=-1) > _SAME).all())
