"""The form in which an object is asked for. Pure.

Vendors want an object at the root. Whatever else a model may be at its root (a list, a union, a number) is asked for as
the only property of an object, and taken out of it again before anybody sees it.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, PydanticUserError, create_model

from core.llm.common.exceptions import RequestError
from core.llm.providers.base.request import AnswerMode, ResponseFormat

WRAPPER: Final = "answer"
"""The property that holds what is no object by itself."""


def answer_format(model: type[BaseModel], mode: AnswerMode = "auto") -> ResponseFormat:
    """What to ask for so that the answer can become a *model*.

    Raises:
        RequestError: it is no pydantic model, or no JSON schema can be made of it.
    """
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise RequestError(
            "an object is asked for by a class that derives from pydantic.BaseModel: hand over such a one; for a list "
            "or a union derive from pydantic.RootModel[…]"
        )
    schema = _schema(model)
    return ResponseFormat(schema, model.__name__, model=model, mode=mode)


def in_an_object(wanted: ResponseFormat) -> ResponseFormat:
    """*wanted* with an object at the root of its schema; only where a model is there to read the answer by."""
    if wanted.model is None or wanted.schema is None or is_object(wanted.schema):
        return wanted
    return replace(wanted, schema=_wrapped(wanted.schema))


def is_object(schema: Mapping[str, Any]) -> bool:
    """Whether everything that fits *schema* is an object, as far as the root says so."""
    node: Any = schema
    for _ in range(10):
        reference = node.get("$ref")
        if not isinstance(reference, str):
            break
        name = reference.removeprefix("#/$defs/")
        node = schema.get("$defs", {}).get(name)
        if not isinstance(node, Mapping):
            return False
    return bool(node.get("type") == "object")


@lru_cache(maxsize=256)
def wrapper_of(model: type[BaseModel]) -> type[BaseModel] | None:
    """A model of an object whose only property is a *model*; `None` where *model* is an object already."""
    if is_object(_schema(model)):
        return None
    wrapper: type[BaseModel] = create_model(f"{model.__name__}Answer", **{WRAPPER: (model, ...)})  # type: ignore[call-overload]  # the name of the field is a constant
    return wrapper


def _wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {WRAPPER: inner},
        "required": [WRAPPER],
        "additionalProperties": False,
    }
    if "$defs" in schema:
        outer["$defs"] = schema["$defs"]
    return outer


@lru_cache(maxsize=256)
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticUserError as error:
        # Also raised for types that JSON cannot hold, such as a callable.
        reason = str(error).splitlines()[0]
        raise RequestError(f"no JSON schema can be made of {model.__name__}: {reason}") from None
