"""The conversation of the matrix: system text, a picture, thinking, two calls of one tool at once, their results."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.container import Container
from core.llm import LLMService
from core.llm.common.messages import ImagePart, Message, TextPart
from core.llm.module import ProviderModule
from core.llm.providers.base.request import ToolDefinition
from core.llm.providers.base.response import LLMResponse
from tests.matrix.places import TOOL, Place, Said

SYSTEM = "Answer like a weather service."
QUESTION = "Where is it warmer, and what is this a picture of?"
THOUGHT = "Two places have to be looked up first."
BRIEFING = "I look both up."
WEATHER = {"Paris": "18 degrees", "Oslo": "7 degrees"}
AFTERTHOUGHT = "Eighteen is more than seven."
VERDICT = "Paris is warmer. It is a red dot."
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
SKIPPED = {"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"}
"""What Google documents for calls that another model made."""
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (ToolDefinition(TOOL, "The temperature in a city.", PARAMETERS),)


@asynccontextmanager
async def service_for(*hosts: Place) -> AsyncIterator[LLMService]:
    """A service that knows *hosts* and retries nothing."""
    config = {
        "default_model": hosts[0].ref,
        "providers": {place.name: dict(place.config) for place in hosts},
        "retry": {"max_retries": 0},
        "health_check": {"enabled": False},
    }
    module = ProviderModule({"llm_service": config}, watch=False, env={})
    async with Container([module]) as container:
        yield container.get(LLMService)


async def ask(llm: LLMService, place: Place, history: list[Message], said: Said, *, stream: bool) -> LLMResponse:
    """The answer of *place*, which will be *said*; it is added to *history*."""
    place.says(said, stream)
    if stream:
        async with llm.stream(history, model=place.ref, tools=TOOLS) as events:
            async for _ in events:
                pass
            response = await events.response()
    else:
        response = await llm.generate(history, model=place.ref, tools=TOOLS)
    history.append(response.message)
    return response


async def converse(llm: LLMService, place: Place, *, stream: bool) -> list[Message]:
    """A conversation with *place* up to the results of its calls, which come in the other order."""
    picture = ImagePart(data=PICTURE, media_type="image/png")
    history = [Message("system", SYSTEM), Message("user", (TextPart(QUESTION), picture))]
    response = await ask(llm, place, history, Said(BRIEFING, THOUGHT, tuple(WEATHER)), stream=stream)
    assert [call.arguments["city"] for call in response.tool_calls] == list(WEATHER)
    assert len({call.id for call in response.tool_calls}) == 2
    for call in reversed(response.tool_calls):
        history.append(Message("tool", WEATHER[call.arguments["city"]], tool_call_id=call.id))
    return history
