"""A conversation as the model's own chat template writes it. Runs in the worker only: templates come with models.

transformers renders them in Jinja's immutable sandbox. What that does not bound is how long they run and how much they
write.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Final, TypeVar

from jinja2.exceptions import TemplateError

from core.llm.transport.worker_main import EngineError

SECONDS: Final = 5.0
"""How long a template may run."""
CHARACTERS: Final = 64 * 2**20
"""How much it may write."""
_T = TypeVar("_T")


class _TooLong(BaseException):
    """Passes whatever a template, or what it calls, catches."""


def render(tokenizer: Any, body: Mapping[str, Any], template: str | None) -> str:
    """The prompt for the request *body*, which is in the OpenAI format.

    Raises:
        EngineError: the model has no template, or its template refuses the conversation, or it never ends.
    """
    template = template or tokenizer.chat_template
    if not template:
        raise EngineError(
            "invalid_request",
            "this model has no chat template: set `chat_template` or `prompt_format` for it",
            code="no_chat_template",
        )
    tools = body.get("tools") if body.get("tool_choice") != "none" else None
    if tools and isinstance(template, str) and "tools" not in template:
        raise EngineError("invalid_request", "the chat template of this model knows no tools", code="unsupported")
    goes_on = bool(body.get("continue_final_message"))
    extra = {str(name): value for name, value in (body.get("chat_template_kwargs") or {}).items()}
    try:
        text = within(
            SECONDS,
            lambda: tokenizer.apply_chat_template(
                conversation(body["messages"]),
                tools=list(tools) if tools else None,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=not goes_on,
                continue_final_message=goes_on,
                **extra,
            ),
        )
    except _TooLong:
        raise EngineError(
            "invalid_request", f"the chat template ran for more than {SECONDS:g} s and was stopped", code="template"
        ) from None
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # A template tells by an exception what it does not take, such as a system message.
        said = " ".join(str(error).split())[:300]
        raise EngineError(
            "invalid_request", f"the chat template refuses the messages: {said}", code="template"
        ) from None
    if len(text) > CHARACTERS:
        raise EngineError("invalid_request", f"the chat template wrote {len(text)} characters", code="template")
    return str(text)


def conversation(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """*messages* as templates expect them: texts are strings, arguments are objects.

    Raises:
        EngineError: a part is no text.
    """
    return [_message(message) for message in messages]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(message)
    content = out.get("content")
    if isinstance(content, list):
        if any(part.get("type") != "text" for part in content):
            raise EngineError("invalid_request", "this model takes text only", code="unsupported")
        out["content"] = "\n".join(part["text"] for part in content)
    elif content is None:
        out["content"] = ""
    if calls := out.get("tool_calls"):
        out["tool_calls"] = [{**call, "function": _function(call["function"])} for call in calls]
    return out


def _function(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            return dict(function)
    return {**function, "arguments": arguments}


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """What *work* returns; stopped by a `_TooLong` between two lines of Python when the time is up."""
    end = time.monotonic() + seconds

    def watch(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG001 - as the interpreter calls it
        if time.monotonic() > end:
            raise _TooLong
        return watch

    sys.settrace(watch)
    try:
        return work()
    finally:
        sys.settrace(None)
