"""The private parts of injector that core/injection.py reads; a new release that moves one of them fails here."""

import injector
import pytest
from injector import Binder, Injector, InstanceProvider, SingletonScope, inject, singleton

from core.container import Ref
from core.injection import Recipe, eager_keys, explicit_bindings, map_keys, recipes


class Part:
    """Something to bind."""


class Needy:
    @inject
    def __init__(self, part: Part) -> None:
        raise TypeError("raised by the constructor")


def make() -> Part:
    return Part()


def test_bindings_are_listed_in_order_without_implicit_ones_scopes_and_injectors_own() -> None:
    def configure(binder: Binder) -> None:
        binder.bind(Needy, scope=singleton)
        binder.bind(Part, to=make)

    owner = Injector([configure], auto_bind=False)
    owner.get(Part)
    owner.get(injector.ProviderOf[Part])
    owner.binder.get_binding(SingletonScope)

    assert list(explicit_bindings(owner)) == [Needy, Part]
    assert eager_keys(owner) == [Needy]


@pytest.mark.parametrize(
    ("to", "recipe"),
    [
        (Part, Recipe(calls=Part.__init__, owner=Part)),
        (make, Recipe(calls=make)),
        (Ref(Needy), Recipe(needs=(Needy,))),
    ],
    ids=["class", "callable", "own"],
)
def test_each_kind_of_provider_shows_what_it_will_call(to: object, recipe: Recipe) -> None:
    owner = Injector([lambda binder: binder.bind(Part, to=to)], auto_bind=False)
    assert list(recipes(explicit_bindings(owner)[Part])) == [recipe]


def test_instance_provider_shows_its_value() -> None:
    part = Part()
    assert [recipe.value for recipe in recipes(InstanceProvider(part))] == [part]


def test_multibindings_show_their_elements() -> None:
    def configure(binder: Binder) -> None:
        binder.multibind(list[Part], to=[Part, make])
        binder.multibind(dict[str, Part], to={"a": Part})
        binder.multibind(dict[str, Part], to={"a": make}, scope=singleton)

    owner = Injector([configure], auto_bind=False)
    listed, mapped = explicit_bindings(owner).values()
    assert [recipe.calls for recipe in recipes(listed)] == [Part.__init__, make]
    assert [recipe.calls for recipe in recipes(mapped)] == [Part.__init__, make]
    assert map_keys(mapped) == ["a", "a"]
    assert eager_keys(owner) == [dict[str, Part]]


def test_call_error_holds_the_original_error_at_the_place_where_we_look() -> None:
    original = TypeError("raised by the constructor")
    error = injector.CallError(Part(), make, (), {}, original, ())
    assert error.args[4] is original


def test_scope_asks_the_provider_once_for_each_object() -> None:
    """The start order is the order in which a scope asks providers."""
    asked: list[str] = []

    class Asked(injector.Provider):
        def get(self, injector: Injector) -> Part:
            asked.append("get")
            return Part()

    owner = Injector([lambda binder: binder.bind(Part, to=Asked(), scope=singleton)], auto_bind=False)
    assert owner.get(Part) is owner.get(Part)
    assert asked == ["get"]
