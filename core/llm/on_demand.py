"""Bindings that are made when somebody first asks: chat models by alias, and the providers' typed clients.

Which aliases and providers there are is known only once the configuration has been read, which is I/O, and it changes
while the application runs. What is injected holds a name and looks it up at each call.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from injector import Binder, Provider, singleton

from core.llm.chat_model import ChatModel, Named
from core.llm.common.clock import Clock
from core.llm.common.exceptions import UnknownProvider
from core.llm.factory.provider import LLMProviderFactory
from core.llm.runtime.swap import RuntimeHolder
from core.llm.service import LLMService

if TYPE_CHECKING:
    from injector import Injector


def bind_on_demand(binder: Binder) -> None:
    """Let *binder* make these bindings when somebody asks for one that the host has not made itself."""
    known: Callable[[type], Any] = binder.get_binding

    def get_binding(interface: type) -> Any:
        # Before the look-up: an injector with auto_bind, which is the default, would make the bare class instead.
        if not _is_bound(binder, interface) and (maker := _maker(interface)) is not None:
            binder.bind(interface, to=maker, scope=singleton)
        return known(interface)

    binder.get_binding = get_binding  # type: ignore[method-assign]  # the only door that every look-up passes


def _is_bound(binder: Binder | None, interface: type) -> bool:
    while binder is not None:
        if binder.has_explicit_binding_for(interface):
            return True
        binder = binder.parent
    return False


def _maker(interface: Any) -> Any:
    if get_origin(interface) is Annotated:
        bound, *metadata = get_args(interface)
        name = next((item.alias for item in metadata if isinstance(item, Named)), None)
        return _NamedModel(name) if bound is ChatModel and name is not None else None
    if isinstance(interface, type) and _looks_like_client(interface):
        return _TypedClient(interface)
    return None


def _looks_like_client(interface: type) -> bool:
    return interface.__name__.endswith("Client") and ".providers." in f".{interface.__module__}."


class _NamedModel(Provider[ChatModel]):
    """Makes the chat model of one alias."""

    dependencies = (LLMService,)
    """For the graph check of the container."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, injector: "Injector") -> ChatModel:
        return ChatModel(injector.get(LLMService), self._name)


class _TypedClient(Provider[Any]):
    """Makes a provider's typed client, which asks for the transport of the moment at each call."""

    dependencies = (RuntimeHolder, LLMProviderFactory, Clock)
    """For the graph check of the container."""

    def __init__(self, client: type) -> None:
        self._client: Any = client

    def get(self, injector: "Injector") -> Any:
        holder, factory = injector.get(RuntimeHolder), injector.get(LLMProviderFactory)
        clock: Clock = injector.get(Clock)
        kind = factory.client_kind(self._client)

        def transport() -> Any:
            runtime = holder.current
            for name, config in runtime.config.providers.items():
                if (config.type or name) == kind and name in runtime.providers:
                    provider: Any = runtime.providers[name]
                    return provider.client_transport()
            off = "; ".join(f"{name}: {reason}" for name, reason in runtime.disabled.items())
            raise UnknownProvider(f"no provider of type {kind!r} is configured and on{f' ({off})' if off else ''}")

        return self._client(transport, clock=clock)
