"""The graph check finds everything that cannot work, before anything is created."""

from abc import ABC, abstractmethod
from typing import Annotated, NewType, Protocol, runtime_checkable

import pytest
from injector import AssistedBuilder, ClassAssistedBuilder, Module, NoInject, ProviderOf, inject, provider, singleton

from core.container import Container, GraphCheckFailed, Ref
from core.lifecycle import ContainerState, Lifecycle

ApiKey = NewType("ApiKey", str)


class Settings:
    """Bound nowhere."""


class Database:
    created = 0

    @inject
    def __init__(self, settings: Settings, key: Annotated[str, "api_key"]) -> None:
        Database.created += 1


class Store:
    @inject
    def __init__(self, database: Database) -> None: ...


class Service:
    @inject
    def __init__(self, store: Store, key: ApiKey) -> None: ...


def bind(*classes: type):
    def configure(binder) -> None:
        for cls in classes:
            binder.bind(cls, scope=singleton)

    return configure


def problems(container: Container) -> list[tuple[str, str]]:
    return [(error.problem, str(error)) for error in container.check()]


async def test_lc_18_all_missing_keys_are_listed_with_their_paths_before_any_hook_runs() -> None:
    hooks: list[str] = []

    class Started:
        async def start(self) -> None:
            hooks.append("started")

    container = Container([bind(Started, Service, Store, Database)])
    with pytest.raises(GraphCheckFailed) as caught:
        await container.start()

    assert [error.path for error in caught.value.errors] == [
        (Service, ApiKey),
        (Service, Store, Database, Settings),
        (Service, Store, Database, Annotated[str, "api_key"]),
    ]
    assert (hooks, Database.created, container.state) == ([], 0, ContainerState.FAILED)


def test_lc_18_message_is_one_tree() -> None:
    """What a developer sees; the paths share their common part."""
    container = Container([bind(Service, Store, Database)])
    assert str(GraphCheckFailed(container.check())) == (
        "3 problems in the bindings; nothing was created or started.\n"
        "\n"
        "  Service\n"
        "  ├─ ApiKey   <- not bound; needed by parameter 'key' of Service\n"
        "  └─ Store\n"
        "     └─ Database\n"
        "        ├─ Settings   <- not bound; needed by parameter 'settings' of Database\n"
        "        └─ Annotated[str, 'api_key']   <- not bound; needed by parameter 'key' of Database"
    )


def test_complete_graph_passes_and_creates_nothing() -> None:
    def values(binder) -> None:
        binder.bind(Settings, to=Settings())
        binder.bind(ApiKey, to="secret")
        binder.bind(Annotated[str, "api_key"], to="secret")

    assert Container([bind(Service, Store, Database), values]).check() == []
    assert Database.created == 0


def test_missing_inject_is_found() -> None:
    class Forgot:
        def __init__(self, lifecycle: Lifecycle, size: int = 3) -> None: ...

    assert problems(Container([bind(Forgot)])) == [
        ("constructor", "Forgot: Forgot is not given 'lifecycle'; is @inject missing?")
    ]


def test_parameter_that_is_not_injected_is_found() -> None:
    class Partial:
        @inject
        def __init__(self, lifecycle: Lifecycle, size: NoInject[int]) -> None: ...

    assert problems(Container([bind(Partial)])) == [
        ("constructor", "Partial: Partial is not given 'size'; annotate it or bind a value")
    ]


def test_default_value_does_not_satisfy_a_dependency() -> None:
    """Injector ignores defaults of injected parameters, so the check must too."""

    class Sized:
        @inject
        def __init__(self, size: int = 7) -> None: ...

    assert problems(Container([bind(Sized)]))[0][0] == "missing"


def test_circle_is_found_and_provider_of_breaks_it() -> None:
    class Egg:
        def __init__(self, hen) -> None: ...

    class Hen:
        @inject
        def __init__(self, egg: Egg) -> None: ...

    Egg.__init__.__annotations__["hen"] = Hen
    inject(Egg)
    assert [(error.problem, error.path) for error in Container([bind(Egg, Hen)]).check()] == [
        ("circular", (Egg, Hen, Egg))
    ]

    class Late:
        @inject
        def __init__(self, me: "ProviderOf[Hen]") -> None: ...

    Late.__init__.__bindings__ = {"me": ProviderOf[Hen], "late": ProviderOf[Late]}
    assert [error.problem for error in Container([bind(Late)]).check()] == ["missing"]


def test_assisted_builders_are_understood() -> None:
    class Built:
        def __init__(self, name: str) -> None: ...

    class Factory:
        @inject
        def __init__(self, one: AssistedBuilder[Built], two: ClassAssistedBuilder[Built]) -> None: ...

    assert [error.path for error in Container([bind(Factory)]).check()] == [(Factory, Built)]


def test_abstract_class_and_protocol_bound_to_themselves_are_found() -> None:
    class Port(ABC):
        @abstractmethod
        def call(self) -> None: ...

    @runtime_checkable
    class Shape(Protocol):
        def area(self) -> float: ...

    assert [error.problem for error in Container([bind(Port, Shape)]).check()] == ["abstract", "abstract"]


def test_async_provider_is_found() -> None:
    """Injector would hand out one coroutine object to everybody."""

    class Async(Module):
        @singleton
        @provider
        async def database(self) -> Database: ...

    assert problems(Container([Async]))[0][0] == "async_provider"


def test_unreadable_annotation_is_found() -> None:
    class Deferred:
        @inject
        def __init__(self, store: "OnlyImportedForTypeChecking") -> None: ...  # noqa: F821 - the point of this test

    problem, text = problems(Container([bind(Deferred)]))[0]
    assert problem == "annotation"
    assert "OnlyImportedForTypeChecking" in text


def test_plain_value_in_place_of_an_object_is_found_and_a_double_is_not() -> None:
    class Fake:
        """Not a subclass of Database: a double."""

    def wrong(binder) -> None:
        binder.bind(Store, to=42)
        binder.bind(Database, to=Fake())
        binder.bind(float, to=1)

    assert problems(Container([wrong])) == [("value", "Store: bound to int, which is not a Store")]


def test_duplicate_key_of_a_dict_multibinding_is_found() -> None:
    def twice(binder) -> None:
        binder.multibind(dict[str, Settings], to={"a": Settings(), "b": Settings()})
        binder.multibind(dict[str, Settings], to={"a": Settings()})

    assert problems(Container([twice])) == [
        ("duplicate", "dict[str, Settings]: bound more than once for 'a'; the last wins")
    ]


def test_elements_of_multibindings_and_refs_are_followed() -> None:
    def plugins(binder) -> None:
        binder.multibind(list[Store], to=[Store, Ref(Database)])
        binder.multibind(dict[str, Store], to={"store": Ref(Service)})

    assert [error.path for error in Container([plugins]).check()] == [
        (list[Store], Database),
        (dict[str, Store], Service),
    ]


def test_missing_root_is_found() -> None:
    assert [error.path for error in Container([], roots=[Service]).check()] == [(Service,)]


def test_similar_bindings_are_suggested() -> None:
    """A mistyped name is the usual reason."""

    class Uses:
        @inject
        def __init__(self, key: Annotated[str, "api_kee"]) -> None: ...

    def named(binder) -> None:
        binder.bind(Annotated[str, "api_key"], to="secret")

    text = problems(Container([bind(Uses), named]))[0][1]
    assert "(bound: Annotated[str, 'api_key'])" in text
    assert "secret" not in text
