"""A streamed body of Ollama as decoded lines; an `{"error"}` line, whenever it comes, is an error and never data."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Billing
from core.llm.dialects.framing import LineSplitter
from core.llm.dialects.json import parse_json, parse_object
from core.llm.providers.ollama.errors import error_from_text


class JsonLines:
    """Bytes to JSON objects, one per line, whatever the chunk boundaries."""

    __slots__ = ("_any", "_splitter")

    def __init__(self, headers: Mapping[str, str], splitter: LineSplitter | None = None) -> None:
        if headers.get("content-type", "").startswith("text/html"):
            raise html_page()
        self._splitter = splitter or LineSplitter()
        self._any = False

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The objects that *data* completes, one at a time: what comes before a bad line is handed out.

        Raises:
            ProviderError: an error line (classified), or a line that is no JSON object (`protocol`).
        """
        for line in self._splitter.feed(data):
            yield self._read(line)

    def end(self) -> Iterator[dict[str, Any]]:
        """The last line, where only its newline is missing; half a line is discarded."""
        for line in self._splitter.end():
            try:
                source = self._read(line)
            except ProviderError as error:
                if error.type == "protocol" and self._any:
                    return
                raise
            yield source

    def _read(self, line: bytes) -> dict[str, Any]:
        source = parse_object(line)
        self._any = True
        if (error := source.get("error")) is not None:
            raise error_in_stream(error)
        return source


def error_in_stream(error: Any, *, model: str = "") -> ProviderError:
    """The error that an `{"error": …}` line stands for."""
    if isinstance(error, dict):
        error = error.get("message")
    return error_from_text(error if isinstance(error, str) else "an error without a text", model=model)


def error_in_answer(body: bytes, *, model: str = "") -> ProviderError | None:
    """The error that *body*, which was no answer, stands for; `None` where it is no error object either."""
    try:
        value = parse_json(body)
    except ProviderError:
        return None
    error = value.get("error") if isinstance(value, dict) else None
    return None if error is None else error_in_stream(error, model=model)


def html_page() -> ProviderError:
    """The error for an HTML page where an answer should be."""
    return ProviderError(
        "protocol",
        "an HTML page came instead of an answer: is base_url the address of an Ollama server?",
        code="content_type",
        billing="ambiguous",
    )


def truncated(billing: Billing = "ambiguous") -> ProviderError:
    """The error for an answer that ends before its last line."""
    return ProviderError("protocol", "Ollama's answer ended before it was complete", code="truncated", billing=billing)
