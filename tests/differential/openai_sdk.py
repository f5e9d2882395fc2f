"""The same conversation through OpenAI's SDK and through us, to one server that keeps what it is sent."""

from typing import Any

from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from core.llm.providers.openai_style import OpenAIStyleProvider
from core.llm.testing.openai_server import OpenAIServer

KEY = "key-of-the-test"


async def ask(
    made: OpenAIStyleProvider,
    model: str,
    messages: Any,
    *,
    stream: bool,
    extra: dict[str, Any] | None = None,
    **params: Any,
) -> LLMResponse:
    """Our answer."""
    asked = LLMRequest(messages=messages, **params)
    request = ChatRequest(
        "p", model, asked, asked.messages, made.facts(model), PhaseLimits(), KEY, stream=stream, extra=extra or {}
    )
    if not stream:
        return await made.generate(request)
    collector = ResponseCollector()
    async for event in made.stream_generate(request):
        collector.add(event)
    return collector.response()


def meaning(body: Any) -> Any:
    """*body* without what says the same in another way."""
    if isinstance(body, list):
        return [meaning(one) for one in body]
    if not isinstance(body, dict):
        return body
    out = {key: meaning(value) for key, value in body.items() if value is not None}
    content = out.get("content")
    if (
        isinstance(content, list)
        and len(content) == 1
        and content[0].get("type") in {"text", "input_text", "output_text"}
    ):
        out["content"] = content[0]["text"]
    if out.get("type") == "message":
        del out["type"]
    if out.get("stream") is False:
        del out["stream"]
    if out.get("type") == "input_image" and out.get("detail") == "auto":
        del out["detail"]
    return out


def assert_alike(server: OpenAIServer) -> None:
    """The two last requests of *server* mean the same: to the same address, with the same body and credential."""
    theirs, ours = server.calls[-2:]
    assert ours.path == theirs.path
    assert ours.query == theirs.query
    assert meaning(ours.body) == meaning(theirs.body)
    assert _credential(ours.headers) == _credential(theirs.headers)


def _credential(headers: dict[str, str]) -> str | None:
    """The key in Azure's own header, else the bearer token; at Azure's v1 the SDK can only be made to send both."""
    lower = {name.lower(): value for name, value in headers.items()}
    return lower.get("api-key", lower.get("authorization"))
