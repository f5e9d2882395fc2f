"""A conversation as one text, for models and servers that have no chat template of their own.

A format is four pieces of text around each turn, with `{text}` for what was said and nothing else to fill in: there is
no template language, so nothing in a configuration or a message can run or loop.
"""

import re
from typing import Annotated, Final, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import Message, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.config.models.frozen import Frozen

_PLACE: Final = "{text}"
_CONTROL: Final = re.compile(r"<\|[^|>\s]+\|>|</?[a-z_]+>|\[/?[A-Z_]+\]")
"""What a tokenizer may take for one token with a meaning, such as the end of a turn."""


class PromptFormat(Frozen):
    """How each turn is written. The beginning-of-text token is not part of it: engines add that themselves."""

    system: str = Field(default="{text}\n\n", description="A system message; `{text}` is what it says.")
    user: str = Field(description="A message of the user, or the result of a tool.")
    assistant: str = Field(description="An earlier answer of the model.")
    suffix: str = Field(default="", description="What follows the last message and makes the model answer.")
    stop: tuple[str, ...] = Field(default=(), description="Texts that end an answer.")
    system_in_user: bool = Field(
        default=False,
        description="The model knows no system turn: `system` goes into the message of the user that follows.",
    )

    @field_validator("system", "user", "assistant")
    @classmethod
    def _has_one_place(cls, value: str) -> str:
        if value.count(_PLACE) != 1:
            raise ValueError(f"must hold {_PLACE} once: that is where the message goes")
        return value

    @field_validator("suffix")
    @classmethod
    def _has_no_place(cls, value: str) -> str:
        if _PLACE in value:
            raise ValueError(f"must not hold {_PLACE}: it opens the answer, which is not there yet")
        return value


def _format(system: str, user: str, assistant: str, suffix: str, *stop: str, inside: bool = False) -> PromptFormat:
    return PromptFormat(system=system, user=user, assistant=assistant, suffix=suffix, stop=stop, system_in_user=inside)


def _turn(opening: str, closing: str) -> str:
    return f"{opening}{_PLACE}{closing}"


_LLAMA: Final = "<|start_header_id|>{}<|end_header_id|>\n\n"


def _builtin(name: str) -> PromptFormat | None:
    match name:
        case "chatml":
            turns = (_turn(f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant"))
            return _format(*turns, "<|im_start|>assistant\n", "<|im_end|>")
        case "llama3":
            turns = (_turn(_LLAMA.format(role), "<|eot_id|>") for role in ("system", "user", "assistant"))
            return _format(*turns, _LLAMA.format("assistant"), "<|eot_id|>")
        case "mistral":
            return _format("{text}\n\n", "[INST] {text}[/INST]", " {text}</s>", "", "</s>", inside=True)
        case "gemma":
            turns = (_turn(f"<start_of_turn>{role}\n", "<end_of_turn>\n") for role in ("user", "model"))
            return _format("{text}\n\n", *turns, "<start_of_turn>model\n", "<end_of_turn>", inside=True)
        case "alpaca":
            instruction, answer = "### Instruction:\n", "### Response:\n"
            return _format("{text}\n\n", _turn(instruction, "\n\n"), _turn(answer, "\n\n"), answer, "### Instruction:")
        case "plain":
            return _format("{text}\n\n", "User: {text}\n", "Assistant: {text}\n", "Assistant:", "\nUser:")
    return None


FormatName = Literal["chatml", "llama3", "mistral", "gemma", "alpaca", "plain"]
BUILTIN_FORMATS: Final[tuple[FormatName, ...]] = get_args(FormatName)


def _named(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _builtin(value)
    if found is None:
        raise ValueError(
            f"unknown prompt format {value!r}: use one of {', '.join(BUILTIN_FORMATS)}, or write your own as "
            "{user: …, assistant: …, suffix: …}"
        )
    return found


ConfiguredPromptFormat = Annotated[
    PromptFormat, BeforeValidator(_named, json_schema_input_type=FormatName | PromptFormat)
]
"""In a configuration: the name of a format, or one of your own."""


def render_prompt(request: ChatRequest, wanted: PromptFormat, *, preface: str = "") -> str:
    """The messages of *request* as one prompt, which ends where the answer begins, or where its given beginning ends.

    Text that would be read as a mark of the format is broken up by a space, so that no message can end its own turn.
    Tool calls and results of earlier turns are told in words; that, and marks that were broken, is reported. *preface*
    is one more system message, before all others.

    Raises:
        ProviderError: `invalid_request`, code `unsupported`: a message holds what no text can carry.
    """
    marks = _marks(wanted)
    turns: list[str] = []
    waiting = _filled(wanted.system, preface) if preface else ""
    if waiting and not wanted.system_in_user:
        turns.append(waiting)
        waiting = ""
    told = broken = False
    messages, begun = request.messages, ""
    if request.prefilled:
        # The beginning of the answer is the model's own text: it stands as it was written, where an answer stands.
        messages, begun = messages[:-1], messages[-1].text
    for message in messages:
        text, words = _text(request, message)
        told = told or words
        clean = marks.sub(_broken_up, text) if marks is not None else text
        broken = broken or clean != text
        if message.role == "system":
            if wanted.system_in_user:
                waiting += _filled(wanted.system, clean)
            else:
                turns.append(_filled(wanted.system, clean))
        elif message.role == "assistant":
            turns.append(_filled(wanted.assistant, clean))
        else:
            turns.append(_filled(wanted.user, waiting + clean))
            waiting = ""
    if waiting:
        turns.append(_filled(wanted.user, waiting))
    if told:
        request.warn(
            "emulated", "messages", "a prompt format knows no tools: earlier calls and results are told in words"
        )
    if broken:
        request.warn("other", "messages", "text that looks like a mark of the prompt format was broken up by a space")
    return "".join(turns) + wanted.suffix + begun


def refuse_features(request: ChatRequest) -> None:
    """Refuse what a plain prompt cannot ask for, and warn about what it cannot honour.

    Raises:
        ProviderError: `invalid_request`, code `unsupported`: the request has tools.
    """
    params = request.params
    if params.tools and params.tool_choice != "none":
        raise _unsupported(request, "a provider with a `prompt_format` cannot offer tools to the model")
    if params.thinking not in {None, "off"}:
        request.warn("dropped", "thinking", "a prompt format cannot switch thinking on")


def _filled(turn: str, text: str) -> str:
    opening, _, closing = turn.partition(_PLACE)
    return f"{opening}{text}{closing}"


def _marks(wanted: PromptFormat) -> re.Pattern[str] | None:
    frame = (wanted.system, wanted.user, wanted.assistant, wanted.suffix, *wanted.stop)
    found = {mark for text in frame for mark in _CONTROL.findall(text)}
    return re.compile("|".join(map(re.escape, sorted(found)))) if found else None


def _broken_up(found: "re.Match[str]") -> str:
    mark = found[0]
    return f"{mark[0]} {mark[1:]}"


def _text(request: ChatRequest, message: Message) -> tuple[str, bool]:
    """What *message* says, and whether something that is no text had to be told in words."""
    if isinstance(message.content, str) and not message.tool_calls and message.role != "tool":
        return message.content, False
    said: list[str] = []
    words = message.role == "tool"
    for part in message.parts:
        match part:
            case TextPart():
                said.append(part.text)
            case ThinkingPart():
                pass  # earlier thoughts belong to the turn that thought them
            case ToolCall():
                said.append(f"[called {part.name} with {part.arguments_json()}]")
                words = True
            case ToolResultPart():
                said.append(part.content)
                words = True
            case _:
                raise _unsupported(
                    request, f"a provider with a `prompt_format` takes text only, not a part of type {part.type!r}"
                )
    text = "\n".join(said)
    return (f"[result of {message.name or 'the tool'}: {text}]" if message.role == "tool" else text), words


def _unsupported(request: ChatRequest, message: str) -> ProviderError:
    return ProviderError(
        "invalid_request",
        message,
        code="unsupported",
        scope="model",
        provider=request.provider,
        model=request.model,
    )
