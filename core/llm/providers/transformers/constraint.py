"""Holds an answer to a JSON schema, token by token, by llguidance."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from core.llm.transport.worker_main import EngineError


class Constraints:
    """Makes constraints for the tokenizer of one model. The first one takes about a second."""

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = list(ends)
        self._prepared: Any = None
        self._lock = threading.Lock()

    def of_request(self, body: Mapping[str, Any]) -> "JsonConstraint | None":
        """What the request *body* wants its answer held to.

        Raises:
            EngineError: it cannot be held to that.
        """
        schema = _schema_of(body)
        if schema is None:
            return None
        try:
            # Imported when it is first needed: an answer without a schema goes without it.
            import llguidance.hf  # noqa: PLC0415 - see above
        except ImportError:
            raise EngineError(
                "invalid_request", "a schema needs llguidance: `pip install llguidance`", code="missing_extra"
            ) from None
        with self._lock:
            if self._prepared is None:
                try:
                    self._prepared = llguidance.hf.from_tokenizer(self._tokenizer, eos_token=self._ends or None)
                except ValueError as error:
                    raise EngineError("invalid_request", f"no schema with this tokenizer: {error}") from None
        try:
            # No line breaks or blanks of the model's choice: a small model would go on with them without end.
            grammar = llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(schema), overrides={"whitespace_flexible": False}
            )
            matcher = llguidance.LLMatcher(self._prepared, grammar)
        except ValueError as error:
            raise _refused(str(error)) from None
        if matcher.is_error():
            raise _refused(matcher.get_error())
        return JsonConstraint(matcher)


class JsonConstraint:
    """One answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher
        self._bit = torch.arange(8, dtype=torch.uint8)

    def mask(self, scores: Any) -> None:
        """Rule out what would not fit."""
        packed = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        allowed = ((packed.unsqueeze(1) >> self._bit) & 1).flatten().bool()[: len(scores)]
        forbidden = torch.ones(len(scores), dtype=torch.bool)
        forbidden[: len(allowed)] = ~allowed
        scores.masked_fill_(forbidden.to(scores.device), -torch.inf)

    def take(self, token: int) -> None:
        """*token* was chosen."""
        if not self._matcher.consume_token(token):
            raise EngineError(
                "server_error", f"the schema's grammar broke: {self._matcher.get_error()[:200]}", code="grammar"
            )


def _schema_of(body: Mapping[str, Any]) -> Any:
    choice = body.get("tool_choice")
    if choice == "required" or isinstance(choice, Mapping):
        return _call_schema(body.get("tools") or (), choice)
    if (schema := body.get("json_schema")) is not None:
        return schema
    wanted = body.get("response_format") or {}
    match wanted.get("type"):
        case "json_schema":
            return wanted["json_schema"].get("schema") or {}
        case "json_object":
            return {"type": "object"}
    return None


def _call_schema(tools: Sequence[Mapping[str, Any]], choice: Any) -> Any:
    """An object that calls one of *tools*, whatever format the model has for calls."""
    functions = [tool["function"] for tool in tools]
    if isinstance(choice, Mapping):
        functions = [function for function in functions if function["name"] == choice["function"]["name"]]
    if not functions:
        raise EngineError("invalid_request", "the tool that must be called is none of the tools")
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": function["name"]}, "arguments": function.get("parameters") or {}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _refused(why: str) -> EngineError:
    return EngineError(
        "invalid_request", f"the schema cannot be enforced: {' '.join(why.split())[:300]}", code="schema"
    )
