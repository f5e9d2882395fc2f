"""What can be typed besides a question: `/models`, `/status`, `/load` and the like."""

from collections.abc import Awaitable, Callable
from typing import Final

from core.llm import LLMError, ModelManager, ProviderConfigManager
from modules.chat.assistant import Assistant
from modules.chat.screen import Screen
from modules.terminal.figures import size
from modules.terminal.model_table import LIVE, model_table

_PATIENCE: Final = 2.0
"""Seconds that a server gets to say what it has."""

HELP = """\
/models            what can be asked for, and what is available now
/model NAME        talk to NAME from now on; without a name, to the default again
/status            how each provider is doing, which local models are in memory, and the configuration
/load NAME         load a local model into memory
/unload NAME       take it out again
/pull NAME         download a model to its server
/swap ALIAS NAME   let ALIAS mean NAME while this runs; no answer that has begun is disturbed
/explain [NAME]    where the next question would go, and why
/reset             forget the conversation
/help              this list
/quit              leave (so do Ctrl-D and Ctrl-C)
Anything else is a question."""


class Commands:
    """Carries out lines that begin with a slash."""

    def __init__(
        self, assistant: Assistant, config: ProviderConfigManager, models: ModelManager, screen: Screen
    ) -> None:
        self._assistant = assistant
        self._config = config
        self._local = models
        self._screen = screen
        self._looks: dict[str, Callable[[str], str]] = {
            "/models": self._models,
            "/model": self._model,
            "/explain": self._explain,
            "/reset": self._reset,
            "/help": lambda _: HELP,
        }
        self._works: dict[str, Callable[[str], Awaitable[str]]] = {
            "/status": self._status,
            "/load": self._load,
            "/unload": self._unload,
            "/pull": self._pull,
            "/swap": self._swap,
        }

    async def run(self, line: str) -> str:
        """Carry out *line* and return what to show."""
        name, _, argument = line.partition(" ")
        argument = argument.strip()
        try:
            if name in self._looks:
                return self._looks[name](argument)
            if name in self._works:
                return await self._works[name](argument)
        except LLMError as error:
            return str(error)
        return f"there is no command {name}; /help lists them"

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

    async def _status(self, _: str) -> str:
        llm = self._assistant.llm
        lines = []
        for status in llm.get_provider_status().values():
            reason = f": {status.reason}" if status.reason else ""
            lines.append(f"{status.name:16} {status.type:18} {status.state}{reason}")
        survey = await self._local.survey(timeout=_PATIENCE)
        table = model_table(llm, self._local, survey, pinned=self._config.current.residency.pinned, local_only=True)
        if table.rows:
            lines += table.lines(LIVE, self._screen.width)
        state = self._config.status
        lines.append(f"configuration {state.generation}, watched by {state.watch_mode}")
        lines.extend(f"  last edit refused: {issue}" for issue in state.last_error or ())
        return "\n".join(lines)

    async def _load(self, name: str) -> str:
        if not name:
            return "which one? /load NAME; /status lists the local models"
        with self._screen.work("load", name) as tell:
            status = await self._local.load(name, tell)
        memory = f" ({size(status.memory_bytes)})" if status.memory_bytes is not None else ""
        return f"{name} is in memory{memory}"

    async def _unload(self, name: str) -> str:
        if not name:
            return "which one? /unload NAME; /status lists the local models"
        await self._local.unload(name)
        return f"{name} is not in memory"

    async def _pull(self, name: str) -> str:
        if not name:
            return "which one? /pull PROVIDER/MODEL"
        with self._screen.work("pull", name) as tell:
            found = await self._local.pull(name, tell)
        return f"{name} is there" + (f" ({size(found.size_bytes)})" if found.size_bytes is not None else "")

    async def _swap(self, names: str) -> str:
        alias, _, model = names.partition(" ")
        if not model.strip():
            return "/swap ALIAS NAME, such as: /swap fast local/tiny"
        with self._screen.work("load", model.strip()):
            await self._local.swap(alias, model.strip())
        return f"{alias} means {model.strip()} now, until its line in the configuration is edited or this ends"

    def _explain(self, name: str) -> str:
        return str(self._assistant.llm.explain("hello", model=name or self._assistant.model))

    def _reset(self, _: str) -> str:
        self._assistant.forget()
        return "the conversation was forgotten"
