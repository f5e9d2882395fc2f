"""Estimates of token counts where nobody has counted: a likely value, and a bound that is surely not too high."""

from core.llm.providers.base.request import LLMRequest

_BYTES_PER_TOKEN = 4
# No common tokenizer packs ordinary text tighter than this on average.
_BYTES_PER_TOKEN_AT_MOST = 10
_PER_MESSAGE = 4
# What vendors charge for a picture differs widely; this is in the middle.
_PER_MEDIUM = 800


def estimate_text(text: str) -> int:
    """Likely number of tokens of *text*."""
    return 0 if not text else max(1, len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def estimate_input(request: LLMRequest) -> int:
    """Likely number of prompt tokens of *request*."""
    tokens = 0
    for message in request.messages:
        tokens += _PER_MESSAGE + estimate_text(message.text)
        if not isinstance(message.content, str):
            for part in message.content:
                if part.type in {"image", "document", "audio"}:
                    tokens += _PER_MEDIUM
                elif part.type == "tool_result":
                    tokens += estimate_text(part.content)
        tokens += sum(estimate_text(call.name + call.arguments_json()) for call in message.tool_calls)
    for tool in request.tools or ():
        tokens += estimate_text(f"{tool.name}{tool.description}{tool.parameters}")
    return tokens


def least_input(request: LLMRequest) -> int:
    """A number of prompt tokens that *request* surely has; used to refuse what cannot fit."""
    size = sum(len(message.text) for message in request.messages)
    return size // _BYTES_PER_TOKEN_AT_MOST
