"""What OpenAI's servers accept, and the words in which they refuse the rest."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Refused(Exception):
    """The server answers with *status* and an error object."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


@dataclass(frozen=True, slots=True)
class Family:
    """What the models whose names begin alike take. No efforts: they do not reason."""

    prefix: str
    efforts: tuple[str, ...] = ()
    default: str = "none"
    samples: bool = True
    """Temperature and its kin, while the model does not think; never where this is false."""
    chat_tools: bool = True
    """Tools on Chat Completions while the model thinks."""


_ALWAYS: Final = ("low", "medium", "high", "xhigh")
_FROM_NONE: Final = ("none", *_ALWAYS)
FAMILIES: Final = (
    Family("gpt-6-astra", _ALWAYS, "medium", samples=False, chat_tools=False),
    Family("gpt-6.1-sol", _ALWAYS, "medium", samples=False, chat_tools=False),
    Family("gpt-6", _FROM_NONE, "medium", samples=False, chat_tools=False),
    Family("gpt-5.5", _FROM_NONE, "medium", chat_tools=False),
    Family("gpt-5.6", _FROM_NONE, "medium", chat_tools=False),
    Family("gpt-5.4", _FROM_NONE, "none", chat_tools=False),
    Family("gpt-5.1", ("none", "low", "medium", "high")),
    Family("gpt-5.2", _FROM_NONE),
    Family("gpt-5-pro", ("high",), "high", samples=False),
    Family("gpt-5", ("minimal", "low", "medium", "high"), "medium", samples=False),
    Family("o3", ("low", "medium", "high"), "medium", samples=False),
    Family(""),
)
"""The first row that fits counts."""

SAMPLING: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs")


def family_of(model: str) -> Family:
    """The family of *model*."""
    return next(family for family in FAMILIES if model.startswith(family.prefix))


def check_fields(body: Mapping[str, Any], known: Mapping[str, Any], where: str = "") -> None:
    """Refuse fields that are not *known*, and values that are not of the known types; null counts as absent."""
    for name, value in body.items():
        path = f"{where}.{name}" if where else name
        if name not in known:
            raise Refused(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
        kinds = known[name]
        wrong = isinstance(value, bool) and bool not in (kinds if isinstance(kinds, tuple) else (kinds,))
        if value is not None and (wrong or not isinstance(value, kinds)):
            raise Refused(f"Invalid type for '{path}': got {type(value).__name__} instead.", path, "invalid_type")


def need(value: Any, *path: str) -> Any:
    """*value*, which must be there."""
    if value is None:
        name = ".".join(path)
        raise Refused(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    return value


def check_model(body: Mapping[str, Any], effort: str | None, path: str) -> str:
    """The effort with which the model of *body* thinks.

    Raises:
        Refused: the model does not know *effort*, or takes no sampling parameters with it.
    """
    model: str = body["model"]
    family = family_of(model)
    if effort is not None and effort not in family.efforts:
        if not family.efforts:
            raise Refused(
                f"Unsupported parameter: '{path}' is not supported with this model.", path, "unsupported_parameter"
            )
        raise Refused(
            f"Unsupported value: '{path}' does not support '{effort}' with the '{model}' model. Supported values are: "
            f"{', '.join(map(repr, family.efforts))}.",
            path,
            "unsupported_value",
        )
    effective = effort or family.default
    for name in SAMPLING:
        plain = family.samples and (effective == "none" and (name in {"temperature", "top_p", "logprobs"}))
        if body.get(name) is not None and family.efforts and not plain:
            raise Refused(
                f"Unsupported parameter: '{name}' is not supported with this model.", name, "unsupported_parameter"
            )
    return effective


def check_function(function: Mapping[str, Any], path: str) -> str:
    """The name of a function a model may call."""
    name: str = need(function.get("name"), path, "name")
    if not NAME.fullmatch(name):
        raise Refused(
            f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            f"{path}.name",
            "invalid_value",
        )
    if function.get("strict"):
        check_strict(function.get("parameters") or {}, f"{path}.parameters", f"function '{name}'")
    return name


def check_choice(body: Mapping[str, Any], names: Sequence[str], named: str | None) -> None:
    """Refuse a choice among tools that are not there."""
    for field in ("tool_choice", "parallel_tool_calls"):
        if body.get(field) is not None and not names and body.get(field) not in {"none", "auto"}:
            raise Refused(f"'{field}' is only allowed when 'tools' are specified.", field)
    if named is not None and named not in names:
        raise Refused(f"Tool choice '{named}' not found in 'tools' parameter.", "tool_choice")
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in {"auto", "none", "required"}:
        raise Refused(f"Invalid value: '{choice}'.", "tool_choice", "invalid_value")


def check_strict(schema: Mapping[str, Any], path: str, context: str) -> None:
    """Refuse a schema that breaks the rules of strict mode."""
    for node in _nodes(schema):
        refused = next((word for word in ("allOf", "not", "oneOf", "propertyNames", "if") if word in node), None)
        if refused is not None:
            raise Refused(f"Invalid schema for {context}: '{refused}' is not permitted.", path, "invalid_json_schema")
        if node.get("type") != "object" and "properties" not in node:
            continue
        if node.get("additionalProperties") is not False:
            raise Refused(
                f"Invalid schema for {context}: 'additionalProperties' is required to be supplied and to be false.",
                path,
                "invalid_json_schema",
            )
        missing = set(node.get("properties", {})) - set(node.get("required", ()))
        if missing:
            raise Refused(
                f"Invalid schema for {context}: 'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing '{min(missing)}'.",
                path,
                "invalid_json_schema",
            )


def _nodes(schema: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(schema, Mapping):
        return
    yield schema
    for key in ("properties", "$defs", "definitions"):
        for child in (schema.get(key) or {}).values():
            yield from _nodes(child)
    yield from _nodes(schema.get("items"))
    for child in schema.get("anyOf") or ():
        yield from _nodes(child)
