"""What is wrong with a request, in words that lead to the right one."""

from difflib import get_close_matches
from typing import Final

from pydantic import ValidationError

from core.llm.providers.base.request import LLMRequest

_ELSEWHERE: Final = {
    "max_completion_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "reasoning": "thinking",
    "reasoning_effort": "thinking",
    "stop_sequences": "stop",
    "functions": "tools",
    "function_call": "tool_choice",
    "format": "response_format",
    "response_model": "response_format",
    "schema": "response_format",
    "prompt": "messages",
}
"""What other libraries and the vendors call our options."""


def problems(error: ValidationError) -> str:
    """Every field that is wrong, and why; never its value."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))}: {_why(item['type'], item['loc'], item['msg'])}"
        for item in error.errors(include_input=False, include_url=False)
    )


def _why(kind: str, place: tuple[int | str, ...], message: str) -> str:
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    return f"unknown option ({_advice(str(place[-1]))})"


def _advice(name: str) -> str:
    if name in {"system", "instructions", "system_prompt"}:
        return "make it the first message: {'role': 'system', 'content': …}"
    known = _ELSEWHERE.get(name) or next(iter(get_close_matches(name, LLMRequest.model_fields, 1, 0.7)), None)
    if known is not None:
        return f"did you mean `{known}`?"
    return f"a field of one provider goes into extra: {{'<provider>': {{'{name}': …}}}}"
