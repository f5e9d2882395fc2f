"""How long each model is to stay after a call: what is configured, else what the keeping of models asks for."""

from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.keep_alive import ConfiguredKeepAlive
from core.llm.providers.ollama.naming import canonical_name


class KeepAlives:
    """The `keep_alive` of every call, load and embedding of one provider."""

    __slots__ = ("_config", "_wishes")

    def __init__(self, config: OllamaConfig) -> None:
        self._config = config
        self._wishes: dict[str, ConfiguredKeepAlive] = {}

    def wish(self, model: str, value: ConfiguredKeepAlive | None) -> None:
        """Ask for *value* where nothing is configured; `None` takes the wish back."""
        if value is None:
            self._wishes.pop(canonical_name(model), None)
        else:
            self._wishes[canonical_name(model)] = value

    def of(self, model: str) -> ConfiguredKeepAlive | None:
        """What is sent for *model*; `None`: nothing, the server decides."""
        configured = self._config.keep_alive_of(model)
        if configured is not None or not self._wishes:
            return configured
        return self._wishes.get(canonical_name(model))
