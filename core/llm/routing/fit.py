"""Whether a model can take a request at all: what must fail is never sent. Pure."""

from core.llm.common.messages import AudioPart, DocumentPart, ImagePart
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.base.request import LLMRequest
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


def misfit(request: LLMRequest, mode: str, facts: ModelFacts) -> str | None:
    """Why a model with *facts* cannot take *request*; `None` where nothing speaks against it."""
    if facts.capabilities:
        for capability in needs(request, mode):
            if facts.lacks(capability):
                return f"the model does not support {_NAMES[capability]}"
    window = facts.context_window
    if window is not None and mode != "embed":
        least = least_input(request)
        if least > window:
            return f"the prompt has at least {least} tokens, the context window is {window}"
    return None
