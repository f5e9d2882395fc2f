"""The loop: read a line, answer it, until there are no more."""

import asyncio
from dataclasses import dataclass

from injector import inject

from core.lifecycle import Lifecycle
from core.llm import EventBus, LLMError, ModelManager, ProviderConfigManager, ProviderError, StreamReset, Subscription
from modules.chat import keyboard
from modules.chat.assistant import Assistant
from modules.chat.commands import Commands
from modules.chat.screen import Screen, passed_over, summary
from modules.chat.waiting import Waiting


@dataclass(frozen=True)
class ChatOptions:
    """What was asked for on the command line."""

    prompt: str | None = None
    model: str | None = None
    system: str | None = None
    config: str = "config/llm.yaml"


@dataclass
class ChatResult:
    """How it went, for the exit code."""

    failed: bool = False
    """The one question was not answered. A conversation cannot fail: the person has seen what happened."""
    reader_gone: bool = False
    """Nobody reads standard output any more."""


class ChatSession:
    """Runs as a background task of the container and asks it to stop when the conversation is over."""

    @inject
    def __init__(
        self,
        options: ChatOptions,
        result: ChatResult,
        assistant: Assistant,
        config: ProviderConfigManager,
        models: ModelManager,
        events: EventBus,
        lifecycle: Lifecycle,
        screen: Screen,
    ) -> None:
        self._options = options
        self._result = result
        self._assistant = assistant
        self._commands = Commands(assistant, config, models, screen)
        self._events = events
        self._lifecycle = lifecycle
        self._screen = screen
        self._subscription: Subscription | None = None
        self._explained = ""

    async def start(self) -> None:
        """Begin the conversation once everything it needs has started."""
        self._subscription = self._events.subscribe(self._screen.on_event)
        self._assistant.model = self._options.model
        if self._options.system:
            self._assistant.instruct(self._options.system)
        self._lifecycle.spawn(self._talk, name="chat", on_failure="stop_container")

    async def stop(self) -> None:
        """Show nothing more."""
        if self._subscription is not None:
            self._subscription.close()

    async def _talk(self) -> None:
        try:
            if self._options.prompt is None and keyboard.is_terminal():
                await self._converse()
            else:
                text = self._options.prompt
                text = await keyboard.everything() if text is None else text
                self._result.failed = not await self._answer(text.strip())
        except BrokenPipeError:
            self._result.reader_gone = True
        finally:
            self._lifecycle.request_stop()

    async def _converse(self) -> None:
        self._screen.note(self._welcome())
        self._screen.prompt()
        try:
            async for line in keyboard.lines():
                self._screen.entered()
                text = line.strip()
                if text in {"/quit", "/exit"}:
                    return
                if text.startswith("/"):
                    self._screen.note(await self._commands.run(text))
                elif text:
                    await self._answer(text)
                self._screen.prompt()
        finally:
            self._screen.leave()

    def _welcome(self) -> str:
        asked = self._options.model or "the default model"
        try:
            plan = self._assistant.llm.explain("hello", model=self._options.model)
        except LLMError as error:
            return f"{error}\n/models lists what there is, /model NAME chooses, Ctrl-D leaves."
        first = plan.first
        if first is None:
            off = "\n".join(f"  {candidate}" for candidate in plan.candidates)
            return f"no candidate for {asked} is available:\n{off}\nEdit {self._options.config}: edits apply at once."
        name = str(first) if first.model else first.provider
        return (
            f"Talking to {name} first ({self._options.config}; edits apply while this runs).\n"
            "Ask something; /help lists the commands, Ctrl-D leaves."
        )

    async def _answer(self, text: str) -> bool:
        """Ask and show the answer; false where there is none."""
        if not text:
            self._screen.note("there is no question: give one as an argument or on standard input")
            return False
        try:
            plan = self._assistant.llm.explain("hello", model=self._assistant.model)
            with self._screen.answer():
                async with (
                    Waiting(self._screen, self._events, plan).shown() as waiting,
                    self._assistant.ask(text) as stream,
                ):
                    async for event in stream:
                        waiting.saw(event)
                        if isinstance(event, StreamReset):
                            self._screen.end_answer()
                            self._screen.note(f"the answer broke off there; {event.target} begins it again")
                        self._screen.text(event.text)
                    response = await stream.response()
        except asyncio.CancelledError:
            self._screen.note("stopped before the end of the answer")
            raise
        except LLMError as error:
            delivered = error.partial.text if isinstance(error, ProviderError) and error.partial else ""
            self._screen.note(f"the answer broke off here:\n{error}" if delivered else str(error))
            return False
        self._assistant.remember(text, response.message)
        self._screen.note(summary(response))
        skipped = passed_over(response.trace) if response.trace else ""
        if skipped and skipped != self._explained:
            self._screen.note(skipped)
        self._explained = skipped
        return True
