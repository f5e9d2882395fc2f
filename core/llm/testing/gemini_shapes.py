"""What the Gemini API accepts: fields and types as its protocol buffers have them, and the rules between them."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_FUNCTION_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_NAMING: Final = re.compile(r"_([a-z0-9])")
_OPENAPI_TYPES: Final = frozenset(
    {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL", "TYPE_UNSPECIFIED"}
)
SKIP_SIGNATURES: Final = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
"""Signatures that Google documents for calls that another model made."""


class BadRequest(Exception):
    """The server refuses with *status* and Google's error object."""

    def __init__(
        self, text: str, status: int = 400, word: str = "INVALID_ARGUMENT", details: Sequence[Any] = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.word = word
        self.details = list(details)


class ListOf:
    """An array of one shape."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


class OneOf:
    """One of the words of an enum."""

    def __init__(self, *words: str) -> None:
        self.words = frozenset(words)


NUMBER: Final = (int, float)
ANYTHING: Final = object()

_BLOB: Final = {"mimeType": str, "data": "bytes", "displayName": str}
_FILE: Final = {"mimeType": str, "fileUri": str, "displayName": str}
_FUNCTION_CALL: Final = {"id": str, "name": str, "args": dict}
_FUNCTION_RESPONSE: Final = {
    "id": str,
    "name": str,
    "response": dict,
    "parts": ListOf({"inlineData": _BLOB, "fileData": _FILE}),
    "willContinue": bool,
    "scheduling": str,
}
_DATA: Final = {
    "text": str,
    "inlineData": _BLOB,
    "fileData": _FILE,
    "functionCall": _FUNCTION_CALL,
    "functionResponse": _FUNCTION_RESPONSE,
    "executableCode": dict,
    "codeExecutionResult": dict,
}
_PART: Final = {
    **_DATA,
    "thought": bool,
    "thoughtSignature": "bytes",
    "videoMetadata": dict,
    "mediaResolution": ANYTHING,
}
CONTENT: Final = {"role": str, "parts": ListOf(_PART)}
_SCHEMA: Final[dict[str, Any]] = {
    "type": OneOf(*_OPENAPI_TYPES), "format": str, "title": str, "description": str, "nullable": bool,
    "enum": ListOf(str), "maxItems": ANYTHING, "minItems": ANYTHING, "required": ListOf(str),
    "minProperties": ANYTHING, "maxProperties": ANYTHING, "minLength": ANYTHING, "maxLength": ANYTHING, "pattern": str,
    "example": ANYTHING, "propertyOrdering": ListOf(str), "default": ANYTHING, "minimum": NUMBER, "maximum": NUMBER,
}  # fmt: skip
_SCHEMA["items"] = _SCHEMA
_SCHEMA["anyOf"] = ListOf(_SCHEMA)
_SCHEMA["properties"] = ("map", _SCHEMA)
_GENERATION: Final = {
    "candidateCount": int, "stopSequences": ListOf(str), "maxOutputTokens": int, "temperature": NUMBER, "topP": NUMBER,
    "topK": NUMBER, "seed": int, "responseMimeType": str, "responseSchema": _SCHEMA, "responseJsonSchema": ANYTHING,
    "presencePenalty": NUMBER, "frequencyPenalty": NUMBER, "responseLogprobs": bool, "logprobs": int,
    "responseModalities": ListOf(str), "speechConfig": dict, "mediaResolution": str, "imageConfig": dict,
    "thinkingConfig": {
        "includeThoughts": bool,
        "thinkingBudget": int,
        "thinkingLevel": OneOf("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"),
    },
}  # fmt: skip
_TOOL: Final = {
    "functionDeclarations": ListOf(
        {"name": str, "description": str, "parameters": _SCHEMA, "parametersJsonSchema": dict, "response": _SCHEMA,
         "responseJsonSchema": dict, "behavior": str}
    ),
    "googleSearch": dict, "codeExecution": dict, "urlContext": dict, "fileSearch": dict,
}  # fmt: skip
GENERATE: Final = {
    "model": str,
    "contents": ListOf(CONTENT),
    "systemInstruction": CONTENT,
    "tools": ListOf(_TOOL),
    "toolConfig": {
        "functionCallingConfig": {
            "mode": OneOf("AUTO", "ANY", "NONE", "VALIDATED"),
            "allowedFunctionNames": ListOf(str),
            "streamFunctionCallArguments": bool,
        },
        "retrievalConfig": dict,
    },
    "safetySettings": ListOf({"category": str, "threshold": str, "method": str}),
    "generationConfig": _GENERATION,
    "cachedContent": str,
    "labels": dict,
    "modelArmorConfig": dict,
    "serviceTier": str,
}
COUNT: Final = {**GENERATE, "generateContentRequest": GENERATE}
EMBED: Final = {"model": str, "content": CONTENT, "taskType": str, "title": str, "outputDimensionality": int}
BATCH_EMBED: Final = {"requests": ListOf(EMBED)}
PREDICT: Final = {"instances": ListOf({"content": str, "task_type": str, "title": str}), "parameters": dict}


def checked(value: Any, shape: Any, where: str = "") -> Any:
    """*value* with its fields in camel case.

    Raises:
        BadRequest: a field is unknown, or of another type; in Google's words.
    """
    if shape is ANYTHING:
        return value
    if isinstance(shape, ListOf):
        if not isinstance(value, list):
            raise _invalid(where, value)
        return [checked(item, shape.shape, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(shape, OneOf):
        if not isinstance(value, str) or value.upper() not in shape.words:
            raise _invalid(where, value)
        return value.upper()
    if shape == "bytes":
        return _bytes(value, where)
    if isinstance(shape, Mapping):
        return _object(value, shape, where)
    if isinstance(shape, tuple) and shape and shape[0] == "map":
        if not isinstance(value, dict):
            raise _invalid(where, value)
        return {name: checked(item, shape[1], f"{where}[{name}]") for name, item in value.items()}
    if not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        raise _invalid(where, value)
    return value


def check_generate(body: Mapping[str, Any], *, demands_signatures: bool, tools_with_schema: bool) -> None:
    """The rules between the fields of a `generateContent` request, already `checked`.

    Raises:
        BadRequest: one is broken.
    """
    contents = body.get("contents") or []
    if not contents:
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified\n")
    for content in contents:
        _check_content(content)
    _check_turns(contents, demands_signatures=demands_signatures)
    config = body.get("generationConfig", {})
    thinking = config.get("thinkingConfig", {})
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise BadRequest("You can only set only one of thinking budget and thinking level.")
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise BadRequest("Only one of response_schema and response_json_schema may be set.")
    if ("responseSchema" in config or "responseJsonSchema" in config) and "responseMimeType" not in config:
        raise BadRequest("response_mime_type must be set to application/json to use a response schema")
    if len(config.get("stopSequences", [])) > 5:
        raise BadRequest("The number of stop sequences must be at most 5")
    declared = _declared(body.get("tools", []))
    if declared and config.get("responseMimeType") == "application/json" and not tools_with_schema:
        raise BadRequest("Function calling with a response mime type: 'application/json' is unsupported")
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = calling.get("allowedFunctionNames", [])
    if allowed and calling.get("mode") not in {"ANY", "VALIDATED"}:
        raise BadRequest("allowed_function_names should only be set when mode is ANY or VALIDATED")
    for name in allowed:
        if name not in declared:
            raise BadRequest(f"allowed_function_names contains an undeclared function: {name}")


def _declared(tools: Sequence[Mapping[str, Any]]) -> set[str]:
    names: set[str] = set()
    for tool in tools:
        for function in tool.get("functionDeclarations", []):
            name = function.get("name", "")
            if not _FUNCTION_NAME.fullmatch(name):
                raise BadRequest(f"Invalid function name: {name!r}. Must start with a letter or an underscore.")
            if name in names:
                raise BadRequest(f"Duplicate function declaration found: {name}")
            if "parameters" in function and "parametersJsonSchema" in function:
                raise BadRequest("Only one of parameters and parameters_json_schema may be set.")
            names.add(name)
    return names


def _check_content(content: Mapping[str, Any]) -> None:
    if content.get("role", "user") not in {"user", "model", "function"}:
        raise BadRequest("Please use a valid role: user, model.")
    parts = content.get("parts") or []
    if not parts:
        raise BadRequest("* GenerateContentRequest.contents.parts: contents.parts must not be empty.\n")
    for part in parts:
        kinds = [key for key in part if key in _DATA]
        if len(kinds) != 1:
            raise BadRequest("contents.parts.data: required oneof field 'data' must have one initialized field")
        if kinds[0] in {"inlineData", "fileData"} and not part[kinds[0]].get("mimeType"):
            raise BadRequest("mime_type is required")
        if kinds[0] in {"functionCall", "functionResponse"} and not part[kinds[0]].get("name"):
            raise BadRequest(f"{kinds[0]}.name: Name cannot be empty.")


def _check_turns(contents: Sequence[Mapping[str, Any]], *, demands_signatures: bool) -> None:
    asked: list[Mapping[str, Any]] = []
    for content in contents:
        parts = content["parts"]
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if len(answers) != len(asked):
            raise BadRequest(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if sorted(one["name"] for one in answers) != sorted(one["name"] for one in asked):
            raise BadRequest("Please ensure that function response names match those of the function call turn.")
        calls = [part for part in parts if "functionCall" in part]
        if calls and content.get("role") != "model":
            raise BadRequest("Please ensure that function call turn comes from the model.")
        if calls and demands_signatures and "thoughtSignature" not in calls[0]:
            raise BadRequest("Function call is missing a thought_signature in functionCall parts.")
        asked = [part["functionCall"] for part in calls]
    if contents[0].get("role") == "model" and any("functionCall" in part for part in contents[0]["parts"]):
        raise BadRequest("Please ensure that function call turn comes immediately after a user turn.")


def _object(value: Any, shape: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(where, value)
    out: dict[str, Any] = {}
    for name, item in value.items():
        field = name if name in shape else _NAMING.sub(lambda match: match[1].upper(), name)
        if field not in shape:
            place = f" at '{_snake(where)}'" if where else ""
            raise BadRequest(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')
        if item is not None:
            out[field] = checked(item, shape[field], f"{where}.{field}" if where else field)
    return out


def _bytes(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _invalid(where, value)
    text = value.replace("-", "+").replace("_", "/")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"Invalid value at '{_snake(where)}' (TYPE_BYTES), Base64 decoding failed") from None
    return value


def _invalid(where: str, value: Any) -> BadRequest:
    return BadRequest(f"Invalid value at '{_snake(where)}', {str(value)[:60]!r}")


def _snake(where: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), where)
