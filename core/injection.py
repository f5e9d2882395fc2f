"""Everything that depends on how injector works inside.

injector publishes neither its list of bindings nor what a provider will call. The graph check and the start order need
both, so every private attribute of that library is read in this file and nowhere else, and
``tests/unit/core/test_container_injector_contract.py`` fails when one of them changes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import injector
from injector import (
    Binder,
    CallableProvider,
    CallError,
    ClassProvider,
    Injector,
    InstanceProvider,
    Provider,
    Scope,
    ScopeDecorator,
    SingletonScope,
    UnsatisfiedRequirement,
)

from core.exceptions import ContainerError, ProvisionError

T = TypeVar("T")
Created = Callable[[Any, Any], None]


class LazySingletonScope(SingletonScope):
    """One object for the container, created when it is first asked for and not at the start."""


lazy_singleton = ScopeDecorator(LazySingletonScope)


class Ref(Provider[T]):
    """Bind a key to what another key is bound to: the same object under two names.

    ``bind(Store, to=SqlStore, scope=singleton)`` beside ``bind(SqlStore, scope=singleton)`` makes two objects;
    ``bind(Store, to=Ref(SqlStore))`` makes one. Use it for the elements of a multibinding too.
    """

    def __init__(self, key: type[T]) -> None:
        self.dependencies = (key,)

    def get(self, injector: Injector) -> T:
        """Return the object of the other key."""
        return injector.get(self.dependencies[0])


class _Announced(Provider[T]):
    """A provider that tells of the object it made. A scope asks it once for each object."""

    def __init__(self, inner: Provider[T], key: Any, created: Created) -> None:
        self._inner = inner
        self._key = key
        self._created = created

    def get(self, injector: Injector) -> T:
        instance = self._inner.get(injector)
        if _is_element(self._key):
            for element in instance.values() if isinstance(instance, dict) else _as_list(instance):
                self._created(type(element), element)
        else:
            self._created(self._key, instance)
        return instance


def _is_element(key: Any) -> bool:
    """Tell whether *key* stands for an element of a multibinding: injector then makes up a subclass of its provider."""
    return isinstance(key, type) and issubclass(key, Provider)


def _as_list(instance: Any) -> list[Any]:
    return instance if isinstance(instance, list) else [instance]


def watch_singletons(binder: Binder, created: Created) -> None:
    """Call *created* with key and object for every singleton of this injector, dependencies before their dependents."""

    class EagerScope(SingletonScope):
        def get(self, key: type[T], provider: Provider[T]) -> Provider[T]:
            return super().get(key, _Announced(provider, key, created))

    class LazyScope(LazySingletonScope):
        def get(self, key: type[T], provider: Provider[T]) -> Provider[T]:
            return super().get(key, _Announced(provider, key, created))

    binder.bind(SingletonScope, to=EagerScope(binder.injector))
    binder.bind(LazySingletonScope, to=LazyScope(binder.injector))


def watch_multibindings(owner: Injector) -> None:
    """Let the elements of multibindings use the injector's own scopes; each multibinding would else make new ones."""
    for binding in list(owner.binder._bindings.values()):  # noqa: SLF001 - this file's purpose
        if isinstance(binding.provider, injector.MultiBinder):
            for scope in (SingletonScope, LazySingletonScope):
                binding.provider._binder._bindings[scope] = owner.binder.get_binding(scope)[0]  # noqa: SLF001 - as above


class TracingInjector(Injector):
    """An injector whose errors name the whole path from the key asked for to the one that failed."""

    def get(self, interface: type[T], scope: ScopeDecorator | type[Scope] | None = None) -> T:
        """Return the object bound to *interface*.

        Raises:
            ProvisionError: it, or something that it needs, is not bound or could not be created.
        """
        try:
            return super().get(interface, scope)
        except ProvisionError as error:
            error.path.insert(0, interface)
            raise
        except ContainerError:
            raise
        except Exception as error:  # noqa: BLE001 - a constructor may raise anything; it becomes the cause
            cause = _original(error)
        # Raised outside the handler: injector's CallError prints every injected argument, secrets among them, and must
        # not stay behind as the context.
        raise ProvisionError([interface], _reason(cause)) from cause


def _original(error: Exception) -> Exception:
    while isinstance(error, CallError) and len(error.args) > 4 and isinstance(error.args[4], Exception):
        error = error.args[4]
    return error


def _reason(cause: Exception) -> str:
    if isinstance(cause, UnsatisfiedRequirement):
        return "is not bound in any module"
    text = str(cause)
    return f"could not be created: {type(cause).__name__}{': ' if text else ''}{text}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a provider makes its object, read without making it."""

    calls: Callable[..., Any] | None = None
    """The constructor or provider function."""
    owner: type | None = None
    """The class, if *calls* is a constructor."""
    value: Any = None
    """The object itself, if it was bound ready-made."""
    needs: tuple[Any, ...] = ()
    """Keys that a provider of our own asks for."""


def explicit_bindings(owner: Injector) -> dict[Any, Provider[Any]]:
    """Return what the modules have bound, in their order."""
    return {
        key: binding.provider
        for key, binding in owner.binder._bindings.items()  # noqa: SLF001 - this file's purpose
        if not isinstance(binding, injector.ImplicitBinding)
        and key not in (Injector, Binder)
        and not (isinstance(key, type) and issubclass(key, Scope))
    }


def eager_keys(owner: Injector) -> list[Any]:
    """Return the keys whose objects exist from the start on: those that are singletons, or hold some."""
    found = []
    for key, provider in explicit_bindings(owner).items():
        scopes = [owner.binder.get_binding(key)[0].scope]
        if isinstance(provider, injector.MultiBinder):
            scopes += [element.scope for element in provider._multi_bindings]  # noqa: SLF001 - as above
        if SingletonScope in scopes:
            found.append(key)
    return found


def is_bound(owner: Injector, key: Any) -> bool:
    """Tell whether the injector can resolve *key*."""
    try:
        owner.binder.get_binding(key)
    except UnsatisfiedRequirement:
        return False
    return True


def recipes(provider: Provider[Any]) -> Iterator[Recipe]:
    """Yield how *provider* makes its object; a multibinding has one recipe for each element."""
    if isinstance(provider, ClassProvider):
        cls = provider._cls  # noqa: SLF001 - this file's purpose
        yield Recipe(calls=cls.__init__, owner=cls)
    elif isinstance(provider, CallableProvider):
        yield Recipe(calls=provider._callable)  # noqa: SLF001 - as above
    elif isinstance(provider, InstanceProvider):
        yield Recipe(value=provider._instance)  # noqa: SLF001 - as above
    elif isinstance(provider, injector.MultiBinder):
        for element in provider._multi_bindings:  # noqa: SLF001 - as above
            yield from recipes(element.provider)
    elif isinstance(provider, injector.KeyValueProvider):
        yield from recipes(provider._provider)  # noqa: SLF001 - as above
    else:
        yield Recipe(needs=tuple(getattr(provider, "dependencies", ())))


def map_keys(provider: Provider[Any]) -> list[str]:
    """Return the keys given to a dict multibinding, repetitions included."""
    if not isinstance(provider, injector.MapBindProvider):
        return []
    elements = (element.provider for element in provider._multi_bindings)  # noqa: SLF001 - this file's purpose
    return [element._key for element in elements if isinstance(element, injector.KeyValueProvider)]  # noqa: SLF001 - as above
