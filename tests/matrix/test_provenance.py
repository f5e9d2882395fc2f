"""Who is sent what somebody signed: the provider of that name, and nobody else."""

from contextlib import asynccontextmanager

import pytest

from core.llm.common.messages import Message
from core.llm.testing import scripted_openai
from core.llm.testing.scripted_openai import ScriptedOpenAIServer
from tests.matrix.bodies import opaque, tool_talk
from tests.matrix.places import PLACES, TOOL, Place, Said, places
from tests.matrix.talking import SKIPPED, VERDICT, WEATHER, ask, converse, service_for

SIGNATURE = "c2lnbmVkIGJ5IGdvb2dsZQ=="
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class GoogleInOpenAIFormat(ScriptedOpenAIServer):
    """Google's endpoint in the OpenAI format: signatures travel beside the calls."""

    def routes(self):
        return []

    def error(self, status, message, code=None):
        raise AssertionError(message)

    async def enter(self, body, *, embeds):
        return lambda: None

    def dimensions(self, model):
        return 1


@asynccontextmanager
async def google():
    """A provider with the preset of that endpoint."""
    async with GoogleInOpenAIFormat() as server:
        config = {
            "type": "openai_compatible", "base_url": f"{server.url}/v1", "api_key": "a-key", "preset": "gemini",
        }  # fmt: skip

        def says(said, stream):
            calls = [(TOOL, '{"city":"' + city + '"}') for city in said.cities]
            server.script(scripted_openai.OpenAIAnswer(said.text, "", calls))

        yield Place("google", "gemini-3-flash", config, says, lambda: [call.body for call in server.calls])


@pytest.fixture
def signed(monkeypatch):
    """The first of parallel calls carries a signature, as Google's do."""
    plain = scripted_openai._calls

    def calls(answer):
        extra = {"google": {"thought_signature": SIGNATURE}}
        return [{**call, "extra_content": extra} if n == 0 else call for n, call in enumerate(plain(answer))]

    monkeypatch.setattr(scripted_openai, "_calls", calls)


@both_ways
async def test_a_signature_on_a_call_in_the_openai_format_goes_back_with_it(signed, stream):
    """To the endpoint that signed it."""
    async with google() as home, service_for(home) as llm:
        history = await converse(llm, home, stream=stream)
        await ask(llm, home, history, Said(VERDICT), stream=stream)
        calls = [message for message in home.sent()[-1]["messages"] if message.get("tool_calls")]
        assert calls[0]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": SIGNATURE}}


@both_ways
@pytest.mark.parametrize("target", PLACES)
async def test_a_signature_on_a_call_goes_to_nobody_else(signed, target, stream):
    """Not to Google's own API either: another project cannot verify it."""
    async with google() as home, places(target) as found:
        async with service_for(home, found[target]) as llm:
            history = await converse(llm, home, stream=stream)
            answer = await ask(llm, found[target], history, Said(VERDICT), stream=stream)
        assert answer.content == VERDICT
        body = found[target].sent()[-1]
        assert opaque(body) <= SKIPPED
        assert SIGNATURE not in str(body)
        assert tool_talk(body).answers() == WEATHER


@pytest.mark.parametrize("origin", ["gemini", "vertex"])
async def test_googles_endpoint_in_the_openai_format_gets_no_signature_of_its_others(origin):
    """The same words, but another door."""
    async with google() as away, places(origin) as found:
        async with service_for(found[origin], away) as llm:
            history = await converse(llm, found[origin], stream=False)
            history.append(Message("user", "And?"))
            await ask(llm, away, history, Said(VERDICT), stream=False)
        text = str(away.sent()[-1])
        assert "thought_signature" not in text
        assert not any(secret in text for secret in found[origin].secrets)
