"""Whether a model can take a request at all: what must fail is never sent. Pure.

Only what is certain is a reason: facts that nobody knows refuse nothing, and a prompt counts with the tokens that it
surely has.
"""

from collections.abc import Sequence
from typing import Final

from core.llm.common.messages import AudioPart, DocumentPart, ImagePart
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.base.request import LLMRequest, ParameterPolicy, ResponseFormat
from core.llm.routing.tokens import least_input

_NAMES: dict[Capability, str] = {
    "tools": "tools",
    "vision": "images",
    "documents": "documents",
    "audio": "audio",
    "stream": "streaming",
    "embeddings": "embeddings",
    "chat": "chat",
}
_CHARACTERS_PER_TOKEN_AT_MOST: Final = 10


def needs(request: LLMRequest, mode: str) -> tuple[Capability, ...]:
    """What *request* asks of a model, and no other way of asking can replace."""
    if mode == "embed":
        return ("embeddings",)
    found: list[Capability] = ["chat"]
    if mode == "stream":
        found.append("stream")
    if request.tools:
        found.append("tools")
    for message in request.messages:
        if message.content.__class__ is str:
            continue
        for part in message.content:
            if isinstance(part, ImagePart):
                found.append("vision")
            elif isinstance(part, DocumentPart):
                found.append("documents")
            elif isinstance(part, AudioPart):
                found.append("audio")
    return tuple(dict.fromkeys(found))


def misfit(
    request: LLMRequest,
    mode: str,
    facts: ModelFacts,
    *,
    inputs: Sequence[str] = (),
    dimensions: int | None = None,
    policy: ParameterPolicy = "warn",
) -> str | None:
    """Why a model with *facts* cannot take *request*; `None` where nothing speaks against it.

    Args:
        request: what is asked, the defaults of alias and model included.
        mode: how it is asked: generate, stream or embed.
        facts: what is known about the model.
        inputs: the texts to embed.
        dimensions: the length of vectors that is asked for.
        policy: what happens to a parameter that the model does not take as asked.
    """
    if facts.capabilities:
        for capability in needs(request, mode):
            if facts.lacks(capability):
                return f"the model does not support {_NAMES[capability]}"
    if mode == "embed":
        return _bad_inputs(inputs, facts) or _bad_length(dimensions, facts)
    return (
        _does_not_fit(request, facts)
        or (None if request.response_format is None else _no_such_form(request.response_format, facts))
        or (_would_be_shortened(request, facts) if policy == "error" else None)
    )


def output_cap(request: LLMRequest, facts: ModelFacts) -> int | None:
    """The bound of generated tokens that is sent: never more than the model can generate."""
    asked, most = request.max_tokens, facts.max_output_tokens
    return most if asked is not None and most is not None and asked > most else asked


def _does_not_fit(request: LLMRequest, facts: ModelFacts) -> str | None:
    window = facts.context_window
    if window is None:
        return None
    least = least_input(request)
    if least > window:
        return f"the prompt has at least {least} tokens, the context window is {window}"
    answer = output_cap(request, facts)
    if answer is not None and least + answer > window:
        return (
            f"the prompt has at least {least} tokens and max_tokens is {answer}: together more than the context "
            f"window of {window}"
        )
    return None


def _no_such_form(wanted: ResponseFormat, facts: ModelFacts) -> str | None:
    """Only a way of asking that the request insists on can be missing; otherwise there is always another."""
    if wanted.mode == "native" and facts.lacks("json_schema" if wanted.schema is not None else "json"):
        return "the model has no structured output of its own: use mode 'auto'"
    if wanted.mode == "tool" and facts.lacks("tools"):
        return "the model does not support tools: use mode 'auto'"
    return None


def _would_be_shortened(request: LLMRequest, facts: ModelFacts) -> str | None:
    most = facts.max_output_tokens
    if most is not None and request.max_tokens is not None and request.max_tokens > most:
        return f"max_tokens is {request.max_tokens}, the model generates at most {most} (parameter_policy is 'error')"
    return None


def _bad_inputs(inputs: Sequence[str], facts: ModelFacts) -> str | None:
    window = facts.context_window
    if window is None or not inputs:
        return None
    least = max(map(len, inputs)) // _CHARACTERS_PER_TOKEN_AT_MOST
    if least > window:
        return f"a text has at least {least} tokens, the model takes {window}"
    return None


def _bad_length(dimensions: int | None, facts: ModelFacts) -> str | None:
    """The quirk `dimensions` is the only length, a list of lengths, or `false` where the length cannot be chosen."""
    known = facts.quirks.get("dimensions")
    if dimensions is None or known is None or known is True:
        return None
    if known is False:
        return "the model has one length of vectors: leave out dimensions"
    lengths = (known,) if isinstance(known, int) else known
    if isinstance(lengths, list | tuple) and dimensions not in lengths:
        return f"the model makes vectors of {', '.join(map(str, lengths))} dimensions, not {dimensions}"
    return None
