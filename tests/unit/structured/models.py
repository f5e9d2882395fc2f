"""Forty models of every kind that people ask for, each with an answer that fits and one that does not."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    RootModel,
    StringConstraints,
    computed_field,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

T = TypeVar("T")


class Flat(BaseModel):
    name: str
    age: int


class Numbers(BaseModel):
    whole: int
    real: float
    yes: bool


class Optionals(BaseModel):
    name: str
    note: str | None = None
    count: int = 3


class Street(BaseModel):
    """A street."""

    name: str
    number: int


class Nested(BaseModel):
    street: Street = Field(description="where it is")
    city: str


class Inmost(BaseModel):
    value: int


class Inner(BaseModel):
    c: Inmost


class Outer(BaseModel):
    b: Inner


class Deep(BaseModel):
    a: Outer


class ManyStreets(BaseModel):
    streets: list[Street]


class Twice(BaseModel):
    """The same model in two places."""

    home: Street
    work: Street | None


class Tree(BaseModel):
    """Refers to itself."""

    value: int
    children: list["Tree"] = []


class Chain(BaseModel):
    """Refers to itself by one link, with a description beside it."""

    value: str
    next: "Chain | None" = Field(default=None, description="what follows")


class Husband(BaseModel):
    name: str
    wife: "Wife | None" = None


class Wife(BaseModel):
    name: str
    husband: Husband | None = None


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 9


class Enums(BaseModel):
    colour: Colour
    level: Level


class Literals(BaseModel):
    size: Literal["s", "m", "l"]
    kind: Literal["only"]
    number: Literal[1, 2]


class Unions(BaseModel):
    value: int | str | bool
    place: Street | str


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Discriminated(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Zoo(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]


class Bounded(BaseModel):
    low: int = Field(ge=1, le=10)
    high: float = Field(gt=0, lt=1)
    steps: int = Field(multiple_of=5)


class Strings(BaseModel):
    code: Annotated[str, StringConstraints(min_length=2, max_length=4)]
    tag: str = Field(pattern="^[a-z]+$")


class Lists(BaseModel):
    few: list[int] = Field(min_length=1, max_length=3)
    unique: set[str]


class Dates(BaseModel):
    day: dt.date
    moment: dt.datetime
    clock: dt.time
    length: dt.timedelta


class Money(BaseModel):
    amount: Decimal
    tax: Decimal = Field(ge=0, max_digits=6, decimal_places=2)


class Identifiers(BaseModel):
    id: UUID
    link: HttpUrl


class FreeDict(BaseModel):
    scores: dict[str, int]


class DictOfModels(BaseModel):
    places: dict[str, Street]


class AnyField(BaseModel):
    data: Any
    kind: str


class OpenObject(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str


class ClosedObject(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


class Aliased(BaseModel):
    first: str = Field(alias="firstName")
    last: str = Field(validation_alias=AliasChoices("lastName", "surname"))


class Tuples(BaseModel):
    pair: tuple[int, str]
    many: tuple[float, ...]


class Point(NamedTuple):
    x: int
    y: int


class Places(BaseModel):
    at: Point


class Options(TypedDict, total=False):
    verbose: bool
    depth: int


class WithTypedDict(BaseModel):
    options: Options


@dataclass
class Item:
    name: str
    price: float


class WithDataclass(BaseModel):
    items: list[Item]


class Box(BaseModel, Generic[T]):
    content: T
    label: str


class BoxOfStreet(Box[Street]):
    pass


class Validated(BaseModel):
    """Has a rule that no schema can say."""

    start: int
    end: int

    @field_validator("start")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("start must be even")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "Validated":
        if self.end < self.start:
            raise ValueError("end comes before start")
        return self


class Computed(BaseModel):
    width: int
    height: int

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's own documentation has it
    @property
    def area(self) -> int:
        return self.width * self.height


class Names(RootModel[list[str]]):
    pass


class Streets(RootModel[list[Street]]):
    pass


class Pet(RootModel[Annotated[Cat | Dog, Field(discriminator="kind")]]):
    pass


class Scores(RootModel[dict[str, int]]):
    pass


class Score(RootModel[int]):
    pass


class Forest(RootModel[list[Tree]]):
    pass


class Empty(BaseModel):
    pass


class Unicode(BaseModel):
    größe: int  # noqa: PLC2401 - names of fields are in the language of the data
    名前: str  # noqa: PLC2401 - as above
    text: str = Field(description='with "quotes" and \\ and ünicode')


STREET = '{"name": "Elm", "number": 3}'

TABLE: tuple[tuple[type[BaseModel], str, str], ...] = (
    (Flat, '{"name": "A", "age": 3}', '{"name": "A"}'),
    (Numbers, '{"whole": 1, "real": 1.5, "yes": true}', '{"whole": 1.5, "real": 1.5, "yes": true}'),
    (Optionals, '{"name": "A", "note": null, "count": 4}', '{"name": null, "note": null, "count": 4}'),
    (Nested, f'{{"street": {STREET}, "city": "B"}}', '{"street": {"name": "Elm"}, "city": "B"}'),
    (Deep, '{"a": {"b": {"c": {"value": 1}}}}', '{"a": {"b": {"c": {"value": "x"}}}}'),
    (ManyStreets, f'{{"streets": [{STREET}, {STREET}]}}', '{"streets": [3]}'),
    (Twice, f'{{"home": {STREET}, "work": null}}', f'{{"home": null, "work": {STREET}}}'),
    (Tree, '{"value": 1, "children": [{"value": 2, "children": []}]}', '{"value": 1, "children": [{"children": []}]}'),
    (Chain, '{"value": "a", "next": {"value": "b", "next": null}}', '{"value": "a", "next": {"value": 3}}'),
    (Husband, '{"name": "H", "wife": {"name": "W", "husband": null}}', '{"name": "H", "wife": {"husband": null}}'),
    (Enums, '{"colour": "red", "level": 9}', '{"colour": "green", "level": 9}'),
    (Literals, '{"size": "m", "kind": "only", "number": 2}', '{"size": "xl", "kind": "only", "number": 2}'),
    (Unions, f'{{"value": true, "place": {STREET}}}', '{"value": [], "place": "x"}'),
    (Discriminated, '{"pet": {"kind": "cat", "lives": 9}}', '{"pet": {"kind": "cow", "lives": 9}}'),
    (Zoo, '{"pets": [{"kind": "dog", "tricks": []}, {"kind": "cat", "lives": 1}]}', '{"pets": [{"kind": "dog"}]}'),
    (Bounded, '{"low": 3, "high": 0.5, "steps": 10}', '{"low": 11, "high": 0.5, "steps": 10}'),
    (Strings, '{"code": "abc", "tag": "x"}', '{"code": "a", "tag": "x"}'),
    (Lists, '{"few": [1], "unique": ["a", "b"]}', '{"few": [], "unique": ["a"]}'),
    (
        Dates,
        '{"day": "2026-11-20", "moment": "2026-11-20T10:00:00Z", "clock": "10:00:00", "length": "PT1H"}',
        '{"day": "tomorrow", "moment": "2026-11-20T10:00:00Z", "clock": "10:00:00", "length": "PT1H"}',
    ),
    (Money, '{"amount": "12345678901234567890.12", "tax": "0.10"}', '{"amount": "1", "tax": "-0.10"}'),
    (
        Identifiers,
        '{"id": "6f2b6d6e-0a3f-4b52-9d4f-0d8d7f2c1a11", "link": "https://example.org/x"}',
        '{"id": "no", "link": "https://example.org/x"}',
    ),
    (FreeDict, '{"scores": {"a": 1, "b": 2}}', '{"scores": {"a": "x"}}'),
    (DictOfModels, f'{{"places": {{"home": {STREET}}}}}', '{"places": {"home": 1}}'),
    (AnyField, '{"data": [1, {"x": null}], "kind": "k"}', '{"data": 1}'),
    (OpenObject, '{"name": "a", "more": 1}', '{"more": 1}'),
    (ClosedObject, '{"name": "a"}', '{"name": "a", "more": 1}'),
    (Aliased, '{"firstName": "A", "lastName": "B"}', '{"first": "A", "lastName": "B"}'),
    (Tuples, '{"pair": [1, "a"], "many": [1.5, 2.5]}', '{"pair": [1], "many": []}'),
    (Places, '{"at": [1, 2]}', '{"at": [1]}'),
    (WithTypedDict, '{"options": {"verbose": true, "depth": 2}}', '{"options": {"depth": "deep"}}'),
    (WithDataclass, '{"items": [{"name": "a", "price": 1.5}]}', '{"items": [{"name": "a"}]}'),
    (BoxOfStreet, f'{{"content": {STREET}, "label": "l"}}', '{"content": {}, "label": "l"}'),
    (Validated, '{"start": 2, "end": 4}', '{"start": 4, "end": 2}'),
    (Computed, '{"width": 2, "height": 3}', '{"width": 2}'),
    (Names, '["a", "b"]', "[1]"),
    (Streets, f"[{STREET}]", "[{}]"),
    (Pet, '{"kind": "dog", "tricks": ["sit"]}', '{"kind": "dog"}'),
    (Scores, '{"a": 1}', '{"a": "x"}'),
    (Score, "7", '"seven"'),
    (Forest, '[{"value": 1, "children": []}]', '[{"children": []}]'),
    (Empty, "{}", "[]"),
    (Unicode, '{"größe": 1, "名前": "x", "text": "a\\"b"}', '{"größe": "x", "名前": "x", "text": ""}'),
)
"""Model, an answer that fits, one that does not; answers are the object itself, before anything is put around it."""
