"""The loop: read a line, answer it, until there are no more."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from injector import inject

from core.lifecycle import Lifecycle
from core.llm import EventBus, LLMError, ProviderConfigManager, ProviderError, Subscription
from modules.chat import keyboard
from modules.chat.assistant import Assistant
from modules.chat.commands import Commands
from modules.chat.screen import Screen, summary

PATIENCE = 1.0
"""Seconds without output after which the screen says what is being waited for."""


@dataclass(frozen=True)
class ChatOptions:
    """What was asked for on the command line."""

    prompt: str | None = None
    model: str | None = None
    system: str | None = None


@dataclass
class ChatResult:
    """How the conversation went, for the exit code."""

    failed: bool = False


class ChatSession:
    """Runs as a background task of the container and asks it to stop when the conversation is over."""

    @inject
    def __init__(
        self,
        options: ChatOptions,
        result: ChatResult,
        assistant: Assistant,
        config: ProviderConfigManager,
        events: EventBus,
        lifecycle: Lifecycle,
        screen: Screen,
    ) -> None:
        self._options = options
        self._result = result
        self._assistant = assistant
        self._commands = Commands(assistant, config)
        self._events = events
        self._lifecycle = lifecycle
        self._screen = screen
        self._subscription: Subscription | None = None

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
            if self._options.prompt is not None:
                await self._answer(self._options.prompt)
            elif sys.stdin.isatty():
                await self._converse()
            else:
                await self._answer((await keyboard.everything()).strip())
        finally:
            self._lifecycle.request_stop()

    async def _converse(self) -> None:
        self._screen.note("Ask something; /help lists the commands, Ctrl-D leaves.")
        self._screen.prompt()
        async for line in keyboard.lines():
            text = line.strip()
            if text in {"/quit", "/exit"}:
                return
            if text.startswith("/"):
                self._screen.note(self._commands.run(text))
            elif text:
                await self._answer(text)
            self._screen.prompt()

    async def _answer(self, text: str) -> None:
        self._result.failed = False
        if not text:
            self._screen.note("there is no question: give one as an argument or on standard input")
            self._result.failed = True
            return
        try:
            with self._screen.answer():
                stream = self._assistant.ask(text)
                async with self._waiting():
                    await stream.open()
                async with stream:
                    async for event in stream:
                        self._screen.text(event.text)
                    response = await stream.response()
        except ProviderError as error:
            self._fail(error, error.partial.text if error.partial else "")
        except LLMError as error:
            self._fail(error, "")
        else:
            self._assistant.remember(text, response.message)
            self._screen.note(summary(response))

    def _fail(self, error: LLMError, delivered: str) -> None:
        self._result.failed = True
        if delivered:
            self._screen.note("the answer broke off here:")
        self._screen.note(str(error))

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[None]:
        """Say on a terminal what is being waited for while there is no output."""

        async def tick() -> None:
            waited = 0.0
            while True:
                await asyncio.sleep(PATIENCE)
                waited += PATIENCE
                self._screen.status(f"waiting for the first words, {waited:.0f} s")

        task = asyncio.create_task(tick(), name="chat:waiting")
        try:
            yield
        finally:
            task.cancel()
