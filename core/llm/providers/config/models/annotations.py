"""What the annotation of a field says: the types that it allows."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin


def members(annotation: Any) -> Iterator[Any]:
    """The types that *annotation* allows, without `None` and `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for argument in get_args(annotation):
            yield from members(argument)
    elif annotation is not type(None):
        yield annotation


def alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, each as it is written there, without `None`."""
    if get_origin(annotation) in (Union, UnionType):
        for argument in get_args(annotation):
            yield from alternatives(argument)
    elif annotation is not type(None):
        yield annotation
