"""What an Ollama server accepts: field types as its Go structs have them, unknown fields ignored, null as absent."""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from typing import Any, Final


class BadRequest(Exception):
    """The server refuses with *status* and `{"error": text}`."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class ListOf:
    """An array of one shape."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


def _image(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("illegal base64 data at input byte 0") from None


def _think(value: Any) -> None:
    if not isinstance(value, bool) and value not in {"low", "medium", "high", "max"}:
        raise BadRequest(f'invalid think value: {value!r} (must be "high", "medium", "low", "max", true, or false)')


def _format(value: Any) -> None:
    if value not in {"", "json"} if isinstance(value, str) else not isinstance(value, dict):
        raise BadRequest(f'invalid format: {value!r}; expected "json" or a valid JSON Schema object')


def _keep_alive(value: Any) -> None:
    keep_alive_seconds(value)


TOOL_CALL: Final = {"id": str, "function": {"index": int, "name": str, "arguments": dict}}
MESSAGE: Final = {
    "role": str,
    "content": str,
    "thinking": str,
    "images": ListOf(_image),
    "tool_calls": ListOf(TOOL_CALL),
    "tool_name": str,
    "tool_call_id": str,
}
TOOL: Final = {
    "type": str,
    "function": {"name": str, "description": str, "parameters": {"type": str, "required": ListOf(str)}},
}
_INFERENCE: Final = {
    "model": str,
    "stream": bool,
    "format": _format,
    "keep_alive": _keep_alive,
    "options": dict,
    "think": _think,
    "truncate": bool,
    "shift": bool,
    "logprobs": bool,
    "top_logprobs": int,
}
CHAT: Final = {**_INFERENCE, "messages": ListOf(MESSAGE), "tools": ListOf(TOOL)}
GENERATE: Final = {
    **_INFERENCE,
    "prompt": str,
    "suffix": str,
    "system": str,
    "template": str,
    "context": ListOf(int),
    "raw": bool,
    "images": ListOf(_image),
}
EMBED: Final = {"model": str, "keep_alive": _keep_alive, "options": dict, "truncate": bool, "dimensions": int}
EMBEDDINGS: Final = {"model": str, "prompt": str, "keep_alive": _keep_alive, "options": dict}
NAMED: Final = {"model": str, "name": str, "stream": bool, "insecure": bool, "verbose": bool}
CREATE: Final = {
    "model": str,
    "from": str,
    "files": dict,
    "adapters": dict,
    "template": str,
    "system": str,
    "parameters": dict,
    "messages": ListOf(MESSAGE),
    "quantize": str,
    "stream": bool,
}
COPY: Final = {"source": str, "destination": str}

_GO_TYPES: Final = {str: "string", bool: "bool", int: "int", dict: "map[string]interface {}"}
_INTEGER_OPTIONS: Final = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k"}
    | {"repeat_last_n", "mirostat"}
)
_FLOAT_OPTIONS: Final = frozenset(
    {"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"}
)
_PIECE: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def check(value: Any, shape: Any, struct: str, path: str = "") -> None:
    """Refuse *value* where its type is not what *shape* says."""
    if value is None:
        return
    if isinstance(shape, ListOf):
        if not isinstance(value, list):
            raise _mismatch(value, struct, path, "[]")
        for item in value:
            check(item, shape.shape, struct, path)
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict):
            raise _mismatch(value, struct, path, "struct")
        for name, inner in shape.items():
            check(value.get(name), inner, struct, f"{path}.{name}" if path else name)
    elif isinstance(shape, type):
        good = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        if not good:
            raise _mismatch(value, struct, path, _GO_TYPES[shape])
    else:
        try:
            shape(value)
        except TypeError:
            raise _mismatch(value, struct, path, "string") from None


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of the wrong type. Unknown ones are ignored, as the server only logs them."""
    for name, value in options.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _INTEGER_OPTIONS and value is not None and not number:
            raise BadRequest(f'option "{name}" must be of type integer', 500)
        if name in _FLOAT_OPTIONS and value is not None and not number:
            raise BadRequest(f'option "{name}" must be of type float32', 500)
        if name == "stop" and (not isinstance(value, list) or not all(isinstance(item, str) for item in value)):
            raise BadRequest('option "stop" must be of an array of strings', 500)


def keep_alive_seconds(value: Any) -> float:
    """Seconds of a `keep_alive`; `inf` keeps for ever. Numbers lose their fraction, strings need a unit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.inf if value < 0 else float(int(value))
    if not isinstance(value, str):
        raise BadRequest(f"Unsupported type: {type(value).__name__!r}")
    text = value.lstrip("+-")
    if text == "0":
        return 0.0
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        digits = bool(text) and text[-1].isdigit()
        raise BadRequest(f'time: {"missing unit in" if digits else "invalid"} duration "{value}"')
    return math.inf if value.startswith("-") else sum(float(number) * _UNITS[unit] for number, unit in pieces)


def _mismatch(value: Any, struct: str, path: str, wanted: str) -> BadRequest:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    got = names.get(type(value), "value")
    return BadRequest(f"json: cannot unmarshal {got} into Go struct field {struct}.{path} of type {wanted}")
