"""What a real model in torch answers, and that every setting does what it says."""

import json
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.messages import ImagePart, Message, TextPart, ToolCall
from core.llm.providers.base.request import NamedTool
from core.llm.providers.base.response import StreamFinish, TextDelta, UsageReport
from core.llm.providers.transformers.provider import TransformersProvider
from tests.transformers.conftest import chat
from tests.transformers.tiny import ANSWERS, WEATHER, WINDOW

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNT = ANSWERS["Count"]
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "size": {"type": "integer", "maximum": 99}},
    "required": ["city", "size"],
    "additionalProperties": False,
}


async def events_of(provider: TransformersProvider, *args: Any, **fields: Any) -> list[Any]:
    """All events of a stream."""
    return [event async for event in provider.stream_generate(chat(*args, stream=True, **fields))]


@pytest.mark.parametrize("question", ["Say hello", "Count", "Greet the world"])
async def test_the_model_says_what_it_has_learnt(provider: TransformersProvider, question: str) -> None:
    """To the letter: template, tokens and text fit together."""
    response = await provider.generate(chat(question))

    assert response.content == ANSWERS[question]
    assert (response.finish_reason.unified, response.model, response.provider) == ("stop", "tiny", "local")


async def test_a_stream_never_cuts_a_character(provider: TransformersProvider) -> None:
    """Emoji and kanji are several tokens each; a piece holds whole ones, and all pieces are the answer."""
    events = await events_of(provider, "Greet the world")
    pieces = [event.text for event in events if isinstance(event, TextDelta)]

    assert "".join(pieces) == ANSWERS["Greet the world"]
    assert len(pieces) > 10
    assert not any("\ufffd" in piece for piece in pieces)
    assert isinstance(events[-1], StreamFinish)


async def test_usage_is_what_the_tokenizer_counts(provider: TransformersProvider) -> None:
    """Prompt with its template, answer with the token that ends it; also in a stream."""
    request = chat("Count")
    response = await provider.generate(request)
    report = next(event for event in await events_of(provider, "Count") if isinstance(event, UsageReport))

    assert response.usage == report.usage
    assert response.usage.input == await provider.count_tokens(request)
    assert (response.usage.output, response.usage.estimated) == (len(COUNT.split()) + 1, False)


@pytest.mark.parametrize("stop", [" four", "four f", "r", "three four five", "ee fo"])
async def test_a_stop_ends_the_answer_and_is_not_shown(provider: TransformersProvider, stop: str) -> None:
    """Wherever the tokens are cut; of several the first."""
    response = await provider.generate(chat("Count", stop=[stop, " nine"]))

    assert response.content == COUNT[: COUNT.index(stop)]
    assert response.finish_reason.unified == "stop"


async def test_a_stop_never_shows_in_a_stream(provider: TransformersProvider) -> None:
    """Not even its beginning."""
    events = await events_of(provider, "Count", stop=["three four"])

    assert "".join(event.text for event in events) == "one two "


async def test_max_tokens_ends_the_answer(provider: TransformersProvider) -> None:
    """And says so."""
    response = await provider.generate(chat("Count", max_tokens=3))

    assert response.content == "one two three"
    assert (response.finish_reason.unified, response.usage.output) == ("length", 3)


@pytest.mark.parametrize("fields", [{"messages": "x " * 400}, {"messages": "Count", "max_tokens": WINDOW}])
async def test_what_cannot_fit_the_window_is_refused(provider: TransformersProvider, fields: dict[str, Any]) -> None:
    """Before anything is computed, with the numbers."""
    text = fields.pop("messages")

    with pytest.raises(ProviderError, match=str(WINDOW)) as caught:
        await provider.generate(chat(text, **fields))
    assert caught.value.type == "context_length"


async def test_S65_a_text_that_is_far_too_long_is_not_even_cut_into_tokens(provider: TransformersProvider) -> None:
    """By its characters alone it cannot fit."""
    with pytest.raises(ProviderError, match="characters cannot be") as caught:
        await provider.generate(chat("x" * 100_000))
    assert caught.value.type == "context_length"


async def test_a_seed_gives_the_same_answer(provider: TransformersProvider) -> None:
    """And others give others."""
    hot = {"temperature": 3.0, "max_tokens": 20}
    first, again = [(await provider.generate(chat("Count", seed=7, **hot))).content for _ in range(2)]
    others = {(await provider.generate(chat("Count", seed=seed, **hot))).content for seed in range(4)}

    assert first == again
    assert len(others) > 1


async def test_without_a_seed_answers_differ(provider: TransformersProvider) -> None:
    """A fixed one would be worse than none."""
    answers = {(await provider.generate(chat("Count", temperature=3.0, max_tokens=12))).content for _ in range(4)}

    assert len(answers) > 1


@pytest.mark.parametrize(
    "fields", [{"top_k": 1}, {"top_p": 0.0}, {"top_p": 0.001}, {"raw": {"min_p": 1.0}}, {"temperature": None}]
)
async def test_what_leaves_one_token_is_greedy(provider: TransformersProvider, fields: dict[str, Any]) -> None:
    """However hot; and so is a model that says nothing about sampling."""
    response = await provider.generate(chat("Count", **{"temperature": 3.0, **fields}))

    assert response.content == COUNT
    assert not response.warnings


async def test_penalties_change_the_answer(provider: TransformersProvider) -> None:
    """A token that was used becomes less likely; a bias forbids one."""
    word = "one"
    usual = (await provider.generate(chat("Count"))).content
    penalised = (await provider.generate(chat("Count", presence_penalty=2.0, frequency_penalty=2.0))).content
    repeated = (await provider.generate(chat("Count", raw={"repetition_penalty": 30.0}, max_tokens=16))).content
    biased = (
        await provider.generate(chat("Count", raw={"logit_bias": {str(n): -100 for n in range(258, 400)}}))
    ).content

    assert usual == penalised == COUNT  # nothing in it is said twice
    assert repeated != COUNT
    assert not biased.startswith(word) or biased != COUNT


async def test_what_is_not_taken_is_reported(provider: TransformersProvider) -> None:
    """Each thing by its name."""
    request = chat("Say hello", raw={"mirostat": 2, "min_p": 7}, user="me", thinking="high")
    response = await provider.generate(request)

    assert response.content == ANSWERS["Say hello"]
    assert {warning.parameter for warning in request.warnings} == {"mirostat", "min_p", "user", "thinking"}


async def test_tools_are_called(provider: TransformersProvider) -> None:
    """As the model writes it, one call or several, whole and streamed; the marks are no text."""
    response = await provider.generate(chat("Weather in Paris and Rome?", tools=[WEATHER]))

    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        ("weather", {"city": "Paris"}),
        ("weather", {"city": "Rome"}),
    ]
    assert (response.content, response.finish_reason.unified) == ("", "tool_calls")
    assert len({call.id for call in response.tool_calls}) == 2


async def test_one_call_at_a_time_is_one_call(provider: TransformersProvider) -> None:
    """The answer ends with it."""
    request = chat("Weather in Paris and Rome?", tools=[WEATHER], parallel_tool_calls=False)
    response = await provider.generate(request)

    assert [call.arguments for call in response.tool_calls] == [{"city": "Paris"}]
    assert response.usage.output < 30


async def test_without_tools_the_marks_are_text(provider: TransformersProvider) -> None:
    """Nobody asked for calls; nothing is hidden."""
    response = await provider.generate(chat("Weather in Paris?", tools=[WEATHER], tool_choice="none"))

    assert not response.tool_calls


@pytest.mark.parametrize("choice", ["required", NamedTool("weather")])
async def test_a_tool_that_must_be_called_is_called(provider: TransformersProvider, choice: Any) -> None:
    """Whatever the model would rather say."""
    other = {"name": "other", "parameters": {"type": "object", "properties": {}}}
    tools = [WEATHER] if choice == "required" else [other, WEATHER]
    response = await provider.generate(chat("Say hello", tools=tools, tool_choice=choice, max_tokens=80))

    assert [call.name for call in response.tool_calls] == ["weather"]


async def test_a_schema_is_held(provider: TransformersProvider) -> None:
    """By a model that has never seen JSON, hot or not."""
    for temperature in (0, 2.0):
        request = chat("Say hello", response_format=CITY, temperature=temperature, seed=1)
        answer = json.loads((await provider.generate(request)).content)
        assert answer["city"] in {"Paris", "Rome"}
        assert answer["size"] <= 99
        assert not request.warnings


async def test_a_schema_that_cannot_be_held_is_refused(provider: TransformersProvider) -> None:
    """With the reason."""
    with pytest.raises(ProviderError, match="schema cannot be enforced") as caught:
        await provider.generate(chat("Say hello", response_format={"type": "no such type"}))
    assert caught.value.type == "invalid_request"


async def test_an_answer_that_was_begun_is_gone_on_with(provider: TransformersProvider) -> None:
    """The beginning stands in the prompt as the model's own words."""
    begun = chat([Message("user", "Count"), Message("assistant", "one two three four")])
    begun.prefilled = True

    assert (await provider.generate(begun)).content == COUNT.removeprefix("one two three four")


async def test_a_history_with_calls_is_rendered(provider: TransformersProvider) -> None:
    """Arguments reach the template as an object."""
    history = [
        Message("user", "Weather in Paris?"),
        Message("assistant", tool_calls=(ToolCall("call_1", "weather", {"city": "somewhere far away"}),)),
        Message("tool", "sunny", tool_call_id="call_1"),
    ]
    longer = await provider.count_tokens(chat(history, tools=[WEATHER]))
    blank = [history[0], Message("assistant", tool_calls=(ToolCall("call_1", "weather", {}),)), history[2]]

    assert longer > await provider.count_tokens(chat(blank, tools=[WEATHER]))


async def test_pictures_are_refused(provider: TransformersProvider) -> None:
    """Before anything is sent."""
    picture = ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")

    with pytest.raises(UnsupportedFeature, match="text only"):
        await provider.generate(chat([Message("user", (TextPart("What is this?"), picture))]))


async def test_the_facts_are_those_of_the_files(provider: TransformersProvider) -> None:
    """Window, tools, schemas; free of charge."""
    facts = provider.facts("tiny")

    assert (facts.context_window, facts.price.input) == (WINDOW, 0)
    assert {"chat", "stream", "tools", "json_schema", "embeddings"} <= facts.capabilities
    assert facts.lacks("vision")
    assert provider.facts("tiny") is facts
