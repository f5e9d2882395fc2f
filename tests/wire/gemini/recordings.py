"""The recorded exchanges in the Gemini format, and what our dialect makes of them."""

from collections.abc import Iterator

from core.llm.dialects.gemini import GeminiDialect
from core.llm.dialects.gemini_endpoint import GeminiEndpoint
from tests.wire.recorded import FOLDER, RecordedExchange


class Recording(RecordedExchange):
    """One exchange."""

    @property
    def dialect(self) -> GeminiDialect:
        if self.provider == "vertex":
            return GeminiDialect(GeminiEndpoint("v1beta1", True, "example-project", "global"))
        return GeminiDialect()


def recordings(wire: str, *, error: bool | None = None) -> Iterator[Recording]:
    """Every recording of one endpoint, of both providers; with *error* only those that are, or are not, refusals."""
    for folder in ("gemini", "vertex"):
        for path in sorted((FOLDER / folder).glob(f"*{wire}.*.json")):
            recording = Recording(path)
            if error is None or (recording.status >= 300) == error:
                yield recording
