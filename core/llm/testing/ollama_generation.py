"""One answer of a scripted Ollama server: in one piece, or as lines."""

import hashlib
import math
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from core.llm.common.clock import Clock
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec, words
from core.llm.testing.ollama_store import context_of
from core.llm.testing.ollama_types import BadRequest


class Generation:
    """The answer to one chat or generate request."""

    def __init__(self, clock: Clock, body: dict[str, Any], kind: str, spec: OllamaModelSpec, begun: float) -> None:
        self._clock = clock
        self._body = body
        self._chat = kind == "chat"
        self._spec = spec
        self._begun = begun

    def marker(self, reason: str) -> web.Response:
        """The answer to a request that only loads or unloads."""
        line = self._line("", done=True)
        line["done_reason"] = reason
        return web.json_response(line)

    async def send(self, request: web.Request, scripted: OllamaAnswer | None) -> web.StreamResponse:
        """Answer with what was scripted, else with the user's words."""
        prompt = self._prompt()
        tokens = max(len(prompt.split()), 1)
        limit = context_of(self._spec, self._body.get("options"))
        if self._body.get("truncate") is False and tokens > limit:
            raise BadRequest("the input length exceeds the context length")
        answer = scripted or OllamaAnswer(self._echo())
        pieces, reason = self._cut(answer)
        final = self._line("", done=True)
        if reason is not None:
            final["done_reason"] = reason
        if answer.counts:
            said = len(pieces) + len(answer.thoughts())
            final.update(
                self._numbers(*(answer.counts if isinstance(answer.counts, tuple) else (min(tokens, limit), said)))
            )
        if self._body.get("stream") is False:
            return await self._whole(answer, pieces, final)
        return await self._stream(request, answer, pieces, final)

    async def _whole(self, answer: OllamaAnswer, pieces: list[str], final: dict[str, Any]) -> web.StreamResponse:
        if answer.hold is not None:
            await answer.hold.wait()
        if answer.error is not None:
            raise BadRequest(answer.error, answer.status)
        whole = self._line("".join(pieces), "".join(answer.thoughts()), self._calls(answer), done=True)
        for name, value in final.items():
            whole.setdefault(name, value)
        if answer.cut:
            whole["done"] = False
        return web.json_response(whole)

    async def _stream(
        self, request: web.Request, answer: OllamaAnswer, pieces: list[str], final: dict[str, Any]
    ) -> web.StreamResponse:
        lines = [self._line("", thought) for thought in answer.thoughts()]
        lines += [self._line(piece) for piece in pieces]
        lines += [self._line("", "", [call]) for call in self._calls(answer)]
        if answer.error is not None and not lines:
            raise BadRequest(answer.error, answer.status)
        if answer.error is not None:
            lines.append({"error": answer.error})
        elif not answer.cut:
            lines.append(final)
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        for number, line in enumerate(lines):
            if number == answer.hold_after and answer.hold is not None:
                await answer.hold.wait()
            await response.write(to_json(line) + b"\n")
        await response.write_eof()
        return response

    def _line(
        self, text: str, thinking: str = "", calls: list[Any] | None = None, *, done: bool = False
    ) -> dict[str, Any]:
        line: dict[str, Any] = {"model": self._body["model"], "created_at": _stamp(self._clock.now().isoformat())}
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if thinking:
                message["thinking"] = thinking
            if calls:
                message["tool_calls"] = calls
            line["message"] = message
        else:
            line["response"] = text
            if thinking:
                line["thinking"] = thinking
        line["done"] = done
        return line

    def _calls(self, answer: OllamaAnswer) -> list[dict[str, Any]]:
        calls = []
        for index, (name, arguments) in enumerate(answer.tool_calls):
            call: dict[str, Any] = {"function": {"index": index, "name": name, "arguments": dict(arguments)}}
            if answer.tool_ids:
                call["id"] = f"call_{hashlib.sha256(f'{index} {name}'.encode()).hexdigest()[:8]}"
            calls.append(call)
        return calls

    def _numbers(self, tokens: int, generated: int) -> dict[str, int]:
        total = int((self._clock.monotonic() - self._begun) * 1e9) + 1000
        return {
            "total_duration": total,
            "load_duration": 1,
            "prompt_eval_count": tokens,
            "prompt_eval_duration": 1,
            "eval_count": max(generated, 1),
            "eval_duration": 1,
        }

    def _cut(self, answer: OllamaAnswer) -> tuple[list[str], str | None]:
        options = self._body.get("options") or {}
        pieces = answer.pieces()
        for stop in options.get("stop") or []:
            before, found, _ = "".join(pieces).partition(stop)
            if found:
                pieces = words(before)
        most = options.get("num_predict")
        if isinstance(most, int) and 0 < most < len(pieces):
            return pieces[:most], "length"
        return pieces, answer.done_reason

    def _prompt(self) -> str:
        if self._chat:
            return " ".join(str(message.get("content") or "") for message in self._body["messages"])
        return f"{self._body.get('system') or ''} {self._body['prompt']}"

    def _echo(self) -> str:
        said = self._body.get("prompt") or ""
        if self._chat:
            users = [
                message.get("content") or "" for message in self._body["messages"] if message.get("role") == "user"
            ]
            said = users[-1] if users else ""
        return to_json({"said": said}).decode() if self._body.get("format") else f"You said: {said}"


def vector(text: str, dimensions: int, *, normalised: bool = False) -> list[float]:
    """Numbers that depend on *text* alone."""
    numbers: list[float] = []
    block = 0
    while len(numbers) < dimensions:
        digest = hashlib.sha256(f"{block} {text}".encode()).digest()
        numbers += [byte / 127.5 - 1 for byte in digest]
        block += 1
    numbers = numbers[:dimensions]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers] if normalised else numbers


def _stamp(iso: str) -> str:
    return iso.replace("+00:00", "Z")
