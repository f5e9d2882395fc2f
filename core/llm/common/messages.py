"""Messages and the typed parts they are made of.

Parts are plain frozen data. Dictionaries in this shape, or in the widespread OpenAI chat shape, are accepted wherever a
message is (`message_from`).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, get_args

from pydantic_core import from_json, to_json

from core.llm.common.types import Role


@dataclass(frozen=True, slots=True)
class TextPart:
    """Plain text."""

    text: str
    type: Literal["text"] = "text"


_MEDIA_SCHEMES: Final = ("http", "https", "data", "gs", "s3")


def _names_a_file(url: str) -> bool:
    scheme, colon, _ = url.partition(":")
    return url.startswith(("/", "\\", ".")) or (bool(colon) and scheme.lower() not in _MEDIA_SCHEMES)


@dataclass(frozen=True, slots=True)
class MediaPart:
    """Bytes, a URL or a local file; exactly one of the three."""

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    path: str | None = None
    media_type: str | None = None
    """MIME type such as `image/png`; guessed from the file name or the first bytes where it is left out."""

    def __post_init__(self) -> None:
        given = [name for name in ("url", "data", "path") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{type(self).__name__} needs exactly one of url, data or path; got {', '.join(given) or 'none'}"
            )
        # An address is opened by whoever serves the model, perhaps on this very machine: it must not name its files.
        if self.url is not None and _names_a_file(self.url):
            raise ValueError(
                f"the url of {type(self).__name__} may begin with {', '.join(_MEDIA_SCHEMES)}: for a file give its path"
            )

    def base64(self) -> str:
        """The bytes in base64; only for parts that hold data."""
        if self.data is None:
            raise ValueError(f"{type(self).__name__} holds no data: load the file or pass bytes")
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True)
class ImagePart(MediaPart):
    """A picture."""

    detail: Literal["auto", "low", "high"] | None = None
    type: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class DocumentPart(MediaPart):
    """A document, such as a PDF."""

    name: str | None = None
    type: Literal["document"] = "document"


@dataclass(frozen=True, slots=True)
class AudioPart(MediaPart):
    """A sound recording."""

    type: Literal["audio"] = "audio"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to be run. Arguments come from a model: check them before you act on them."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw_arguments: str | None = None
    """The text as the model wrote it, where it is not a JSON object."""
    arguments_error: str | None = None
    """Why `arguments` could not be read; `arguments` is then empty."""
    signature: str | None = None
    """Opaque data that some providers want back with the call."""
    provider: str | None = None
    """Which provider the signature came from; no other one is sent it."""
    type: Literal["tool_call"] = "tool_call"

    @staticmethod
    def from_text(id: str, name: str, text: str, signature: str | None = None) -> "ToolCall":  # noqa: A002 - the field name
        """Build from the arguments as JSON text; text that is no JSON object is kept and flagged, never executed."""
        if not text.strip():
            return ToolCall(id, name, {}, signature=signature)
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            return ToolCall(id, name, {}, text, f"the arguments are not valid JSON: {error}", signature)
        if not isinstance(value, dict):
            return ToolCall(id, name, {}, text, "the arguments are JSON, but not an object", signature)
        return ToolCall(id, name, value, signature=signature)

    def arguments_json(self) -> str:
        """The arguments as JSON text, exactly as the model wrote them where that is known."""
        return self.raw_arguments if self.raw_arguments is not None else to_json(self.arguments).decode()


@dataclass(frozen=True, slots=True)
class ToolResultPart:
    """What a tool returned, addressed to the call that asked for it."""

    tool_call_id: str
    content: str
    name: str | None = None
    is_error: bool = False
    type: Literal["tool_result"] = "tool_result"


@dataclass(frozen=True, slots=True)
class ThinkingPart:
    """Reasoning of a model, with the opaque data its provider needs to recognise it."""

    text: str
    signature: str | None = field(default=None, repr=False)
    redacted: str | None = field(default=None, repr=False)
    """Encrypted reasoning that only its provider can read."""
    provider: str | None = None
    """Which provider it came from; foreign reasoning is never sent to another one."""
    type: Literal["thinking"] = "thinking"


Part = TextPart | ImagePart | DocumentPart | AudioPart | ToolCall | ToolResultPart | ThinkingPart

_M = TypeVar("_M", bound=MediaPart)

_ROLES: Final = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `content` is a string, or parts (or dictionaries that describe parts)."""

    role: Role
    content: str | tuple[Part, ...] = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    if TYPE_CHECKING:
        # Type checkers would take the types of the fields, which are narrower than what is accepted.
        def __init__(
            self,
            role: Role,
            content: str | Sequence[Part | str | Mapping[str, Any]] = "",
            name: str | None = None,
            tool_calls: Sequence[ToolCall | Mapping[str, Any]] = (),
            tool_call_id: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.role, str) or self.role not in _ROLES:
            raise ValueError(f"unknown role {self.role!r}: use one of {', '.join(sorted(_ROLES))}")
        if not isinstance(self.content, str):
            raw: Any = self.content
            object.__setattr__(
                self, "content", () if raw is None else tuple(part_from(part) for part in _sequence(raw))
            )
        if self.tool_calls.__class__ is not tuple or self.tool_calls:
            raw_calls: Any = self.tool_calls or ()
            if not isinstance(raw_calls, Sequence):
                raise ValueError(f"tool_calls are a list, not {type(raw_calls).__name__}")
            object.__setattr__(self, "tool_calls", tuple(_tool_call_from(call) for call in raw_calls))
        if (
            self.role == "tool"
            and self.tool_call_id is None
            and not any(isinstance(part, ToolResultPart) for part in self.parts)
        ):
            raise ValueError("a tool message needs tool_call_id: the id of the call that it answers")

    @property
    def text(self) -> str:
        """The text of the message, parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts; tool calls follow the content."""
        content: tuple[Part, ...]
        if isinstance(self.content, str):
            content = (TextPart(self.content),) if self.content else ()
        else:
            content = self.content
        return (*content, *self.tool_calls)


# Whether something is a mapping takes long to find out; nearly always it is a dictionary.
_MAPPINGS: Final = (dict, Mapping)
_PLAIN_ROLES: Final = frozenset({"system", "user", "assistant"})
# Filling the slots directly takes a third of the time of the generated constructor, and most messages are this plain.
_new = object.__new__
_set_role, _set_content, _set_name, _set_calls, _set_call_id = (
    getattr(Message, name).__set__ for name in ("role", "content", "name", "tool_calls", "tool_call_id")
)


def _plain_message(role: str, content: str) -> Message:
    message = _new(Message)
    _set_role(message, role)
    _set_content(message, content)
    _set_name(message, None)
    _set_calls(message, ())
    _set_call_id(message, None)
    return message


def message_from(value: object) -> Message:
    """A message from a message, or from a dictionary in our own or the OpenAI chat shape.

    Raises:
        ValueError: it is neither; the text names the field.
    """
    if isinstance(value, dict) and len(value) == 2:
        content, role = value.get("content"), value.get("role")
        if content.__class__ is str and role.__class__ is str and role in _PLAIN_ROLES:
            return _plain_message(role, content)
    if isinstance(value, Message):
        return value
    if not isinstance(value, _MAPPINGS):
        raise ValueError(f"a message is a Message or a dictionary, not {type(value).__name__}")
    unknown = value.keys() - _MESSAGE_KEYS
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r} in a message: known are {', '.join(sorted(_MESSAGE_KEYS))}")
    if "role" not in value:
        raise ValueError("a message needs a role")
    content = value.get("content")
    return Message(
        role=_role(value["role"]),
        content="" if content is None else content,
        name=value.get("name"),
        tool_calls=value.get("tool_calls") or (),
        tool_call_id=value.get("tool_call_id"),
    )


_MESSAGE_KEYS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "annotations", "audio"}
)


def part_from(value: object) -> Part:
    """A content part from a part, a string, or a dictionary in our own or the OpenAI chat shape.

    Raises:
        ValueError: it is none of these; the text names the kind.
    """
    if isinstance(value, str):
        return TextPart(value)
    if isinstance(value, TextPart | MediaPart | ToolCall | ToolResultPart | ThinkingPart):
        return cast("Part", value)
    if not isinstance(value, Mapping):
        raise ValueError(f"a content part is a part, a string or a dictionary, not {type(value).__name__}")
    fields = {str(key): item for key, item in value.items()}
    kind = fields.pop("type", "text" if "text" in fields else None)
    try:
        match kind:
            case "text" | "input_text" | "output_text":
                return TextPart(_text(fields["text"]))
            case "image_url":
                link = fields["image_url"]
                link = {"url": link} if isinstance(link, str) else link
                return _media(ImagePart, link["url"], detail=link.get("detail"))
            case "input_audio":
                audio = fields["input_audio"]
                return AudioPart(data=_decoded(audio["data"]), media_type=f"audio/{audio.get('format', 'wav')}")
            case "file" if isinstance(fields.get("file"), Mapping):
                file = fields["file"]
                return _media(DocumentPart, file["file_data"], name=file.get("filename"))
            case "image":
                return ImagePart(**_with_bytes(fields))
            case "document":
                return DocumentPart(**_with_bytes(fields))
            case "audio":
                return AudioPart(**_with_bytes(fields))
            case "tool_call":
                return _tool_call_from(fields)
            case "tool_result":
                return ToolResultPart(**{**fields, "content": _text(fields["content"])})
            case "thinking":
                return ThinkingPart(**fields)
            case _:
                raise ValueError(
                    f"unknown kind of content part {kind!r}: use text, image, document, audio, tool_call, "
                    "tool_result or thinking"
                )
    except KeyError as error:
        raise ValueError(f"a content part of type {kind!r} needs the field {error}") from None
    except TypeError as error:
        raise ValueError(f"a content part of type {kind!r} cannot be read: {error}") from None


def _sequence(value: Any) -> Sequence[object]:
    if isinstance(value, Mapping):
        return [value]
    if isinstance(value, Sequence):
        return value
    raise ValueError(f"message content is a string or a list of parts, not {type(value).__name__}")


def _role(value: object) -> Role:
    if value == "developer":
        return "system"
    return cast("Role", value)


def _decoded(text: str | bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the data of a content part is not valid base64") from None


def _with_bytes(fields: dict[str, Any]) -> dict[str, Any]:
    data = fields.get("data")
    return {**fields, "data": _decoded(data)} if isinstance(data, str) else fields


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the text of a content part is a string, not {type(value).__name__}")
    return value


def _media(kind: type[_M], url: object, **more: Any) -> _M:
    if not isinstance(url, str):
        raise ValueError(f"the address of a content part is a string, not {type(url).__name__}")
    if url.startswith("data:"):
        head, _, body = url[5:].partition(",")
        return kind(data=_decoded(body), media_type=head.removesuffix(";base64") or None, **more)
    return kind(url=url, **more)


def _tool_call_from(value: object) -> ToolCall:
    if isinstance(value, ToolCall):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"a tool call is a ToolCall or a dictionary, not {type(value).__name__}")
    function = value.get("function")
    source = function if isinstance(function, Mapping) else value
    name, arguments = source.get("name"), source.get("arguments", {})
    if not isinstance(name, str):
        raise ValueError("a tool call needs a name")
    identifier = str(value.get("id") or value.get("call_id") or "")
    if isinstance(arguments, str):
        call = ToolCall.from_text(identifier, name, arguments, value.get("signature"))
        provider = value.get("provider")
        return call if provider is None else replace(call, provider=provider)
    return ToolCall(identifier, name, arguments, signature=value.get("signature"), provider=value.get("provider"))
