"""The bindings of the chat."""

from injector import Binder, InstanceProvider, Module, singleton

from modules.chat.assistant import Assistant
from modules.chat.screen import Screen
from modules.chat.session import ChatOptions, ChatResult, ChatSession


class ChatModule(Module):
    """Binds the conversation and its screen."""

    def __init__(self, options: ChatOptions, screen: Screen) -> None:
        self.result = ChatResult()
        self._options = options
        self._screen = screen

    def configure(self, binder: Binder) -> None:
        """Bind them as singletons: the container starts and stops the session."""
        binder.bind(ChatOptions, to=InstanceProvider(self._options))
        binder.bind(ChatResult, to=InstanceProvider(self.result))
        binder.bind(Screen, to=InstanceProvider(self._screen))
        binder.bind(Assistant, scope=singleton)
        binder.bind(ChatSession, scope=singleton)
