"""What is sent to each endpoint of Ollama's API.

A field that is `None` or left out is not sent. An unknown field is refused, because Ollama would silently ignore it.
`stream` is set by the client's method, so callers leave it alone.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.llm.providers.ollama.keep_alive import checked_keep_alive

ThinkLevel = Literal["low", "medium", "high", "max"]
Think = bool | ThinkLevel

KeepAlive = Annotated[int | float | str, AfterValidator(checked_keep_alive)]
"""Seconds as a number (negative: for ever, 0: unload at once), or a Go duration such as `5m`."""


def _image(value: object) -> object:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


Image = Annotated[str, BeforeValidator(_image)]
"""A picture in base64; bytes are encoded. URLs are not understood by Ollama."""


class OllamaModel(BaseModel):
    """Base of everything that is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: item for name, item in value.items() if item is not None}
        return value

    def to_json(self) -> bytes:
        """The request body: exactly the fields that were set."""
        return self.model_dump_json(exclude_unset=True, by_alias=True).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Read a request body.

        Raises:
            ValueError: it is not JSON, has an unknown field, or one of the wrong type.
        """
        return cls.model_validate_json(data)


class _Streamed(OllamaModel):
    stream: bool | None = None

    def streamed(self, stream: bool) -> Self:
        """The same request with the answer in one piece, or as a stream."""
        return self.model_copy(update={"stream": stream})


class ToolCallFunction(OllamaModel):
    """The function that the model wants to be called."""

    name: str
    arguments: Mapping[str, Any] = Field(default_factory=dict)
    """An object, never JSON text."""
    index: int | None = None
    description: str | None = None


class ToolCall(OllamaModel):
    """A tool call in the history of a conversation."""

    function: ToolCallFunction
    id: str | None = None
    type: Literal["function"] | None = None


class ChatMessage(OllamaModel):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    images: Sequence[Image] | None = None
    tool_calls: Sequence[ToolCall] | None = None
    tool_name: str | None = None
    """On role `tool`: whose result this is."""
    tool_call_id: str | None = None


class ToolFunction(OllamaModel):
    """Name, purpose and JSON schema of a tool."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


class Tool(OllamaModel):
    """A tool the model may ask for."""

    function: ToolFunction
    type: Literal["function"] = "function"

    @model_validator(mode="before")
    @classmethod
    def _say_the_type(cls, value: Any) -> Any:
        return {"type": "function", **value} if isinstance(value, Mapping) else value


class _Inference(_Streamed):
    model: str = Field(min_length=1)
    format: Literal["json", ""] | Mapping[str, Any] | None = None
    """`json`, or a JSON schema that the answer must fit."""
    options: Mapping[str, Any] | None = None
    """Load options (`num_ctx`, `num_gpu` …) and sampling options (`temperature`, `num_predict` …)."""
    keep_alive: KeepAlive | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    truncate: bool | None = None
    """`False`: a prompt longer than the context is an error instead of being cut."""
    shift: bool | None = None
    """`False`: stop at the end of the context instead of forgetting its beginning."""


class ChatRequest(_Inference):
    """`POST /api/chat`. Without messages it loads the model (or unloads it, with `keep_alive=0`)."""

    messages: Sequence[ChatMessage] = ()
    tools: Sequence[Tool] | None = None


class GenerateRequest(_Inference):
    """`POST /api/generate`. Without a prompt it loads the model (or unloads it, with `keep_alive=0`)."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: Sequence[int] | None = None
    raw: bool | None = None
    images: Sequence[Image] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class EmbedRequest(OllamaModel):
    """`POST /api/embed`: normalised vectors for one or many texts."""

    model: str = Field(min_length=1)
    input: str | Sequence[str]
    truncate: bool | None = None
    dimensions: int | None = Field(default=None, ge=1)
    options: Mapping[str, Any] | None = None
    keep_alive: KeepAlive | None = None


class EmbeddingsRequest(OllamaModel):
    """`POST /api/embeddings`: the older endpoint; one text, and the vector is not normalised."""

    model: str = Field(min_length=1)
    prompt: str | None = None
    options: Mapping[str, Any] | None = None
    keep_alive: KeepAlive | None = None


class ShowRequest(OllamaModel):
    """`POST /api/show`."""

    model: str = Field(min_length=1)
    verbose: bool | None = None
    """Include the long arrays of the model's metadata, such as the vocabulary."""


class PullRequest(_Streamed):
    """`POST /api/pull`. A pull that was cut continues where it stopped when it is asked for again."""

    model: str = Field(min_length=1)
    insecure: bool | None = None


class PushRequest(_Streamed):
    """`POST /api/push`."""

    model: str = Field(min_length=1)
    insecure: bool | None = None


class CreateRequest(_Streamed):
    """`POST /api/create`: a new model from another one, or from files uploaded as blobs before."""

    model: str = Field(min_length=1)
    from_: str | None = Field(default=None, alias="from")
    files: Mapping[str, str] | None = None
    """Digest by file name; upload each with `OllamaClient.upload_blob` first."""
    adapters: Mapping[str, str] | None = None
    template: str | None = None
    license: str | Sequence[str] | None = None
    system: str | None = None
    parameters: Mapping[str, Any] | None = None
    messages: Sequence[ChatMessage] | None = None
    quantize: str | None = None


class CopyRequest(OllamaModel):
    """`POST /api/copy`."""

    source: str = Field(min_length=1)
    destination: str = Field(min_length=1)


class DeleteRequest(OllamaModel):
    """`DELETE /api/delete`."""

    model: str = Field(min_length=1)
