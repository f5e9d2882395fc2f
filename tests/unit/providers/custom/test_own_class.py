"""A class of the user's behind the calls of the library, in a process of its own and in threads of this one."""

import ast
import asyncio

import pytest

from core.llm.common.exceptions import ModelLoadError, ProviderError, UnsupportedFeature
from core.llm.providers.base.provider import Embedder, ModelHost, TokenCounter
from core.llm.providers.base.response import StreamFinish, StreamStart, TextDelta
from tests.unit.providers.custom.conftest import ECHO
from tests.unit.providers.llama_cpp.conftest import chat, texts
from tests.workers.own_engines import Echo

pytestmark = pytest.mark.leakcheck


async def test_its_pieces_are_the_answer(provider):
    """Whole and streamed; nobody says how many tokens, so nothing is made up."""
    answer = await provider.generate(chat("hello big world"))
    assert (answer.content, answer.finish_reason.unified) == ("HELLO BIG WORLD ", "stop")
    events = [event async for event in provider.stream_generate(chat("hello world", stream=True))]
    assert [type(event) for event in events] == [StreamStart, TextDelta, TextDelta, StreamFinish]
    assert events[0].model == "tiny"


async def test_it_may_say_how_it_ended_and_what_it_took(provider):
    """By a mapping as its last item."""
    answer = await provider.generate(chat("ends"))
    assert (answer.content, answer.finish_reason.unified) == ("one ", "length")
    assert (answer.usage.input, answer.usage.output) == (3, 1)


async def test_it_gets_the_request_as_openai_writes_it(provider):
    """With what was set, and nothing that was not."""
    answer = await provider.generate(chat("request", temperature=0.5, seed=7, max_tokens=9))
    body = dict(ast.literal_eval(answer.content))
    assert body["messages"] == [{"role": "user", "content": "request"}]
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0.5, 7, 9)
    assert "top_p" not in body


async def test_stop_texts_are_kept_for_it(provider):
    """Also where they come in pieces."""
    answer = await provider.generate(chat("one two three", stop=["O TH"]))
    assert (answer.content, answer.finish_reason.unified) == ("ONE TW", "stop")


async def test_it_may_refuse_a_request_and_may_break(provider):
    """A `ValueError` is told to the caller; the text of anything else may quote a user and is not."""
    with pytest.raises(ProviderError, match="the model refuses: no such thing") as refused:
        await provider.generate(chat("refuse"))
    assert refused.value.type == "invalid_request"
    with pytest.raises(ProviderError, match="RuntimeError") as broken:
        await provider.generate(chat("break"))
    assert broken.value.type == "server_error"
    assert "quotes" not in str(broken.value)
    with pytest.raises(ProviderError, match="finish_reason 'tired' is none of"):
        await provider.generate(chat("odd end"))
    assert (await provider.generate(chat("on"))).content == "ON "


async def test_vectors_and_token_counts(provider):
    """Optional methods; a text that is refused is an invalid request."""
    assert isinstance(provider, Embedder)
    assert isinstance(provider, TokenCounter)
    assert (await provider.embed(texts("a", "bcd"))).vectors == ((1.0, 1.0), (3.0, 1.0))
    assert await provider.count_tokens(chat("a b c")) == 3
    with pytest.raises(ProviderError, match="not that text") as caught:
        await provider.embed(texts("bad"))
    assert caught.value.type == "invalid_request"
    with pytest.raises(UnsupportedFeature, match="dimensions"):
        await provider.embed(texts("a", dimensions=2))


@pytest.mark.parametrize("isolation", ["process", "none"])
async def test_what_it_does_not_have_is_said(make_provider, isolation):
    """Before the load nobody knows; after it the facts are exact."""
    entry = {"engine": "tests.workers.own_engines:Plain", "isolation": isolation}
    provider = await make_provider({"tiny": entry})
    assert "embeddings" in provider.facts("tiny").capabilities
    assert (await provider.generate(chat("x"))).content == "abc"
    assert "embeddings" not in provider.facts("tiny").capabilities
    assert provider.facts("tiny") is provider.facts("tiny")
    with pytest.raises(ProviderError, match="has no method `embed`"):
        await provider.embed(texts("a"))
    with pytest.raises(ProviderError, match="has no method `count_tokens`"):
        await provider.count_tokens(chat("a"))


async def test_tools_are_refused(provider):
    """Nothing but text comes back from such a class."""
    request = chat("x", tools=[{"name": "look", "parameters": {"type": "object"}}])
    with pytest.raises(UnsupportedFeature, match="cannot call tools"):
        await provider.generate(request)
    with pytest.raises(UnsupportedFeature, match="cannot call tools"):
        provider.check(request)


async def test_a_prompt_format_gives_it_a_prompt(make_provider):
    """In place of messages."""
    provider = await make_provider({"tiny": {"engine": ECHO, "prompt_format": "plain"}})
    assert (await provider.generate(chat("hi there"))).content == "USER: HI THERE ASSISTANT: "


async def test_it_is_told_how_it_is_configured(make_provider, tmp_path):
    """With the path where it really is."""
    (tmp_path / "real.dat").write_bytes(b"x")
    (tmp_path / "link.dat").symlink_to("real.dat")
    entry = {"engine": ECHO, "model_path": "link.dat", "device": "cuda:1", "cache_dir": "/c", "quantization": "4bit"}
    provider = await make_provider({"tiny": {**entry, "options": {"depth": [1, 2]}}}, models_dir=str(tmp_path))
    told = dict(ast.literal_eval((await provider.generate(chat("settings"))).content))
    assert told == {
        "model_path": str(tmp_path / "real.dat"), "device": "cuda:1", "cache_dir": "/c", "quantization": "4bit",
        "options": {"depth": [1, 2]},
    }  # fmt: skip
    (listed,) = await provider.list_models()
    assert (listed.name, listed.size_bytes, listed.loaded) == ("tiny", 1, True)
    assert provider.placement("tiny").device == "cuda:1"


async def test_it_is_loaded_by_its_first_call_and_unloaded_on_request(provider):
    """The states and events are those of every local model."""
    assert isinstance(provider, ModelHost)
    assert (await provider.model_status("tiny")).state == "unloaded"
    assert not provider.in_memory("tiny")
    answers = await asyncio.gather(*(provider.generate(chat("x")) for _ in range(20)))
    assert {answer.content for answer in answers} == {"X "}
    assert provider.in_memory("tiny")
    assert (await provider.model_status("tiny")).state == "ready"
    assert (await provider.unload_model("tiny")).state == "unloaded"
    assert not provider.in_memory("tiny")
    assert [event.state for event in provider.told] == ["loading", "ready", "unloading", "unloaded"]
    assert (await provider.load_model("tiny")).state == "ready"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"engine": "tests.workers.own_engines:Silent"}, "no method `generate`"),
        ({"engine": "tests.workers.own_engines:None_such"}, "AttributeError"),
        ({"engine": "tests.none_such:Class"}, "ModuleNotFoundError"),
        ({"engine": "tests.workers.own_engines:Plain", "options": {"refuse": True}}, "OSError: the weights do not fit"),
        ({"engine": ECHO, "model_path": "/none/such.file"}, "there is no file"),
    ],
)
@pytest.mark.parametrize("isolation", ["process", "none"])
async def test_a_class_that_cannot_be_loaded_says_why(make_provider, entry, reason, isolation):
    """Nothing stays behind, and another model answers."""
    provider = await make_provider({"bad": {**entry, "isolation": isolation}, "tiny": {"engine": ECHO}})
    with pytest.raises(ModelLoadError, match=reason) as caught:
        await provider.load_model("bad")
    assert caught.value.model == "local/bad"
    assert (await provider.model_status("bad")).state == "failed"
    assert (await provider.generate(chat("x"))).content == "X "
    if isolation == "process" and "none" not in reason and "no " not in reason:
        assert "Traceback" in caught.value.output


async def test_an_unknown_model_is_not_found(provider):
    """With the names that are."""
    with pytest.raises(ProviderError, match="configured are tiny") as caught:
        await provider.generate(chat("x", model="other"))
    assert caught.value.type == "model_not_found"


async def test_a_crash_is_that_of_its_call_alone(make_provider):
    """The next call has a new process."""
    provider = await make_provider()
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat("die"))
    assert caught.value.code == "worker_crashed"
    assert (await provider.generate(chat("x"))).content == "X "


async def test_a_stream_that_is_left_closes_the_generator(provider):
    """Its `finally` runs, and its slot is free again."""
    events = provider.stream_generate(chat("forever", stream=True))
    while not isinstance(await anext(events), TextDelta):
        pass
    await events.aclose()
    assert (await provider.generate(chat("x"))).content == "X "
    if not (await provider.model_status("tiny")).pid:
        assert await asyncio.to_thread(Echo.stopped.wait, 10)
        Echo.stopped.clear()
    async with asyncio.timeout(30):
        while (await provider.model_status("tiny")).state != "ready":
            await asyncio.sleep(0.01)
