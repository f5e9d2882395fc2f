"""Which objects the container creates, when, and what it says when it cannot."""

from typing import Annotated, NewType

import pytest
from injector import Injector, Module, NoInject, inject, provider, singleton

from core.container import Container, ContainerState, ProvisionError, Ref, lazy_singleton
from core.lifecycle import LateHook, Lifecycle, LifecycleModule

pytestmark = pytest.mark.leakcheck

ApiKey = NewType("ApiKey", str)


class Recorded:
    """A component that notes its starts on the class."""

    running: list[str] = []

    async def start(self) -> None:
        self.running.append(type(self).__name__)

    async def stop(self) -> None:
        self.running.remove(type(self).__name__)


class Poller(Recorded):
    """Needed by nobody: it works by itself."""


class Store(Recorded):
    """An interface with one implementation."""


class SqlStore(Store):
    """The implementation."""


class Failing:
    @inject
    def __init__(self, key: ApiKey) -> None:
        raise ValueError("port 99999 is out of range")


class Middle:
    @inject
    def __init__(self, failing: Failing) -> None: ...


class Top:
    @inject
    def __init__(self, middle: Middle) -> None: ...


@pytest.fixture(autouse=True)
def _nothing_runs_afterwards():
    yield
    assert Recorded.running == []


async def test_bound_singleton_is_started_though_nobody_asks_for_it() -> None:
    async with Container([lambda binder: binder.bind(Poller, scope=singleton)]):
        assert Recorded.running == ["Poller"]


async def test_lazy_singleton_is_not_created_before_it_is_asked_for() -> None:
    created: list[str] = []

    @lazy_singleton
    class Expensive:
        def __init__(self) -> None:
            created.append("Expensive")

    async with Container([lambda binder: binder.bind(Expensive)]) as container:
        assert created == []
        assert container.get(Expensive) is container.get(Expensive)
        assert created == ["Expensive"]


async def test_lc_17_component_created_after_the_start_is_refused_with_the_remedy() -> None:
    """Handing out a component that was never started would be a lie."""

    def configure(binder) -> None:
        binder.bind(Poller, scope=lazy_singleton)

    async with Container([configure]) as container:
        with pytest.raises(LateHook, match=r"Poller came after the start.*roots"):
            container.get(Poller)
    async with Container([configure], roots=[Poller]):
        assert Recorded.running == ["Poller"]


async def test_lazy_component_is_started_if_another_component_needs_it() -> None:
    class User(Recorded):
        @inject
        def __init__(self, poller: Poller) -> None: ...

    def configure(binder) -> None:
        binder.bind(User, scope=singleton)
        binder.bind(Poller, scope=lazy_singleton)

    async with Container([configure]):
        assert Recorded.running == ["Poller", "User"]


async def test_objects_without_a_scope_are_the_callers_own() -> None:
    async with Container([lambda binder: binder.bind(Poller)]) as container:
        assert container.get(Poller) is not container.get(Poller)
        assert Recorded.running == []


async def test_ready_made_object_is_started_only_if_bound_as_singleton() -> None:
    """What a host hands in without a scope stays the host's own."""
    async with Container([lambda binder: binder.bind(Poller, to=Poller())]):
        assert Recorded.running == []
    async with Container([lambda binder: binder.bind(Poller, to=Poller(), scope=singleton)]):
        assert Recorded.running == ["Poller"]


async def test_ref_gives_one_object_under_two_keys() -> None:
    def configure(binder) -> None:
        binder.bind(Store, to=Ref(SqlStore), scope=singleton)
        binder.bind(SqlStore, scope=singleton)
        binder.multibind(list[Store], to=[Ref(SqlStore)])

    async with Container([configure]) as container:
        assert container.get(Store) is container.get(SqlStore)
        assert container.get(list[Store])[0] is container.get(SqlStore)
        assert Recorded.running == ["SqlStore"]


async def test_singletons_of_a_multibinding_are_started() -> None:
    def configure(binder) -> None:
        binder.multibind(list[Recorded], to=[Poller, SqlStore], scope=singleton)
        binder.multibind(dict[str, Recorded], to={"store": Store}, scope=singleton)

    async with Container([configure]) as container:
        assert Recorded.running == ["Poller", "SqlStore", "Store"]
        assert container.get(list[Recorded])[0] is container.get(list[Recorded])[0]


async def test_annotated_and_newtype_keys_are_distinct() -> None:
    class Keys(Module):
        @singleton
        @provider
        def fast(self) -> Annotated[str, "fast"]:
            return "small"

        def configure(self, binder) -> None:
            binder.bind(ApiKey, to="key")
            binder.bind(str, to="plain")

    container = Container([Keys()])
    key: ApiKey = container.get(ApiKey)
    assert (container.get(Annotated[str, "fast"]), key, container.get(str)) == ("small", "key", "plain")


async def test_overrides_win_over_modules() -> None:
    def real(binder) -> None:
        binder.bind(str, to="real")

    def fake(binder) -> None:
        binder.bind(str, to="fake")

    assert Container([real], overrides=[fake]).get(str) == "fake"
    assert Container([fake, real]).get(str) == "real"


def test_unbound_str_is_an_error_and_not_an_empty_string() -> None:
    with pytest.raises(ProvisionError, match="str is not bound in any module"):
        Container([]).get(str)


def test_modules_do_no_work_before_the_start() -> None:
    """A container is built without an event loop and without creating anything."""
    container = Container([lambda binder: binder.bind(Poller, scope=singleton)])
    assert container.state is ContainerState.NEW


async def test_failed_constructor_is_reported_with_its_path_and_cause() -> None:
    def configure(binder) -> None:
        binder.bind(ApiKey, to="sk-secret")
        for cls in (Top, Middle, Failing):
            binder.bind(cls, scope=singleton)

    container = Container([configure])
    with pytest.raises(ProvisionError) as caught:
        await container.start()

    assert caught.value.path == [Top, Middle, Failing]
    assert isinstance(caught.value.__cause__, ValueError)
    assert str(caught.value) == (
        "Failing could not be created: ValueError: port 99999 is out of range\n  Top\n  └─ Middle\n     └─ Failing"
    )
    assert container.state is ContainerState.FAILED


def test_error_of_a_provider_call_shows_no_injected_value() -> None:
    """Injector's own CallError prints every argument; it must not even be the context."""

    class Picky:
        @inject
        def __init__(self, key: ApiKey, size: NoInject[int]) -> None: ...

    def configure(binder) -> None:
        binder.bind(ApiKey, to="sk-secret")
        binder.bind(Picky)

    with pytest.raises(ProvisionError) as caught:
        Container([configure]).get(Picky)

    chain, error = [], caught.value
    while error is not None:
        chain.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    assert "missing 1 required positional argument: 'size'" in chain[-1]
    assert "sk-secret" not in "".join(chain)


async def test_failed_constructor_leaves_nothing_started() -> None:
    def configure(binder) -> None:
        binder.bind(Poller, scope=singleton)
        binder.bind(ApiKey, to="key")
        binder.bind(Failing, scope=singleton)

    with pytest.raises(ProvisionError):
        await Container([configure]).start()
    assert Recorded.running == []


async def test_lifecycle_is_injectable_and_a_module_given_twice_changes_nothing() -> None:
    class Service(Recorded):
        @inject
        def __init__(self, lifecycle: Lifecycle) -> None:
            self.lifecycle = lifecycle

    container = Container([LifecycleModule(), lambda binder: binder.bind(Service, scope=singleton)])
    async with container:
        assert container.get(Service).lifecycle is container.lifecycle
        assert Recorded.running == ["Service"]


async def test_host_with_its_own_injector_starts_what_it_has_created() -> None:
    def configure(binder) -> None:
        binder.bind(Poller, scope=singleton)
        binder.bind(Store, to=SqlStore, scope=singleton)

    injector = Injector([configure, LifecycleModule], auto_bind=False)
    injector.get(Store)
    lifecycle = injector.get(Lifecycle)
    await lifecycle.start()
    assert Recorded.running == ["SqlStore"]
    with pytest.raises(LateHook, match=r"get it before lifecycle\.start\(\)"):
        injector.get(Poller)
    await lifecycle.stop()


async def test_child_injector_shares_and_tracks() -> None:
    """A child with a lifecycle of its own starts its own singletons and leaves the parent's alone."""
    parent = Container([lambda binder: binder.bind(Store, scope=singleton)])
    async with parent:
        child = parent.injector.create_child_injector(
            [LifecycleModule(), lambda binder: binder.bind(Poller, scope=singleton)], auto_bind=False
        )
        assert child.get(Store) is parent.get(Store)
        child.get(Poller)
        await child.get(Lifecycle).start()
        assert Recorded.running == ["Store", "Poller"]
        await child.get(Lifecycle).stop()
        assert Recorded.running == ["Store"]


async def test_container_in_a_container_is_a_component_with_its_own_limits() -> None:
    inner = Container([lambda binder: binder.bind(Poller, scope=singleton)], start_timeout=40)
    async with Container([lambda binder: binder.bind(Container, to=inner, scope=singleton)]):
        assert Recorded.running == ["Poller"]
        assert inner.start_timeout == 40
    assert inner.state is ContainerState.STOPPED


def test_a_module_alone_is_answered_with_the_list_that_is_wanted() -> None:
    """The first line that everybody writes."""

    class Alone(Module):
        """A module."""

    for modules in (Alone(), Alone, lambda binder: None):
        with pytest.raises(TypeError, match=r"Container\(\[module\]\)"):
            Container(modules)
