"""A conversation begun at any provider goes on at any other: the strict server of each accepts it, and it means the same."""

import base64
import json

import pytest

from core.llm.common.messages import Message
from tests.matrix.bodies import opaque, tool_talk
from tests.matrix.places import PLACES, Said, places
from tests.matrix.talking import (
    AFTERTHOUGHT,
    BRIEFING,
    PICTURE,
    QUESTION,
    SKIPPED,
    SYSTEM,
    THOUGHT,
    VERDICT,
    WEATHER,
    ask,
    converse,
    service_for,
)

every_target = pytest.mark.parametrize("target", PLACES)
every_origin = pytest.mark.parametrize("origin", PLACES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@both_ways
@every_target
@every_origin
async def test_a_conversation_with_tools_pictures_and_thinking_goes_on_anywhere(origin, target, stream):
    """Continued with the results of the first provider's calls, and once more after the whole turn."""
    async with places(origin, target) as found:
        home, away = found[origin], found[target]
        async with service_for(*found.values()) as llm:
            history = await converse(llm, home, stream=stream)
            beginning = list(history)

            answer = await ask(llm, away, beginning, Said(VERDICT, AFTERTHOUGHT), stream=stream)
            assert answer.content == VERDICT
            _same_meaning(home, away)

            await ask(llm, home, history, Said(VERDICT, AFTERTHOUGHT), stream=stream)
            history.append(Message("user", "And tomorrow?"))
            answer = await ask(llm, away, history, Said("Rain."), stream=stream)
            assert answer.content == "Rain."
            text = _same_meaning(home, away)
            assert "And tomorrow?" in text
            assert VERDICT in text


def _same_meaning(home, away):
    body = away.sent()[-1]
    text = json.dumps(body)
    for said in (SYSTEM, QUESTION, BRIEFING, base64.b64encode(PICTURE).decode()):
        assert text.count(said) == 1
    talk = tool_talk(body)
    assert talk.answers() == WEATHER
    talk.check_ids(away.name)
    if home is not away:
        assert THOUGHT not in text
        assert opaque(body) <= SKIPPED
    if away.name not in {"anthropic", "bedrock"}:
        assert "cache_control" not in text
        assert "cachePoint" not in text
    return text


SIGNED = {"openai_responses", "anthropic", "gemini", "vertex", "bedrock"}
"""Providers that hand out data which must come back as it was."""


@both_ways
@pytest.mark.parametrize("place", sorted(SIGNED))
async def test_signatures_go_back_byte_for_byte_to_where_they_came_from(place, stream):
    """The servers check them as well: they refuse what they have not handed out."""
    async with places(place) as found:
        home = found[place]
        async with service_for(home) as llm:
            history = await converse(llm, home, stream=stream)
            begun = _handed_out(history)
            assert begun
            await ask(llm, home, history, Said(VERDICT, AFTERTHOUGHT), stream=stream)
            history.append(Message("user", "And tomorrow?"))
            await ask(llm, home, history, Said("Rain."), stream=stream)
        assert begun <= opaque(home.sent()[1])
        assert _handed_out(history[:-1]) == opaque(home.sent()[-1])
        if home.secrets:
            assert _handed_out(history[:-1]) <= set(home.secrets)


def _handed_out(history):
    """The opaque data in our messages, without what is a label of ours or an id."""
    found = set()
    for message in history:
        for part in message.parts:
            values = (getattr(part, "signature", None), getattr(part, "redacted", None))
            found |= {value for value in values if value and not value.startswith(("phase:", "rs_"))}
    return found


@pytest.mark.parametrize("place", sorted(SIGNED))
async def test_a_second_provider_of_the_same_kind_is_sent_nothing_of_the_first(place):
    """Another account, another project: its server could not verify the data, and would refuse the whole request."""
    async with places(place) as found, PLACES[place]() as other:
        home = found[place]
        other.name = f"{place}_2"
        async with service_for(home, other) as llm:
            history = await converse(llm, home, stream=False)
            answer = await ask(llm, other, history, Said(VERDICT), stream=False)
        assert answer.content == VERDICT
        assert opaque(other.sent()[-1]) <= SKIPPED
        assert tool_talk(other.sent()[-1]).answers() == WEATHER
