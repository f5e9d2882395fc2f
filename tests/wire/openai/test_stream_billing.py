"""What is known about the cost of a stream that breaks: it costs something from the first sign of an answer on."""

import json

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.request import ChatRequest, LLMRequest


def broken(*events: bytes, quirks: OpenAIQuirks | None = None) -> ProviderError:
    """The error at the end of a stream of these bytes."""
    asked = LLMRequest(messages="hi")
    request = ChatRequest("p", "m", asked, asked.messages, ModelFacts(), PhaseLimits(), stream=True)
    decoder = OpenAIChatDialect(quirks).decoder(request, {})
    for data in events:
        decoder.feed(data)
    with pytest.raises(ProviderError) as caught:
        decoder.end()
    return caught.value


def said(text: str) -> bytes:
    """An event with a piece of the answer."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


def test_thoughts_between_tags_cost_something() -> None:
    """The model has worked, although not one word of its answer has come."""
    error = broken(said("<think>hm, let me see"), quirks=OpenAIQuirks(think_tags=True))
    assert (error.code, error.billing) == ("truncated", "estimated")


@pytest.mark.parametrize("last", [b'data: {"choices": 5}', b'data: {"choices": 5}\n\n'])
def test_a_last_event_that_cannot_be_read_costs_what_came_before(last: bytes) -> None:
    """Also where the blank line behind it is missing, so that it is read when the body has ended."""
    assert broken(said("one two"), last).billing == "estimated"
    assert broken(last).billing == "ambiguous"
