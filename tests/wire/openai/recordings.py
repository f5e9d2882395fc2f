"""The recorded exchanges in the OpenAI format, and what our dialect makes of them."""

from collections.abc import Iterator

from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.openai_compatible.presets import preset_names, quirks_of
from tests.wire.recorded import FOLDER, RecordedExchange


class Recording(RecordedExchange):
    """One exchange."""

    @property
    def quirks(self) -> OpenAIQuirks:
        name = self.provider.removeprefix("openai_compatible:").replace("-", "_")
        return quirks_of(name, {}) if name in preset_names() else OpenAIQuirks()

    @property
    def dialect(self) -> OpenAIChatDialect | OpenAIResponsesDialect:
        return (OpenAIResponsesDialect if self.wire == "openai.responses" else OpenAIChatDialect)(self.quirks)


def recordings(wire: str) -> Iterator[Recording]:
    """Every recording of one endpoint."""
    for path in sorted(FOLDER.glob("*/*.json")):
        # The file of OpenAI's own traffic begins with the wire; elsewhere the provider stands before it.
        if f".{wire}." in f".{path.name}":
            yield Recording(path)
