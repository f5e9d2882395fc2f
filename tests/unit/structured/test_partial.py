"""Objects while they grow."""

import pytest
from pydantic import BaseModel, Field

from core.llm.structured.partial import PartialReader, partial_object
from tests.unit.structured.models import TABLE, Chain, Discriminated, Dog, Flat, ManyStreets, Names, Optionals, Unicode


def grown(model: type[BaseModel], text: str) -> list[BaseModel]:
    """Every partial object, letter by letter."""
    reader = PartialReader(model)
    return [partial for letter in text if (partial := reader.add(letter)) is not None]


@pytest.mark.parametrize(("model", "good", "_bad"), [pytest.param(*row, id=row[0].__name__) for row in TABLE])
def test_every_model_grows_without_an_error(model: type[BaseModel], good: str, _bad: str) -> None:
    """Letter by letter, and never anything but the model."""
    assert all(isinstance(partial, model) for partial in grown(model, good))


def test_fields_appear_in_order_and_texts_grow() -> None:
    """What has not arrived is None, or its default."""
    seen: list[object] = [
        (one.name, one.age) for one in grown(Flat, '{"name": "Ann", "age": 31}') if isinstance(one, Flat)
    ]
    assert seen[:4] == [(None, None), ("", None), ("A", None), ("An", None)]
    assert seen[-1] == ("Ann", 31)
    optional = partial_object(Optionals, {"name": "A"})
    assert optional is not None
    assert (optional.note, optional.count, optional.model_fields_set) == (None, 3, {"name"})


def test_items_of_lists_and_members_of_unions_grow_too() -> None:
    """A union shows itself by the fields that have arrived."""
    streets = partial_object(ManyStreets, {"streets": [{"name": "Elm", "number": 1}, {"name": "Oa"}]})
    assert streets is not None
    assert [one.name for one in streets.streets] == ["Elm", "Oa"]
    pet = partial_object(Discriminated, {"pet": {"kind": "dog", "tricks": ["si"]}})
    assert pet is not None
    assert pet.pet == Dog(kind="dog", tricks=["si"])
    chain = partial_object(Chain, {"value": "a", "next": {"value": "b"}})
    assert chain is not None
    assert chain.next is not None
    assert chain.next.value == "b"


def test_what_does_not_fit_yet_is_left_out() -> None:
    """Half a word of an enumeration is no word of it."""
    assert partial_object(Flat, {"name": 3, "age": "x"}).model_fields_set == set()  # type: ignore[union-attr]  # a Flat
    assert partial_object(Flat, [1]) is None


def test_wrapping_fences_and_prose_are_no_part_of_it() -> None:
    """Whatever stands before the object."""
    assert grown(Names, 'Sure:\n```json\n{"answer": ["a", "b"]}\n```')[-1] == Names(["a", "b"])
    assert grown(Unicode, '{"größe": 1, "名前": "x", "text": "t"}')[-1].model_fields_set == {"größe", "名前", "text"}


def test_aliases_are_the_names_that_arrive() -> None:
    """The field has its own name in the object."""

    class Person(BaseModel):
        first: str = Field(alias="firstName")

    assert partial_object(Person, {"firstName": "A"}).first == "A"  # type: ignore[union-attr]  # a Person


def test_long_answers_are_not_read_again_at_every_letter() -> None:
    """The work grows with the length, not with its square."""
    text = '{"name": "' + "x" * 60_000 + '"}'
    assert 100 < len(grown(Flat, text)) < 1_000
