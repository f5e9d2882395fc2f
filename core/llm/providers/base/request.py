"""What a caller asks for (`LLMRequest`), and what a provider is handed (`ChatRequest`, `EmbeddingRequest`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict, Unpack, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import Message, message_from
from core.llm.common.types import CallWarning, ModelFacts, PhaseLimits, ThinkingLevel

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool the model may ask for. The library never runs it; the caller does."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of the arguments."""
    strict: bool | None = None
    """Ask the provider to guarantee the schema where it can."""

    @staticmethod
    def from_model(
        model: type[BaseModel], *, name: str | None = None, description: str | None = None
    ) -> "ToolDefinition":
        """A tool whose arguments are the fields of a pydantic model."""
        doc = description if description is not None else (model.__doc__ or "").strip()
        return ToolDefinition(name or model.__name__, doc, model.model_json_schema())


@dataclass(frozen=True, slots=True)
class NamedTool:
    """Force the model to call the tool of this name."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


AnswerMode = Literal["auto", "native", "tool", "prompt"]
"""How an object is asked for: by the provider's own schema mode, as the arguments of a tool that must be called, in
words, or by the first of these that the model is known to take."""

ParameterPolicy = Literal["error", "warn", "drop"]
"""What happens to a parameter that a model does not take as asked: the call is refused, or goes without it. Then the
response says so; `warn` also writes a line to the log."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The shape the answer must have: any JSON object (`schema` is `None`), or JSON that fits a schema."""

    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    strict: bool = True
    model: type[BaseModel] | None = None
    """The pydantic model the schema was made from; answers are validated against it."""
    mode: AnswerMode = "auto"

    def plain_name(self, longest: int = 64) -> str:
        """Its name in letters that every provider takes."""
        return _NOT_IN_NAMES.sub("_", self.name)[:longest] or "answer"


MessagesInput = str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
"""What a request takes for its messages."""

ToolInput = ToolDefinition | type[BaseModel] | Mapping[str, Any]


class ObjectOptions(TypedDict, total=False):
    """The keywords of `generate_object` and `stream_object`: `LLMRequest` says what each of them means."""

    model: str | None
    provider: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    thinking: ThinkingLevel | int | None
    parameter_policy: ParameterPolicy | None
    timeout: float | None
    cost_limit: float | None
    cache: bool | Literal["refresh", "only"] | None
    metadata: Mapping[str, Any]
    user: str | None
    extra: Mapping[str, Mapping[str, Any]]


class RequestOptions(ObjectOptions, total=False):
    """The keywords of a call: every field of `LLMRequest` but its messages."""

    tools: Sequence[ToolInput] | None
    response_format: ResponseFormat | type[BaseModel] | Mapping[str, Any] | Literal["json", "json_object"] | None


def _messages(value: object) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("user", value),)
    if value.__class__ is list or value.__class__ is tuple:
        return _listed(cast("Sequence[object]", value))
    if isinstance(value, Message | Mapping):
        return (message_from(value),)
    if not isinstance(value, Sequence):
        raise ValueError(f"messages are a string or a list of messages, not {type(value).__name__}")
    return _listed(value)


def _listed(values: Sequence[object]) -> tuple[Message, ...]:
    if not values:
        raise ValueError("a request needs at least one message")
    return tuple([message_from(item) for item in values])


def _tool(value: object) -> ToolDefinition:
    if isinstance(value, ToolDefinition):
        return value
    if isinstance(value, type) and issubclass(value, BaseModel):
        return ToolDefinition.from_model(value)
    if not isinstance(value, Mapping):
        raise ValueError("a tool is a ToolDefinition, a pydantic model class or a dictionary with name and parameters")
    inner = value.get("function")
    source = inner if isinstance(inner, Mapping) else value
    if not isinstance(source.get("name"), str):
        raise ValueError("a tool needs a name")
    schema = source.get("parameters", source.get("input_schema"))
    if schema is None:
        return ToolDefinition(source["name"], source.get("description") or "", strict=source.get("strict"))
    return ToolDefinition(source["name"], source.get("description") or "", schema, source.get("strict"))


def _tools(value: object) -> tuple[ToolDefinition, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence):
        raise ValueError("tools are a list")
    tools = tuple(_tool(item) for item in value)
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two tools are named {name!r}")
    return tools


def _tool_choice(value: object) -> ToolChoice | None:
    if value is None or isinstance(value, NamedTool):
        return value
    if isinstance(value, str):
        return cast("ToolChoice", value) if value in {"auto", "none", "required"} else NamedTool(value)
    if isinstance(value, Mapping):
        inner = value.get("function")
        name = inner.get("name") if isinstance(inner, Mapping) else value.get("name")
        if isinstance(name, str):
            return NamedTool(name)
    raise ValueError("tool_choice is auto, none, required, or the name of a tool")


def _response_format(value: object) -> ResponseFormat | None:
    if value is None or isinstance(value, ResponseFormat):
        return value
    if isinstance(value, type) and issubclass(value, BaseModel):
        return ResponseFormat(value.model_json_schema(), value.__name__, model=value)
    if value in ("json", "json_object"):
        return ResponseFormat()
    if isinstance(value, Mapping):
        inner = value.get("json_schema")
        if isinstance(inner, Mapping):
            return ResponseFormat(
                inner.get("schema") or {}, inner.get("name") or "answer", inner.get("strict") is not False
            )
        if value.get("type") in {"json_object", "json"} and len(value) == 1:
            return ResponseFormat()
        if value.get("type") == "text" and len(value) == 1:
            return None
        return ResponseFormat(value, str(value.get("title") or "answer"))
    raise ValueError("response_format is a JSON schema, a pydantic model class, or 'json'")


def _stop(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence):
        raise ValueError("stop is a text or a list of texts")
    texts = (value,) if isinstance(value, str) else tuple(value)
    if "" in texts:
        raise ValueError("an empty stop text would end every answer before it begins")
    return texts


def _thinking(value: object) -> ThinkingLevel | int | None:
    if value is None or value in get_args(ThinkingLevel):
        return cast("ThinkingLevel | None", value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"thinking is one of {', '.join(get_args(ThinkingLevel))}, or a positive token budget")


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    """What all requests share that bring nothing."""
    return _NOTHING


class LLMRequest(BaseModel):
    """One call, the same for every provider. `None` means *not sent*: the provider's own default applies."""

    # Built with the first request, not when the library is imported.
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True, defer_build=True
    )

    messages: Annotated[tuple[Message, ...], PlainValidator(_messages)]
    model: str | None = None
    """An alias, `provider/model`, or a model name; `None` is the default model of the configuration."""
    provider: str | None = None
    """Keep to this provider; its own chain of fallbacks does not apply."""
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    """Upper bound of generated tokens, whatever the provider calls it."""
    stop: Annotated[tuple[str, ...] | None, BeforeValidator(_stop)] = None
    seed: int | None = None
    frequency_penalty: float | None = Field(default=None, allow_inf_nan=False)
    presence_penalty: float | None = Field(default=None, allow_inf_nan=False)
    tools: Annotated[tuple[ToolDefinition, ...] | None, PlainValidator(_tools)] = None
    tool_choice: Annotated[ToolChoice | None, PlainValidator(_tool_choice)] = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[ResponseFormat | None, PlainValidator(_response_format)] = None
    thinking: Annotated[ThinkingLevel | int | None, PlainValidator(_thinking)] = None
    parameter_policy: ParameterPolicy | None = None
    """`None` is the policy of the configuration."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for the whole call, every attempt and fallback included."""
    cost_limit: float | None = Field(default=None, ge=0)
    """Refuse the call when it may cost more than this, in the configured currency."""
    cache: bool | Literal["refresh", "only"] | None = None
    """`None`: as configured. `True`, `False`: on, off. `refresh`: ask anew and keep the answer. `only`: an answer that
    is kept already, or `NotCached`."""
    metadata: Mapping[str, Any] = Field(default_factory=_nothing)
    """The caller's own data; comes back on the response and is never sent."""
    user: str | None = None
    extra: Mapping[str, Mapping[str, Any]] = Field(default_factory=_nothing)
    """Raw body fields by provider name: `{"openai": {"service_tier": "flex"}}`; sent to that provider only."""

    if TYPE_CHECKING:
        # Type checkers would take the types of the fields, which are narrower than what is accepted.
        def __init__(self, *, messages: MessagesInput, **options: Unpack[RequestOptions]) -> None: ...


_CHECKED_LATER: Final = frozenset({"response_format"})
"""Whatever became of it on the way, the answer is held to it in the end."""


@dataclass(slots=True)
class ChatRequest:
    """What a provider is handed: one attempt at one model.

    Nothing in it may be changed but `answer_headers`, and `warnings`: a provider adds what it could not honour.
    """

    provider: str
    """The configured name of the provider."""
    model: str
    """The provider's own name of the model."""
    params: LLMRequest
    messages: tuple[Message, ...]
    facts: ModelFacts
    limits: PhaseLimits
    api_key: str | None = field(default=None, repr=False)
    """The credential chosen for this attempt; `None` where the provider needs none."""
    stream: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Raw body fields for this provider, from the request and the YAML."""
    warnings: list[CallWarning] = field(default_factory=list)
    policy: ParameterPolicy = "warn"
    """What to do about a parameter that the model does not take."""
    answer_headers: Mapping[str, str] | None = field(default=None, repr=False)
    """Set by a provider that speaks HTTP: the headers of the answer, by names in lower case."""
    prefilled: bool = False
    """Whether the last message is the beginning of the answer; set only where the facts say `prefill: true`."""

    def warn(
        self, code: Literal["dropped", "renamed", "clamped", "emulated", "other"], parameter: str, message: str
    ) -> None:
        """Report that *parameter* could not be honoured as asked.

        Raises:
            UnsupportedFeature: the caller would rather have no answer than one without it.
        """
        if self.policy == "error" and code in {"dropped", "clamped"} and parameter not in _CHECKED_LATER:
            raise UnsupportedFeature(
                f"{self.provider}/{self.model}: {message} (parameter_policy is 'error': take {parameter} out of the "
                "request, choose another model, or set the policy to 'warn')"
            )
        self.warnings.append(CallWarning(code, message, parameter))

    def warn_of_ending(self) -> None:
        """Report the day on which the model is shut down, where it is known."""
        ending = self.facts.ending(self.model)
        if ending is not None:
            self.warnings.append(CallWarning("deprecated", ending, "model"))


@dataclass(slots=True)
class EmbeddingRequest:
    """Texts to turn into vectors, in order."""

    provider: str
    model: str
    inputs: tuple[str, ...]
    limits: PhaseLimits
    dimensions: int | None = None
    api_key: str | None = field(default=None, repr=False)
    user: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    answer_headers: Mapping[str, str] | None = field(default=None, repr=False)
    """As in `ChatRequest`."""
