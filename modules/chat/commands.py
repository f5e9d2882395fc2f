"""What can be typed besides a question: `/models`, `/status`, `/explain` and the like."""

from collections.abc import Callable

from core.llm import LLMError, ProviderConfigManager
from modules.chat.assistant import Assistant

HELP = """\
/models            what can be asked for, and what is available now
/model NAME        talk to NAME from now on; without a name, to the default again
/status            how each provider is doing, and the configuration
/explain [NAME]    where the next question would go, and why
/reset             forget the conversation
/help              this list
/quit              leave (so do Ctrl-D and Ctrl-C)
Anything else is a question."""


class Commands:
    """Carries out lines that begin with a slash."""

    def __init__(self, assistant: Assistant, config: ProviderConfigManager) -> None:
        self._assistant = assistant
        self._config = config
        self._actions: dict[str, Callable[[str], str]] = {
            "/models": self._models,
            "/model": self._model,
            "/status": self._status,
            "/explain": self._explain,
            "/reset": self._reset,
            "/help": lambda _: HELP,
        }

    def run(self, line: str) -> str:
        """Carry out *line* and return what to show."""
        name, _, argument = line.partition(" ")
        action = self._actions.get(name)
        if action is None:
            return f"there is no command {name}; /help lists them"
        try:
            return action(argument.strip())
        except LLMError as error:
            return str(error)

    def _models(self, _: str) -> str:
        models = self._assistant.llm.get_available_models()
        lines = []
        reasons: dict[str, None] = {}
        for model in models:
            detail = " → ".join(model.targets) if model.kind == "alias" else ""
            lines.append(f"{'+' if model.available else '-'} {model.name:28} {detail}".rstrip())
            if not model.available:
                provider = "" if model.kind == "alias" else model.name.partition("/")[0] + ": "
                reasons[f"{provider}{model.reason}"] = None
        if reasons:
            # Said once for all the models it keeps away.
            lines += ["not available now:", *(f"  {reason}" for reason in reasons)]
        return "\n".join(lines) or "no model is configured"

    def _model(self, name: str) -> str:
        self._assistant.choose(name or None)
        return f"talking to {name}" if name else "talking to the default model"

    def _status(self, _: str) -> str:
        lines = []
        for status in self._assistant.llm.get_provider_status().values():
            reason = f": {status.reason}" if status.reason else ""
            lines.append(f"{status.name:16} {status.type:18} {status.state}{reason}")
        state = self._config.status
        lines.append(f"configuration {state.generation}, watched by {state.watch_mode}")
        lines.extend(f"  last edit refused: {issue}" for issue in state.last_error or ())
        return "\n".join(lines)

    def _explain(self, name: str) -> str:
        return str(self._assistant.llm.explain("hello", model=name or self._assistant.model))

    def _reset(self, _: str) -> str:
        self._assistant.forget()
        return "the conversation was forgotten"
