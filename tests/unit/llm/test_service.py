"""Every model behind one typed call."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from core.llm.common.exceptions import (
    AllAttemptsFailed,
    ConfigError,
    ProviderError,
    RequestError,
    ServiceStopping,
    StructuredOutputError,
    UnknownModel,
    UnknownProvider,
    UnsupportedFeature,
)
from core.llm.common.messages import ImagePart
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import Progress
from core.llm.providers.base.request import LLMRequest
from core.llm.testing import ScriptedProvider
from tests.unit.llm.support import serving

pytestmark = pytest.mark.leakcheck


class Invoice(BaseModel):
    """What the tests extract."""

    number: str
    total: float


@pytest.mark.parametrize(
    "request_",
    [
        "hi",
        [{"role": "user", "content": "hi"}],
        LLMRequest(messages="hi"),
        LLMRequest(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}]),
    ],
)
async def test_a_request_is_a_string_messages_or_a_whole_request(request_: Any) -> None:
    """All forms reach the provider as the same message."""
    async with serving() as world:
        world.alpha.will_answer("hello")
        response = await world.service.generate(request_)
        assert (response.content, response.provider, response.model) == ("hello", "alpha", "m")
        assert world.alpha.prompts == ["hi"]
        assert world.leases() == 0


async def test_options_are_fields_of_the_request() -> None:
    """They win over those of a request that is passed along; nothing else is set."""
    async with serving() as world:
        await world.service.generate(LLMRequest(messages="hi", temperature=0.1, seed=1), temperature=0.9, top_p=0.5)
        sent = world.alpha.last_request.params
        assert (sent.temperature, sent.top_p, sent.seed, sent.max_tokens) == (0.9, 0.5, 1, None)


@pytest.mark.parametrize(
    ("request_", "options", "named"),
    [
        ("hi", {"temprature": 1}, "temprature"),
        ("hi", {"temperature": -1}, "temperature"),
        ("hi", {"max_tokens": 0}, "max_tokens"),
        ("hi", {"stop": 5}, "stop"),
        ("hi", {"stop": ["a", 5]}, "stop"),
        ("hi", {"stop": ["a", ""]}, "stop"),
        ("hi", {"stop": ""}, "stop"),
        ("hi", {"thinking": "a lot"}, "thinking"),
        ("hi", {"tools": [{"description": "nameless"}]}, "tools"),
        ("hi", {"tools": 5}, "tools"),
        ("hi", {"tool_choice": 5}, "tool_choice"),
        ("hi", {"response_format": 5}, "response_format"),
        ("hi", {"timeout": 0}, "timeout"),
        ("hi", {"extra": 5}, "extra"),
        (5, {}, "messages"),
        ([], {}, "messages"),
        ([{"role": "robot", "content": "hi"}], {}, "messages"),
        ([{"role": ["user"], "content": "hi"}], {}, "messages"),
        ([{"role": "user", "content": 5}], {}, "messages"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": None}}]}], {}, "messages"),
        ([{"role": "assistant", "content": "", "tool_calls": 5}], {}, "messages"),
        ([{"role": "user", "contents": "hi"}], {}, "messages"),
    ],
)
async def test_a_wrong_request_is_an_error_that_names_the_field(
    request_: Any, options: dict[str, Any], named: str
) -> None:
    """It is ours, whatever was wrong with it, and nothing is sent."""
    async with serving() as world:
        with pytest.raises(RequestError, match=named) as caught:
            await world.service.generate(request_, **options)
        assert type(caught.value) is RequestError
        with pytest.raises(RequestError, match=named):
            async with world.service.stream(request_, **options):
                raise AssertionError("the stream must not open")
        assert world.alpha.requests == []
        assert world.leases() == 0


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("temprature", "temprature: unknown option (did you mean `temperature`?)"),
        ("max_completion_tokens", "max_completion_tokens: unknown option (did you mean `max_tokens`?)"),
        ("reasoning_effort", "reasoning_effort: unknown option (did you mean `thinking`?)"),
        ("system", "system: unknown option (make it the first message: {'role': 'system', 'content': …})"),
        (
            "service_tier",
            "service_tier: unknown option (a field of one provider goes into extra: {'<provider>': {'service_tier': …}})",
        ),
    ],
)
async def test_a_misspelt_or_foreign_option_is_named_with_what_was_meant(option: str, advice: str) -> None:
    """People come from other libraries, and they mistype."""
    async with serving() as world:
        with pytest.raises(RequestError) as caught:
            await world.service.generate("hi", **{option: 1})
    assert str(caught.value) == f"the request is not valid: {advice}"


async def test_files_are_read_before_a_provider_sees_them(tmp_path: Path) -> None:
    """The provider gets bytes and a media type, never a path of this machine."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    async with serving() as world:
        await world.service.generate([{"role": "user", "content": [{"type": "image", "path": str(picture)}]}])
        part = world.alpha.last_request.messages[0].content[0]
        assert isinstance(part, ImagePart)
        assert (part.data, part.media_type, part.path) == (b"\x89PNG", "image/png", None)
        with pytest.raises(RequestError, match=r"cannot read missing\.png"):
            await world.service.generate([{"role": "user", "content": [ImagePart(path=str(tmp_path / "missing.png"))]}])


async def test_a_chain_goes_on_where_a_provider_fails_and_tells_the_story() -> None:
    """The trace on the answer holds both attempts."""
    async with serving(models={"fast": {"use": "alpha/m", "fallback": ["beta"]}}) as world:
        world.alpha.will_raise(ProviderError("overloaded", "busy"))
        world.beta.will_answer("from beta")
        response = await world.service.generate("hi", model="fast")
        assert response.content == "from beta"
        assert response.trace is not None
        assert [(str(one.target), one.decision) for one in response.trace.attempts] == [
            ("alpha/m", "next_candidate"),
            ("beta/m", "answered"),
        ]


async def test_when_everything_fails_every_error_is_there() -> None:
    """And the trace is on the error that ended the call."""
    async with serving(fallback_chain=["alpha", "beta"], models={"fast": "alpha/m"}) as world:
        world.alpha.will_raise(ProviderError("overloaded", "busy"))
        world.beta.will_raise(ProviderError("permission", "not yours"))
        with pytest.raises(AllAttemptsFailed) as caught:
            await world.service.generate("hi", model="fast")
        assert [str(error) for error in caught.value.errors] == ["alpha/m: busy", "beta/m: not yours"]
        assert caught.value.trace is not None
        assert len(caught.value.trace.attempts) == 2


async def test_an_unknown_name_is_an_error_that_names_what_is_close() -> None:
    """Also after the call was admitted: no lease is left."""
    async with serving(models={"fast": "alpha/m"}) as world:
        with pytest.raises(UnknownModel, match="Did you mean 'fast'"):
            await world.service.generate("hi", model="fats")
        with pytest.raises(UnknownProvider, match="alpha, beta"):
            await world.service.generate("hi", provider="gamma")
        assert world.leases() == 0


async def test_defaults_of_an_alias_and_of_a_model_are_sent_unless_the_caller_says_otherwise() -> None:
    """The alias wins over the model, the caller over both."""
    models = {"fast": {"use": "alpha/m", "defaults": {"temperature": 0.5}}}
    providers = {"alpha": {"models": {"m": {"defaults": {"temperature": 0.1, "top_p": 0.2, "seed": 3}}}}}
    async with serving(models=models, providers=providers) as world:
        await world.service.generate("hi", model="fast", seed=9)
        sent = world.alpha.last_request.params
        assert (sent.temperature, sent.top_p, sent.seed) == (0.5, 0.2, 9)


async def test_an_object_is_validated_and_the_raw_text_stays() -> None:
    """The schema is asked for, and the object typed."""
    async with serving() as world:
        world.alpha.will_answer('{"number": "A1", "total": 9.5}')
        response = await world.service.generate_object("Extract …", Invoice)
        assert response.object == Invoice(number="A1", total=9.5)
        assert response.content.startswith("{")
        wanted = world.alpha.last_request.params.response_format
        assert wanted is not None
        assert (wanted.name, wanted.model) == ("Invoice", Invoice)


@pytest.mark.parametrize(("text", "problem"), [('{"number": "A1"}', "total"), ("not json", "JSON"), ("", "JSON")])
async def test_F57_an_answer_that_does_not_fit_is_an_error_with_the_text(text: str, problem: str) -> None:
    """The message says what is wrong and who answered; the text is an attribute."""
    async with serving() as world:
        world.alpha.will_answer(text)
        world.alpha.will_answer(text)
        with pytest.raises(StructuredOutputError, match=problem) as caught:
            await world.service.generate_object("Extract …", Invoice)
        assert caught.value.text == text
        assert "alpha/m" in str(caught.value)
        assert caught.value.trace is not None


async def test_texts_become_vectors_in_order() -> None:
    """One string is one text; equal texts have equal vectors."""
    async with serving() as world:
        vectors = await world.service.embed(["a", "b", "a"], model="alpha/m", dimensions=4)
        assert (len(vectors), vectors.dimensions) == (3, 4)
        assert vectors[0] == vectors[2] != vectors[1]
        assert len(await world.service.embed("a")) == 1
        assert vectors.trace is not None
        assert world.leases() == 0


@pytest.mark.parametrize(("texts", "options"), [([], {}), (["a", 5], {}), (["a"], {"top": 1})])
async def test_what_cannot_be_embedded_is_an_error_of_the_request(texts: Any, options: dict[str, Any]) -> None:
    """Nothing is sent."""
    async with serving() as world:
        with pytest.raises(RequestError):
            await world.service.embed(texts, **options)
        assert world.alpha.embeddings == []


async def test_tokens_are_counted_where_the_call_would_go_without_taking_a_turn() -> None:
    """Asking changes nothing for the next call."""
    alias = {"use": ["alpha/m", "beta/m"], "strategy": "round_robin"}
    async with serving(models={"fast": alias}) as world:
        counted = await world.service.count_tokens("three words here", model="fast")
        assert (counted.tokens, counted.estimated) == (3, False)
        assert (await world.service.generate("hi", model="fast")).provider == "alpha"
        assert world.leases() == 0


async def test_a_tokenizer_that_fails_or_hangs_makes_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither foreign exceptions nor endless waits reach the caller; the note says what happened."""

    async def fail(self: ScriptedProvider, request: Any) -> int:
        raise KeyError("secret text")

    async def hang(self: ScriptedProvider, request: Any) -> int:
        await asyncio.Event().wait()
        return 0

    async with serving() as world:
        monkeypatch.setattr(ScriptedProvider, "count_tokens", fail)
        counted = await world.service.count_tokens("hi")
        assert counted.estimated
        assert "raised KeyError" in counted.note
        assert "secret text" not in counted.note
        monkeypatch.setattr(ScriptedProvider, "count_tokens", hang)
        assert "deadline" in (await world.service.count_tokens("hi", timeout=0.01)).note
        assert world.leases() == 0


async def test_models_are_loaded_and_unloaded_by_reference_or_alias() -> None:
    """Progress is reported, and the status follows."""
    providers = {"alpha": {"type": "scripted_host"}}
    async with serving(providers=providers, models={"fast": "alpha/m"}) as world:
        seen: list[Progress] = []
        assert (await world.service.load_model("fast", seen.append)).state == "ready"
        assert (await world.service.model_status("alpha/m")).state == "ready"
        assert [one.message for one in seen] == ["loading", "loaded"]
        assert (await world.service.unload_model("alpha/m")).state == "unloaded"
        assert [model.name for model in await world.service.list_models("alpha")] == ["m"]
        assert (await world.service.pull_model("alpha/other")).name == "other"
        with pytest.raises(UnsupportedFeature, match="'beta' does not load"):
            await world.service.load_model("beta/m")
        with pytest.raises(UnknownProvider, match="gamma"):
            await world.service.list_models("gamma")


async def test_F129_calls_before_the_start_and_after_the_stop_are_refused() -> None:
    """The error says which of the two it is."""
    async with serving() as world:
        service = world.service
    for call in (service.generate("hi"), service.embed("a"), service.count_tokens("hi"), service.load_model("alpha/m")):
        with pytest.raises(ServiceStopping, match="stop"):
            await call
    with pytest.raises(ServiceStopping):
        async with service.stream("hi"):
            raise AssertionError("the stream must not open")
    with pytest.raises(ServiceStopping):
        service.explain("hi")
    with pytest.raises(ServiceStopping):
        service.get_available_models()


async def test_HR03_a_wrong_configuration_fails_the_start_with_every_issue() -> None:
    """There is nothing to fall back to."""
    with pytest.raises(ConfigError, match="nonsense"):
        async with serving(nonsense=1):
            raise AssertionError("the container must not start")


async def test_a_call_says_where_it_went() -> None:
    """Target, generation and metadata are on the response."""
    async with serving() as world:
        response = await world.service.generate("hi", metadata={"tenant": "a"})
        assert response.trace is not None
        assert response.trace.generation == 1
        assert [entry.target for entry in response.trace.candidates] == [ModelRef("alpha", "m")]
        assert response.metadata == {"tenant": "a"}
        assert response.duration >= 0.0
