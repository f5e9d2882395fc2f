"""One answer as the events of the OpenAI format's streams."""

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from core.llm.providers.transformers.row import Row
from core.llm.providers.transformers.tool_text import ToolTextParser, WrittenCall
from core.llm.transport.worker_main import Job

_OPEN_THOUGHT: Final = "<think>"


class Answer:
    """Reads the text of a row and emits it; `chat` with tool calls taken out of it, or the plain continuation."""

    def __init__(self, job: Job, row: Row, model: str) -> None:
        self._job = job
        self._row = row
        self._model = model
        self._id = f"local-{secrets.token_hex(8)}"
        self._calls = 0

    def chat(self, body: Mapping[str, Any], prompt: str) -> None:
        """Emit an answer to a conversation that was written as *prompt*."""
        self._emit({"delta": {"role": "assistant"}})
        if prompt.rstrip().endswith(_OPEN_THOUGHT):
            # Some templates open the thinking themselves; whoever reads the answer has to see that.
            self._emit({"delta": {"content": f"{_OPEN_THOUGHT}\n"}})
        tools = body.get("tools") if body.get("tool_choice") != "none" else None
        parser = ToolTextParser([tool["function"]["name"] for tool in tools]) if tools else None
        single = body.get("parallel_tool_calls") is False
        wanted = True
        while wanted and (text := self._row.next_text()) is not None:
            if parser is None:
                wanted = self._emit({"delta": {"content": text}})
            else:
                wanted = self._parsed(*parser.feed(text)) and not (single and self._calls)
        if parser is not None and wanted:
            self._parsed(*parser.end())
        if not wanted:
            self._row.leave()
        self._finish("tool_calls" if self._calls else self._row.finish, {"delta": {}})

    def continuation(self) -> None:
        """Emit the continuation of a finished prompt."""
        self._emit({"text": ""})
        while (text := self._row.next_text()) is not None and self._emit({"text": text}):
            pass
        self._finish(self._row.finish, {"text": ""})

    def _parsed(self, text: str, calls: list[WrittenCall]) -> bool:
        going_on = not text or self._emit({"delta": {"content": text}})
        for call in calls:
            piece = {
                "index": self._calls,
                "id": f"call_{secrets.token_hex(8)}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            self._calls += 1
            going_on = self._emit({"delta": {"tool_calls": [piece]}})
        return going_on

    def _finish(self, reason: str, piece: Mapping[str, Any]) -> None:
        prompt, answer = len(self._row.prompt), self._row.generated
        usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        self._emit({**piece, "finish_reason": reason or "stop"}, usage)

    def _emit(self, choice: Mapping[str, Any], usage: Mapping[str, int] | None = None) -> bool:
        chunk: dict[str, Any] = {"id": self._id, "model": self._model, "choices": [{"index": 0, **choice}]}
        if usage is not None:
            chunk["usage"] = usage
        return self._job.emit(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n")
