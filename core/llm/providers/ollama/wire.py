"""Ollama's chat dialect: our request to the body of `/api/chat`, its answer or its lines to our events. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import CallWarning, FinishReason, UnifiedFinish, Usage
from core.llm.common.wire import HttpCall
from core.llm.dialects.framing import LineSplitter
from core.llm.dialects.grammar_schema import grammar_schema
from core.llm.dialects.json import encode_json, parse_object
from core.llm.dialects.stream_decoder import AnswerDecoder
from core.llm.dialects.tool_names import bare_name
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    LLMResponse,
    ResponseCollector,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallReady,
    UsageReport,
)
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.errors import error_from
from core.llm.providers.ollama.history import encode_messages, encode_tool
from core.llm.providers.ollama.keep_alive import checked_keep_alive, keep_alive_to_wire
from core.llm.providers.ollama.keep_alives import KeepAlives
from core.llm.providers.ollama.lines import error_in_stream, html_page, truncated
from core.llm.providers.ollama.models.reading import mismatch
from core.llm.providers.ollama.models.responses import ToolCallReply
from core.llm.providers.ollama.validator import LOAD_OPTIONS, check

JSON_HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}

_NO_ANSWERS: Final = frozenset({"load", "unload"})
_FINISH: Final[dict[str, UnifiedFinish]] = {"stop": "stop", "length": "length", "": "stop"}
_OURS: Final = frozenset({"model", "messages", "stream", "options", "tools"})
_LOAD_FIELDS: Final = frozenset({"shift", "truncate"})
# More tokens than any context holds: a slip of the server, not a count.
_MOST_TOKENS: Final = 10**9


def _format(request: ChatRequest, schema: Mapping[str, Any] | None) -> str | Mapping[str, Any]:
    if schema is None:
        return "json"
    weakened: set[str] = set()
    format_ = grammar_schema(schema, weakened)
    if weakened:
        said = f"Ollama does not enforce {', '.join(sorted(weakened))} in this schema: checked in the answer"
        request.warn("other", "response_format", said)
    return format_


class OllamaDialect:
    """`/api/chat` for one configured server: the model's load options and keep-alive go with every call."""

    def __init__(self, config: OllamaConfig, new_id: Callable[[], str], keep_alives: KeepAlives | None = None) -> None:
        self._config = config
        self._keep_alives = keep_alives or KeepAlives(config)
        self._new_id = new_id

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to `request.warnings` what cannot be expressed.

        Raises:
            ProviderError: `invalid_request`, code `unsupported`: the request needs what Ollama cannot do.
        """
        check(request)
        params = request.params
        body: dict[str, Any] = {"model": request.model, "messages": encode_messages(request), "stream": request.stream}
        if params.tools and params.tool_choice != "none":
            body["tools"] = [encode_tool(tool) for tool in params.tools]
        if params.response_format is not None:
            body["format"] = _format(request, params.response_format.schema)
        if params.thinking is not None and (think := _think(request)) is not None:
            body["think"] = think
        keep_alive = keep_alive_to_wire(self._keep_alives.of(request.model))
        if keep_alive is not None:
            body["keep_alive"] = keep_alive
        if self._config.truncate is not None:
            body["truncate"] = self._config.truncate
        if self._config.shift is not None:
            body["shift"] = self._config.shift
        options = self._options(request)
        if options:
            body["options"] = options
        if request.extra:
            _add_extra(request, body)
        return HttpCall("POST", "/api/chat", encode_json(body), JSON_HEADERS, streaming=request.stream)

    def _options(self, request: ChatRequest) -> dict[str, Any]:
        params = request.params
        pinned = self._config.options_of(request.model)
        options = dict(pinned)
        for name, value in (
            ("temperature", params.temperature),
            ("top_p", params.top_p),
            ("top_k", params.top_k),
            ("num_predict", params.max_tokens),
            ("seed", params.seed),
            ("frequency_penalty", params.frequency_penalty),
            ("presence_penalty", params.presence_penalty),
        ):
            if value is not None:
                options[name] = value  # noqa: PERF403 - a comprehension would build a second dictionary on every call
        if params.stop is not None:
            options["stop"] = list(params.stop)
        given = request.extra.get("options")
        if isinstance(given, Mapping):
            for name, value in given.items():
                if name in LOAD_OPTIONS and pinned.get(name) != value:
                    request.warn(
                        "dropped",
                        f"options.{name}",
                        f"{name} belongs to the loaded model: set it under `options` in the configuration, where every "
                        "call sends the same value, or each change would load the model again",
                    )
                else:
                    options[name] = value
        return options

    def decode(self, request: ChatRequest, status: int, headers: Mapping[str, str], body: bytes) -> LLMResponse:
        """The answer in *body*; `ProviderError` for everything that is not a complete answer."""
        decoder = self.decoder(request, headers)
        if not body:
            raise ProviderError(
                "protocol", "Ollama sent an empty answer", code="empty", status_code=status, billing="ambiguous"
            )
        source = parse_object(body)
        events: list[StreamEvent] = []
        decoder.line(source, events)
        decoder.end()
        collector = ResponseCollector()
        for event in events:
            collector.add(event)
        response = collector.response()
        response.raw = source
        return response

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> "ChatDecoder":
        """A fresh decoder for one stream."""
        return ChatDecoder(request, headers, self._new_id)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return error_from(status, headers, body)


class ChatDecoder(AnswerDecoder):
    """The lines of one streamed chat to events."""

    __slots__ = ("_calls", "_length", "_new_id", "_output", "_request", "_splitter", "_started")

    def __init__(self, request: ChatRequest, headers: Mapping[str, str], new_id: Callable[[], str]) -> None:
        if headers.get("content-type", "").startswith("text/html"):
            raise html_page()
        super().__init__(headers)
        self._request = request
        self._new_id = new_id
        self._splitter = LineSplitter()
        self._started = False
        self._output = False
        self._length = 0
        self._calls = 0

    def _has_started(self) -> bool:
        return self._started

    def _has_output(self) -> bool:
        return self._output

    def _has_finish(self) -> bool:
        # The reason to stop comes with the last line.
        return self.done

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        for line in self._splitter.feed(data):
            self.line(parse_object(line), events)
            if self.done:
                break

    def _end(self, events: list[StreamEvent]) -> None:
        """The last line may lack its newline, but nothing else."""
        for line in self._splitter.end():
            try:
                source = parse_object(line)
            except ProviderError as error:
                # Not one whole line has come: this is no cut stream, it is something else.
                if not self._started:
                    raise
                raise truncated(self._billing()) from error
            if source.get("done") is True or "error" in source:
                self.line(source, events)
        if not self.done:
            raise truncated(self._billing())

    def line(self, source: dict[str, Any], events: list[StreamEvent]) -> None:
        """Add the events of one line to *events*."""
        if (error := source.get("error")) is not None:
            failure = error_in_stream(error, model=self._request.model)
            failure.billing = self._billing()
            raise failure
        message = source.get("message")
        done = source.get("done")
        if message.__class__ is not dict:
            if message is not None or done is not True:
                raise mismatch("message", "an object", message)
            message = {}
        if not self._started:
            model = source.get("model")
            events.append(StreamStart(model if isinstance(model, str) else "", self._request.provider))
            self._started = True
        thinking = message.get("thinking")
        if thinking:
            if thinking.__class__ is not str:
                raise mismatch("message.thinking", "a string", thinking)
            events.append(ThinkingDelta(thinking))
            self._length += len(thinking)
        content = message.get("content")
        if content:
            if content.__class__ is not str:
                raise mismatch("message.content", "a string", content)
            events.append(TextDelta(content))
            self._length += len(content)
        if message.get("tool_calls"):
            self._tool_calls(message["tool_calls"], events)
        if self._length:
            self._output = True
        if done is True:
            self._finish(source, events)
        elif done is not False and done is not None:
            raise mismatch("done", "true or false", done)

    def _tool_calls(self, items: Any, events: list[StreamEvent]) -> None:
        if items.__class__ is not list:
            raise mismatch("message.tool_calls", "an array", items)
        for item in items:
            if item.__class__ is not dict:
                raise mismatch("each item of message.tool_calls", "an object", item)
            reply = ToolCallReply.from_object(item)
            identifier = reply.id or self._new_id()
            name = bare_name(reply.name)
            if isinstance(reply.arguments, str):
                call = ToolCall.from_text(identifier, name, reply.arguments)
            else:
                call = ToolCall(identifier, name, reply.arguments)
            events.append(ToolCallReady(self._calls, call))
            self._calls += 1
            self._output = True
            self._length += len(reply.name)

    def _finish(self, source: dict[str, Any], events: list[StreamEvent]) -> None:
        raw = source.get("done_reason")
        if raw is not None and raw.__class__ is not str:
            raise mismatch("done_reason", "a string", raw)
        if not self._output and (raw in _NO_ANSWERS or not source.get("eval_count") or not source.get("message")):
            raise ProviderError(
                "protocol",
                f"Ollama's answer holds no output (done_reason {raw or 'not given'})",
                code="empty",
                billing="ambiguous",
            )
        unified = _FINISH.get(raw or "", "other")
        if self._calls and unified == "stop":
            unified = "tool_calls"
        events.extend((UsageReport(self._usage(source)), StreamFinish(FinishReason(unified, raw))))
        self.done = True

    def _usage(self, source: dict[str, Any]) -> Usage:
        request = self._request
        numbers = {name: source[name] for name in ("prompt_eval_count", "eval_count") if source.get(name) is not None}
        counts = {name: value for name, value in numbers.items() if _is_count(value)}
        if len(counts) < len(numbers):
            request.warnings.append(
                CallWarning("suspect_usage", "Ollama reported impossible token counts; they are estimated instead")
            )
        prompt, output = counts.get("prompt_eval_count"), counts.get("eval_count")
        if output == 0:
            # Something was said, so something was generated.
            output = None
        return Usage(
            input=sum(len(message.text) for message in request.messages) // 4 + 1 if prompt is None else prompt,
            output=self._length // 4 + 1 if output is None else output,
            estimated=prompt is None or output is None,
            raw=numbers,
        )


def _is_count(value: Any) -> bool:
    return value.__class__ is int and 0 <= value < _MOST_TOKENS


def _think(request: ChatRequest) -> bool | str | None:
    thinking = request.params.thinking
    cannot = request.facts.lacks("thinking")
    if thinking == "off":
        return None if cannot else False
    if cannot:
        request.warn("dropped", "thinking", f"the model {request.model!r} does not think")
        return None
    if isinstance(thinking, int):
        request.warn("other", "thinking", "Ollama knows no token budget for thinking: it is only switched on")
        return True
    if request.facts.quirks.get("think") == "switch":
        request.warn("renamed", "thinking", f"the model {request.model!r} can only think or not: it thinks")
        return True
    if thinking == "minimal":
        request.warn("renamed", "thinking", "Ollama's lowest level is `low`")
        return "low"
    return thinking


def _add_extra(request: ChatRequest, body: dict[str, Any]) -> None:
    for name, value in request.extra.items():
        if name == "options" and isinstance(value, Mapping):
            continue
        if name in _OURS:
            request.warn("dropped", name, f"`extra` cannot replace `{name}`")
        elif name in _LOAD_FIELDS:
            request.warn("dropped", name, f"set `{name}` in the configuration, so that every call sends the same")
        elif value is None:
            body.pop(name, None)
        elif name == "keep_alive" and isinstance(value, int | float | str):
            try:
                body[name] = checked_keep_alive(value)
            except ValueError as error:
                raise ProviderError("invalid_request", str(error), code="keep_alive") from None
        else:
            body[name] = value
