"""What Bedrock refuses: the shapes of its service model, and its rules about conversations.

A check takes a value and the path to it, and raises `Refused` where the service would answer with a
`ValidationException`.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]


class Refused(Exception):
    """The request is not as the service wants it."""


def _text(most: int | None = None, pattern: str | None = None, *, blank: bool = True) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise Refused(f"{path}: expected a string")
        if not blank and not value.strip():
            raise Refused(f"The text field in the ContentBlock object at {path} is blank.")
        if most is not None and not 1 <= len(value) <= most:
            raise Refused(f"{path}: length must be between 1 and {most}")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise Refused(f"{path}: {value!r} does not match {pattern}")

    return check


def _one_of(*words: str) -> Check:
    def check(value: Any, path: str) -> None:
        if value not in words:
            raise Refused(f"{path}: {value!r} is none of {', '.join(words)}")

    return check


def _number(low: float, high: float, *, whole: bool = False) -> Check:
    def check(value: Any, path: str) -> None:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise Refused(f"{path}: {value!r} is not between {low} and {high}")

    return check


def _blob(value: Any, path: str) -> None:
    try:
        if not isinstance(value, str) or not b64decode(value, validate=True):
            raise ValueError
    except ValueError:
        raise Refused(f"{path}: expected bytes in base64") from None


def _flag(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise Refused(f"{path}: expected true or false")


def _object(value: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        raise Refused(f"{path}: expected an object")


def _list(item: Check, *, least: int = 0) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise Refused(f"{path}: expected a list of at least {least}")
        for number, one in enumerate(value):
            item(one, f"{path}.{number}")

    return check


def _struct(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    known = {**required, **(optional or {})}

    def check(value: Any, path: str) -> None:
        _object(value, path)
        for name in required:
            if name not in value:
                raise Refused(f"{path}.{name}: is required")
        for name, one in value.items():
            if name not in known:
                raise Refused(f"Malformed input request: {path}: extraneous key [{name}] is not permitted")
            known[name](one, f"{path}.{name}")

    return check


def _union(members: Mapping[str, Check]) -> Check:
    shape = _struct({}, members)

    def check(value: Any, path: str) -> None:
        shape(value, path)
        if len(value) != 1:
            raise Refused(f"{path}: exactly one of {', '.join(members)} must be set")

    return check


_S3 = _struct({"uri": _text(pattern=r"s3://.+")}, {"bucketOwner": _text()})
_SOURCE = _union({"bytes": _blob, "s3Location": _S3})
_IMAGE = _struct({"format": _one_of("png", "jpeg", "gif", "webp"), "source": _SOURCE})
_DOCUMENT = _struct(
    {
        "format": _one_of("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
        "name": _text(200, r"(?!.*\s\s)[A-Za-z0-9()\[\]\s-]+"),
        "source": _SOURCE,
    }
)
_AUDIO = _struct(
    {"format": _one_of("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "webm"), "source": _SOURCE}
)
_TOOL_ID = _text(64, r"[a-zA-Z0-9_.:-]+")
_TOOL_NAME = _text(64, r"[a-zA-Z0-9_-]+")
_CACHE_POINT = _struct({"type": _one_of("default")}, {"ttl": _one_of("5m", "1h")})
_GUARD = _union({"text": _struct({"text": _text(blank=False)}, {"qualifiers": _list(_text())}), "image": _IMAGE})
_TOOL_USE = _struct({"toolUseId": _TOOL_ID, "name": _TOOL_NAME, "input": _object})
_TOOL_RESULT = _struct(
    {
        "toolUseId": _TOOL_ID,
        "content": _list(_union({"text": _text(blank=False), "json": _object, "image": _IMAGE, "document": _DOCUMENT})),
    },
    {"status": _one_of("success", "error")},
)
_REASONING = _union(
    {
        "reasoningText": _struct({"text": _text(), "signature": _text(blank=False)}),
        "redactedContent": _blob,
    }
)
_CONTENT = _union(
    {
        "text": _text(blank=False), "image": _IMAGE, "document": _DOCUMENT, "audio": _AUDIO, "toolUse": _TOOL_USE,
        "toolResult": _TOOL_RESULT, "guardContent": _GUARD, "cachePoint": _CACHE_POINT, "reasoningContent": _REASONING,
    }
)  # fmt: skip
_MESSAGE = _struct({"role": _one_of("user", "assistant"), "content": _list(_CONTENT, least=1)})
_TOOL_SPEC = _struct(
    {"name": _TOOL_NAME, "inputSchema": _union({"json": _object})},
    {"description": _text(blank=False), "strict": _flag},
)
_TOOL_CONFIG = _struct(
    {"tools": _list(_union({"toolSpec": _TOOL_SPEC, "cachePoint": _CACHE_POINT}), least=1)},
    {"toolChoice": _union({"auto": _struct({}), "any": _struct({}), "tool": _struct({"name": _TOOL_NAME})})},
)
_OUTPUT = _struct(
    {},
    {
        "textFormat": _struct(
            {
                "type": _one_of("json_schema"),
                "structure": _union(
                    {"jsonSchema": _struct({"schema": _text()}, {"name": _text(), "description": _text()})}
                ),
            }
        ),
        "effort": _one_of("low", "medium", "high", "xhigh", "max"),
    },
)
_SHARED = {
    "messages": _list(_MESSAGE, least=1),
    "system": _list(_union({"text": _text(blank=False), "guardContent": _GUARD, "cachePoint": _CACHE_POINT})),
    "toolConfig": _TOOL_CONFIG,
    "additionalModelRequestFields": _object,
}
_GUARDRAIL = _struct(
    {"guardrailIdentifier": _text(2048), "guardrailVersion": _text(pattern=r"[1-9][0-9]{0,7}|DRAFT")},
    {"trace": _one_of("enabled", "disabled", "enabled_full"), "streamProcessingMode": _one_of("sync", "async")},
)
_CONVERSE = _struct(
    {"messages": _SHARED["messages"]},
    {
        **_SHARED,
        "inferenceConfig": _struct(
            {},
            {
                "maxTokens": _number(1, 10**7, whole=True),
                "temperature": _number(0, 1),
                "topP": _number(0, 1),
                "stopSequences": _list(_text(blank=True)),
            },
        ),
        "guardrailConfig": _GUARDRAIL,
        "outputConfig": _OUTPUT,
        "additionalModelResponseFieldPaths": _list(_text()),
        "requestMetadata": _object,
        "performanceConfig": _struct({}, {"latency": _one_of("standard", "optimized")}),
        "serviceTier": _struct({"type": _text()}),
    },
)
_COUNT = _struct({"input": _union({"converse": _struct({"messages": _SHARED["messages"]}, _SHARED)})})


def check_converse(body: Any, *, stream: bool) -> None:
    """Refuse *body* where Converse would.

    Raises:
        Refused: with the service's reason.
    """
    _CONVERSE(body, "#")
    if not stream and "streamProcessingMode" in body.get("guardrailConfig", {}):
        raise Refused("#.guardrailConfig: extraneous key [streamProcessingMode] is not permitted")
    _conversation(body)


def check_count(body: Any) -> None:
    """Refuse *body* where CountTokens would.

    Raises:
        Refused: with the service's reason.
    """
    _COUNT(body, "#")
    _conversation(body["input"]["converse"])


def _conversation(body: Mapping[str, Any]) -> None:
    messages = body["messages"]
    if messages[0]["role"] != "user":
        raise Refused("A conversation must start with a user message. Try again with a conversation that does.")
    names: list[str] = []
    asked: list[str] = []
    for number, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if number and messages[number - 1]["role"] == role:
            raise Refused(f"messages.{number}: roles must alternate between user and assistant")
        kinds = [next(iter(block)) for block in content]
        foreign = {"toolUse", "reasoningContent"} if role == "user" else {"toolResult", "image", "document", "audio"}
        if found := foreign.intersection(kinds):
            raise Refused(f"messages.{number}: {', '.join(sorted(found))} is not allowed for the role {role}")
        results = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
        if sorted(results) != sorted(asked):
            raise Refused(
                f"messages.{number}: Expected toolResult blocks for the following Ids: {', '.join(asked) or 'none'}; "
                f"found {', '.join(results) or 'none'}"
            )
        if results and kinds[: len(results)] != ["toolResult"] * len(results):
            raise Refused(f"messages.{number}: tool results must come first")
        asked = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
        if len(set(asked)) != len(asked):
            raise Refused(f"messages.{number}: toolUseIds must be unique")
        names += [block["document"]["name"] for block in content if "document" in block]
        if "document" in kinds and not {"text", "guardContent"}.intersection(kinds):
            raise Refused(f"messages.{number}: a text block is required with a document")
    if asked:
        raise Refused(f"Expected toolResult blocks for the following Ids: {', '.join(asked)}")
    if len(set(names)) != len(names):
        raise Refused("document names must be unique")
    _tool_config(body)


def _tool_config(body: Mapping[str, Any]) -> None:
    config = body.get("toolConfig")
    blocks = {next(iter(block)) for message in body["messages"] for block in message["content"]}
    if config is None:
        if blocks & {"toolUse", "toolResult"}:
            raise Refused("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        return
    tools = [tool["toolSpec"]["name"] for tool in config["tools"] if "toolSpec" in tool]
    if not tools or len(set(tools)) != len(tools):
        raise Refused("toolConfig.tools: names must be unique, and there must be one")
    forced = config.get("toolChoice", {}).get("tool")
    if forced is not None and forced["name"] not in tools:
        raise Refused(f"toolConfig.toolChoice: there is no tool {forced['name']!r}")
