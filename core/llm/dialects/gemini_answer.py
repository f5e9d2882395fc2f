"""What an answer of the Gemini format says, whole or chunk by chunk: both have the same shape."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.common.secrets import one_line
from core.llm.common.types import Billing, FinishReason, UnifiedFinish
from core.llm.dialects.errors import clean, request_id
from core.llm.dialects.gemini_calls import CallReader
from core.llm.dialects.gemini_errors import gemini_error
from core.llm.dialects.gemini_usage import usage_from_gemini
from core.llm.dialects.json import schema_error
from core.llm.dialects.lost_parts import report_lost
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    UsageReport,
)

FINISH_REASONS: Final[Mapping[str, UnifiedFinish]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_RECITATION",
         "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR"),
        "content_filter",
    ),
}  # fmt: skip

_FAILURES: Final[Mapping[str, ErrorType]] = {
    "MALFORMED_FUNCTION_CALL": "protocol",
    "UNEXPECTED_TOOL_CALL": "protocol",
    "TOO_MANY_TOOL_CALLS": "protocol",
    "MALFORMED_RESPONSE": "protocol",
    "MISSING_THOUGHT_SIGNATURE": "invalid_request",
}
"""Words in the place of a finish reason that mean, where nothing came with them: the model got it wrong."""


_BESIDE: Final = frozenset({"thought", "thoughtSignature", "partMetadata"})
"""What stands beside the content of a part."""


class AnswerReader:
    """Reads the chunks of one answer, of which a whole answer is the only one."""

    __slots__ = ("_calls", "_finish", "_headers", "_last", "_message", "_request", "_started", "_usage", "output")

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._calls = CallReader(request.provider)
        self._started = False
        self._finish: str | None = None
        self._message = ""
        self._usage: dict[str, Any] | None = None
        self._last = ""
        self.output = False
        """True once anything of the answer itself has arrived."""

    @property
    def started(self) -> bool:
        """True once a candidate has arrived."""
        return self._started

    @property
    def finish(self) -> str | None:
        """The provider's own word for why the model stopped; `None` while it has not."""
        return self._finish

    @property
    def billing(self) -> Billing:
        """What is known about the cost of an answer that breaks here."""
        return "estimated" if self.output else "ambiguous"

    def chunk(self, chunk: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """Take one chunk into account.

        Raises:
            ProviderError: it is an error object, says that the prompt was blocked, or is no chunk.
        """
        if chunk.get("error") is not None:
            raise gemini_error(chunk, headers=self._headers, billing=self.billing)
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self._usage = usage if self._usage is None or "totalTokenCount" in usage else {**self._usage, **usage}
        candidates = chunk.get("candidates")
        if not candidates:
            self._check_prompt(chunk)
            return
        if not isinstance(candidates, list) or not isinstance(candidates[0], dict):
            raise schema_error("candidates is not a list of objects")
        if not self._started:
            self._start(chunk, events)
        candidate = candidates[0]
        if len(candidates) > 1:
            candidate = next((one for one in candidates if isinstance(one, dict) and not one.get("index")), candidate)
        if candidate.get("index"):
            return
        content = candidate.get("content")
        if content is not None:
            self._content(content, events)
        finish = candidate.get("finishReason")
        if isinstance(finish, str) and finish and finish != "FINISH_REASON_UNSPECIFIED":
            self._finish = one_line(finish, 80)
            message = candidate.get("finishMessage")
            self._message = clean(message) if isinstance(message, str) else ""

    def end(self, events: list[StreamEvent]) -> None:
        """The answer has ended with a finish reason: calls, usage and finish.

        Raises:
            ProviderError: the ending is no answer: blocked, or malformed by the model.
        """
        self._check_finish()
        self._calls.finish(events)
        if self._usage is not None:
            usage, warning = usage_from_gemini(self._usage)
            if warning is not None:
                self._request.warnings.append(warning)
            events.append(UsageReport(usage))
        unified = FINISH_REASONS.get(self._finish or "", "other")
        if self._calls.any and unified == "stop":
            # There is no word of its own for an answer that calls tools.
            unified = "tool_calls"
        events.append(StreamFinish(FinishReason(unified, self._finish)))

    def _start(self, chunk: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._started = True
        model, identifier = chunk.get("modelVersion"), chunk.get("responseId")
        identifier = identifier if isinstance(identifier, str) else ""
        self._calls.identify(identifier)
        events.append(
            StreamStart(
                model if isinstance(model, str) else "",
                self._request.provider,
                request_id(self._headers) or one_line(identifier, 100) or None,
            )
        )

    def _content(self, content: object, events: list[StreamEvent]) -> None:
        parts = content.get("parts") if isinstance(content, dict) else None
        if parts is None:
            if not isinstance(content, dict):
                raise schema_error("content is not an object")
            return
        if not isinstance(parts, list):
            raise schema_error("parts is not a list")
        for part in parts:
            if not isinstance(part, dict):
                raise schema_error("a part is not an object")
            self._part(part, events)

    def _part(self, part: Mapping[str, Any], events: list[StreamEvent]) -> None:
        text, signature = part.get("text"), part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) and signature else None
        if isinstance(text, str):
            if part.get("thought") is True:
                if text or signature:
                    self._last = "thinking"
                    self.output = True
                    events.append(ThinkingDelta(text, signature))
                return
            self._text(text, signature, events)
        elif part.get("functionCall") is not None:
            self.output = True
            self._last = "call"
            self._calls.add(part["functionCall"], signature, events)
        else:
            kind = next((key for key, value in part.items() if key not in _BESIDE and value is not None), None)
            if kind is not None:
                self.output = True
                report_lost(self._request, kind)

    def _text(self, text: str, signature: str | None, events: list[StreamEvent]) -> None:
        if text or (signature and self._last == "thinking"):
            # A signature alone behind thoughts needs a text, even an empty one, or it would count as theirs.
            self.output = True
            self._last = "text"
            events.append(TextDelta(text))
        if signature:
            self.output = True
            events.append(ThinkingDelta("", signature))

    def _check_prompt(self, chunk: Mapping[str, Any]) -> None:
        feedback = chunk.get("promptFeedback")
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if not isinstance(feedback, dict) or not isinstance(reason, str) or not reason:
            return
        told = feedback.get("blockReasonMessage")
        detail = f": {clean(told)}" if isinstance(told, str) and told else ""
        raise ProviderError(
            "content_filter",
            f"the provider blocked the prompt ({one_line(reason, 80)}){detail}",
            code=one_line(reason, 80),
            billing="settled" if self._usage else "ambiguous",
        )

    def _check_finish(self) -> None:
        if self.output or self._finish in {"STOP", "MAX_TOKENS"}:
            return
        raw = self._finish or ""
        detail = f": {self._message}" if self._message else ""
        billing: Billing = "settled" if self._usage else "ambiguous"
        if FINISH_REASONS.get(raw) == "content_filter":
            raise ProviderError(
                "content_filter", f"the provider withheld the answer ({raw}){detail}", code=raw, billing=billing
            )
        raise ProviderError(
            _FAILURES.get(raw, "server_error"), f"the model gave no answer ({raw}){detail}", code=raw, billing=billing
        )
