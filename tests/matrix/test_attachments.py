"""Pictures, documents and sound at every provider: sent where it takes them, refused before anything is sent where not."""

import json

import pytest

from core.llm.common.exceptions import LLMError, ProviderError, UnsupportedFeature
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, Message, TextPart
from tests.matrix.bodies import opaque
from tests.matrix.places import PLACES, Said, places
from tests.matrix.talking import AFTERTHOUGHT, PICTURE, VERDICT, ask, converse, service_for

PDF = b"%PDF-1.4\n%%EOF"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
ADDRESS = "https://example.org/picture.png"

TAKES = {
    "a picture": set(PLACES),
    "a picture by URL": set(PLACES) - {"bedrock", "ollama", "lm_studio"},
    "a document": {"openai_chat", "openai_responses", "azure_openai", "anthropic", "gemini", "vertex", "bedrock"},
    "sound": {"gemini", "vertex", "mistral", "localai"},
}  # fmt: skip
"""Who takes what; the others refuse it with words."""

PARTS = {
    "a picture": ImagePart(data=PICTURE, media_type="image/png"),
    "a picture by URL": ImagePart(url=ADDRESS, media_type="image/png"),
    "a document": DocumentPart(data=PDF, media_type="application/pdf", name="paper.pdf"),
    "sound": AudioPart(data=WAV, media_type="audio/wav"),
}


CELLS = [(place, what) for place in PLACES for what in PARTS if (place, what) != ("mistral", "a document")]
"""Without the one whose wire shape is Mistral's own: the server of the other cells does not know it."""


@pytest.mark.parametrize(("place", "what"), CELLS)
async def test_an_attachment_is_sent_or_refused_before_sending(place, what):
    """A refusal says what is not taken; the server has not been asked."""
    async with places(place) as found:
        there = found[place]
        async with service_for(there) as llm:
            history = [Message("user", (TextPart("What is this?"), PARTS[what]))]
            if place in TAKES[what]:
                answer = await ask(llm, there, history, Said("A dot."), stream=False)
                assert answer.content == "A dot."
                assert not answer.warnings
                if what == "a picture by URL":
                    assert ADDRESS in json.dumps(there.sent()[-1])
                return
            with pytest.raises(LLMError) as caught:
                await ask(llm, there, history, Said("A dot."), stream=False)
            assert not isinstance(caught.value, ProviderError)
            assert there.sent() == []


@pytest.mark.parametrize("place", PLACES)
async def test_empty_and_refused_answers_do_not_end_a_conversation(place):
    """An answer without text, and one that is a refusal, may stand in the history of every provider."""
    async with places(place) as found:
        there = found[place]
        async with service_for(there) as llm:
            history = [
                Message("user", "Do it."),
                Message("assistant", ""),
                Message("user", "Please."),
                Message("assistant", (TextPart(""),)),
                Message("user", "Why not?"),
            ]
            answer = await ask(llm, there, history, Said("Because."), stream=False)
            assert answer.content == "Because."
        body = json.dumps(there.sent()[-1])
        assert all(said in body for said in ("Do it.", "Please.", "Why not?"))


@pytest.mark.parametrize("origin", PLACES)
async def test_a_budget_for_thinking_bears_calls_of_another_model(origin):
    """Older Claude models with a budget want their own thinking before a call: where there is none, it goes without."""
    async with places(origin) as found, PLACES["anthropic"]() as claude:
        claude.name, claude.model = "claude", "claude-sonnet-4-5"
        async with service_for(found[origin], claude) as llm:
            history = await converse(llm, found[origin], stream=False)
            claude.says(Said(VERDICT, AFTERTHOUGHT), False)
            answer = await llm.generate(history, model=claude.ref, thinking=2048, max_tokens=4096)
            assert answer.content == VERDICT
        assert opaque(claude.sent()[-1]) == set()


async def test_a_picture_that_cannot_be_sent_says_what_to_do():
    """The message names the way out."""
    async with places("bedrock") as found, service_for(found["bedrock"]) as llm:
        with pytest.raises(UnsupportedFeature, match="bytes"):
            await llm.generate([Message("user", (ImagePart(url=ADDRESS),))])
