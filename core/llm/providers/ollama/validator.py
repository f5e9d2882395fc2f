"""What Ollama cannot do, said before the call.

A *setting* without an equivalent is dropped and listed in the response's warnings. A *feature* that would change the
meaning of the answer (an image that cannot be sent, a tool that must be called) is refused.
"""

from typing import Final, NoReturn

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart
from core.llm.dialects.left_out import report_detail, report_name
from core.llm.providers.base.request import ChatRequest

LOAD_OPTIONS: Final = frozenset(
    {
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "numa",
        "low_vram",
        "use_mmap",
        "use_mlock",
        "f16_kv",
        "vocab_only",
        "logits_all",
        "embedding_only",
    }
)
"""Options that belong to the loaded model: another value makes the server load it again."""


def check(request: ChatRequest) -> None:
    """Refuse what Ollama cannot do and warn about what it cannot honour.

    Raises:
        UnsupportedFeature: as every provider raises it; nothing was sent.
    """
    params = request.params
    if params.tool_choice not in {None, "auto", "none"}:
        _refuse(request, "Ollama cannot force a tool call: use tool_choice 'auto' or 'none'")
    if params.tools and params.tool_choice != "none" and request.facts.lacks("tools"):
        _refuse(request, f"the model {request.model!r} does not support tools")
    if any(tool.strict for tool in params.tools or ()):
        request.warn("dropped", "tools", "Ollama cannot hold a model to the schema of a tool: sent without `strict`")
    if params.parallel_tool_calls is False and params.tools:
        request.warn("dropped", "parallel_tool_calls", "Ollama cannot limit a model to one tool call at a time")
    if params.user is not None:
        request.warn("dropped", "user", "Ollama knows no end users")
    for message in request.messages:
        report_name(request, message)
        if isinstance(message.content, str):
            continue
        for part in message.content:
            if isinstance(part, ImagePart):
                _check_image(request, part)
            elif isinstance(part, DocumentPart | AudioPart):
                _refuse(request, f"Ollama cannot take a part of type {part.type!r}: send its text, or images of it")


def _check_image(request: ChatRequest, part: ImagePart) -> None:
    if part.data is None:
        kind = "an image URL" if part.url is not None else "an image path"
        _refuse(request, f"Ollama takes images as bytes only, not {kind}: load the picture and pass `data`")
    if request.facts.lacks("vision"):
        _refuse(request, f"the model {request.model!r} cannot see images")
    report_detail(request, part)


def _refuse(request: ChatRequest, message: str) -> NoReturn:
    raise UnsupportedFeature(f"{request.provider}/{request.model}: {message}")
