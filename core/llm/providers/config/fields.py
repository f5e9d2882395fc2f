"""What the models say about a place in the tree: which keys may stand there, and which values are secret."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from core.llm.providers.config.models.annotations import members
from core.llm.providers.config.tree import Node, Path


def children(annotation: Any, step: str | int) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The annotations that a value at *step* below *annotation* may have, and what limits them."""
    for member in members(annotation):
        origin = get_origin(member)
        if isinstance(member, type) and issubclass(member, BaseModel):
            if step in member.model_fields:
                info = member.model_fields[str(step)]
                yield info.annotation, tuple(info.metadata)
            elif isinstance(step, int) and (short := getattr(member, "shorthand", None)):
                yield from children(member.model_fields[short].annotation, step)
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            yield get_args(member)[1], ()
        elif origin in (tuple, list, frozenset, set):
            # A mapping in the place of a list is its only item.
            yield from [(get_args(member)[0], ())] if isinstance(step, int) else children(get_args(member)[0], step)


def models_at(root: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that a value at *path* below *root* may be."""
    found: list[Any] = [root]
    for step in path:
        found = [child for annotation in found for child, _ in children(annotation, step)]
    return [model for annotation in found for model in _models(annotation)]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for member in members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member
        elif get_origin(member) in (tuple, list, frozenset, set):
            yield from _models(get_args(member)[0])


def field_at(root: type[BaseModel], path: Path) -> FieldInfo | None:
    """The field at *path*, where it is a field of a model."""
    if not path:
        return None
    for model in models_at(root, path[:-1]):
        if path[-1] in model.model_fields:
            return model.model_fields[str(path[-1])]
    return None


@dataclass(slots=True)
class SecretShape:
    """Where the secrets are below one annotation."""

    scalar: bool = False
    """The value itself is one."""
    fields: dict[str, "SecretShape"] = field(default_factory=dict)
    each: "SecretShape | None" = None
    """Every value of a mapping, or item of a list."""

    def __bool__(self) -> bool:
        return self.scalar or bool(self.fields) or self.each is not None


def _shape(annotation: Any) -> SecretShape:
    shape = SecretShape()
    for member in members(annotation):
        origin = get_origin(member)
        if member in (SecretStr, SecretBytes):
            shape.scalar = True
        elif isinstance(member, type) and issubclass(member, BaseModel):
            shape.fields.update(secret_shape(member).fields)
            shape.scalar = shape.scalar or getattr(member, "is_secret_itself", False)
        elif (isinstance(origin, type) and issubclass(origin, Mapping)) or origin in (tuple, list, frozenset, set):
            shape.each = (
                _shape(get_args(member)[-1 if origin not in (tuple, list, frozenset, set) else 0]) or shape.each
            )
    return shape


@cache
def secret_shape(model: type[BaseModel]) -> SecretShape:
    """Where the secrets are in *model*."""
    shapes = {name: _shape(info.annotation) for name, info in model.model_fields.items()}
    return SecretShape(fields={name: shape for name, shape in shapes.items() if shape})


def secret_nodes(node: Node, shape: SecretShape, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every node below *node* that stands where a secret belongs."""
    # `{env: NAME}` is a secret as well, in a place for one or for a mapping that holds one.
    itself = shape.scalar and isinstance(node.value, dict) and shape.fields.keys().isdisjoint(node.value)
    if isinstance(node.value, dict) and (shape.fields or shape.each) and not itself:
        for key, child in node.value.items():
            below = shape.fields.get(key, shape.each)
            if below:
                yield from secret_nodes(child, below, (*path, key))
    elif isinstance(node.value, list) and shape.each:
        for index, child in enumerate(node.value):
            yield from secret_nodes(child, shape.each, (*path, index))
    elif shape.scalar:
        yield path, node


def is_secret(model: type[BaseModel], path: Path) -> bool:
    """True where *path* below *model* is, or is below, a place for a secret."""
    shape: SecretShape | None = secret_shape(model)
    for step in path:
        if not shape:
            return False
        if shape.scalar:
            return True
        shape = shape.fields.get(str(step), shape.each)
    return shape is not None and (shape.scalar or shape.each is not None)
