"""G13: who can go on from the beginning of an answer, how that is asked for, and what happens where nobody can."""

import json
from typing import Any

import pytest

from core.container import Container
from core.llm import LLMService, Message, ProviderModule
from core.llm.common.exceptions import ProviderError
from core.llm.data.facts import model_facts
from core.llm.testing.fault_dialects import ANTHROPIC, OPENAI
from core.llm.testing.wire_dialects import ndjson, openai_error
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import answer, stream
from tests.faults.broken_streams import BEGUN, OTHER, REST, TEXT, broken, broken_streams, whole

pytestmark = pytest.mark.usefixtures("no_leaks")


def two(faulty: WireServer, spare: dict[str, Any], mid_stream: Any = "continue") -> ProviderModule:
    """A broken upstream, and *spare* behind it."""
    first = {
        "type": "openai", "api": "chat", "api_key": "sk-faulty", "base_url": faulty.url, "models": ["m"],
        "allow_insecure": True,
    }  # fmt: skip
    config = {
        "models": {"route": {"use": "faulty/m", "fallback": ["spare"], "mid_stream": mid_stream}},
        "providers": {"faulty": first, "spare": spare},
        "retry": {"max_retries": 0},
        "health_check": {"enabled": False},
    }
    return ProviderModule({"llm_service": config}, watch=False, env={})


async def test_G13_a_real_model_goes_on_exactly_where_another_broke() -> None:
    """llama.cpp is handed half of the answer that it gives itself, and adds the other half, to the character."""
    pytest.importorskip("xllamacpp", reason="the engine of the embedded model is an extra")
    question = "What does the retry layer do?"
    local = {"type": "llama_cpp", "models": {"tiny": {"path": "embedded"}}}
    async with WireServer() as faulty, Container([two(faulty, local)]) as container:
        llm = container.get(LLMService)
        alone = (await llm.generate(question, model="spare/tiny", temperature=0)).content
        words = len(alone.split()) // 2
        frames = OPENAI.frames(alone, "m")
        faulty.will(broken(OPENAI, "cut", words, alone))
        async with llm.stream(question, model="route", temperature=0) as events:
            texts = [event.text async for event in events]
            response = await events.response()
    assert len(frames.pieces) > words > 3
    assert "".join(texts) == response.content == alone
    assert response.provider == "spare"


async def test_G13_an_older_claude_is_prefilled() -> None:
    """The beginning goes to it as the assistant's last message, without white space at its end."""
    async with WireServer() as faulty, WireServer() as spare:
        claude = {
            "type": "anthropic", "api_key": "sk-spare", "base_url": spare.url, "models": ["claude-haiku-4-5"],
            "allow_insecure": True,
        }  # fmt: skip
        faulty.will(broken(OPENAI, "cut"))
        spare.will(whole(ANTHROPIC, REST))
        async with Container([two(faulty, claude)]) as container:
            async with container.get(LLMService).stream("hi", model="route", max_tokens=100) as events:
                assert (await events.response()).content == TEXT
            body = json.loads(spare.requests[0].body)
    assert body["messages"][-1]["role"] == "assistant"
    assert "The quick" in json.dumps(body["messages"][-1])
    assert "The quick " not in json.dumps(body["messages"][-1])
    assert 90 < body["max_tokens"] < 100


async def test_G13_a_newer_claude_is_not_asked() -> None:
    """It would refuse: nothing is sent, and the caller has the error of the break."""
    async with WireServer() as faulty, WireServer() as spare:
        claude = {
            "type": "anthropic", "api_key": "sk-spare", "base_url": spare.url, "models": ["claude-opus-5-5"],
            "allow_insecure": True,
        }  # fmt: skip
        faulty.will(broken(OPENAI, "cut"))
        async with Container([two(faulty, claude)]) as container:
            stream = container.get(LLMService).stream("hi", model="route", max_tokens=100)
            with pytest.raises(ProviderError) as caught:
                await stream.response()
    assert caught.value.code == "body_cut"
    assert caught.value.partial is not None
    assert caught.value.trace is not None
    assert caught.value.partial.text == BEGUN
    assert "no candidate took the text up" in caught.value.trace.describe()
    assert spare.requests == []


async def test_G13_vllm_is_told_to_go_on() -> None:
    """By the two fields it has for that, in this request only."""
    async with WireServer() as faulty, WireServer() as spare:
        vllm = {"type": "openai_compatible", "preset": "vllm", "base_url": spare.url, "models": ["m"]}
        faulty.will(broken(OPENAI, "cut"))
        spare.will(whole(OPENAI, " " + REST), whole(OPENAI, OTHER))
        async with Container([two(faulty, vllm)]) as container:
            llm = container.get(LLMService)
            async with llm.stream("hi", model="route") as events:
                assert (await events.response()).content == TEXT
            async with llm.stream([Message("user", "hi"), Message("assistant", "so")], model="spare/m") as events:
                await events.response()
        first, second = (json.loads(request.body) for request in spare.requests)
    assert (first["continue_final_message"], first["add_generation_prompt"]) == (True, False)
    assert first["messages"][-1] == {"role": "assistant", "content": "The quick"}
    assert "continue_final_message" not in second


async def test_G13_ollama_goes_on_from_a_prompt_of_ours() -> None:
    """With a `prompt_format` the prompt ends where the delivered text ends, as if the model had written it."""
    async with WireServer() as faulty, WireServer() as spare:
        ollama = {"type": "ollama", "base_url": spare.url, "models": {"m": {"prompt_format": "chatml"}}}
        faulty.will(broken(OPENAI, "cut"))
        lines = [ndjson({"model": "m", "response": " brown fox", "done": False})]
        lines.append(ndjson({"model": "m", "response": "", "done": True}))
        spare.otherwise(stream(lines, content_type="application/x-ndjson"))
        async with Container([two(faulty, ollama)]) as container:
            async with container.get(LLMService).stream("hi", model="route") as events:
                assert (await events.response()).content == "The quick brown fox"
        body = json.loads(spare.requests[-1].body)
    assert spare.requests[-1].path == "/api/generate"
    assert body["prompt"].endswith("<|im_start|>assistant\nThe quick")
    assert body["raw"] is True


@pytest.mark.parametrize("otherwise", ["error", "restart"])
async def test_G13_a_model_that_refuses_to_be_prefilled(otherwise: str) -> None:
    """It was said to be able to, and answers with status 400: the route's other way holds, and nothing is doubled."""
    async with broken_streams({"policy": "continue", "otherwise": otherwise}, prefill=True) as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        refusal = openai_error("assistant prefill is not supported", type="invalid_request_error")
        streams.spare.will(answer(refusal, 400), whole(OPENAI, OTHER))
        streams.faulty.otherwise(whole(OPENAI, OTHER))
        seen = await streams.read()
        if otherwise == "error":
            assert seen.partial == seen.all_text == BEGUN
            assert seen.error.code == "body_cut"
        else:
            assert len(seen.resets) == 1
            assert seen.shown == seen.response.content == OTHER


@pytest.mark.parametrize(("otherwise", "resets"), [("error", 0), ("restart", 1)])
async def test_G13_where_nobody_can_be_prefilled(otherwise: str, resets: int) -> None:
    """The reason is in the trace; nobody is sent a beginning that it would answer instead of continuing."""
    async with broken_streams({"policy": "continue", "otherwise": otherwise}, prefill=False) as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        streams.spare.will(whole(OPENAI, OTHER))
        seen = await streams.read()
        assert len(seen.resets) == resets
        assert "no candidate took the text up" in seen.trace.describe()
        assert all(json.loads(request.body)["messages"][-1]["role"] == "user" for request in streams.spare.requests)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"thinking": "low"}, "the request asks for thinking"),
        ({"response_format": {"schema": {"type": "object", "properties": {}}}}, "an object was asked for"),
    ],
)
async def test_G13_only_plain_text_is_continued(options: dict[str, Any], reason: str) -> None:
    """Half an object or half a thought is no beginning that another model could take for its own."""
    async with broken_streams("continue", prefill=True) as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        seen = await streams.read(**options)
        assert seen.error.code == "body_cut"
        assert reason in seen.trace.describe()
        assert streams.spare.requests == []


def test_G13_which_models_can_be_prefilled_is_data() -> None:
    """Anthropic's models up to generation 4.5 can, later ones cannot; OpenAI's and Google's are not known to."""
    can = {
        name: model_facts(table, name).quirks.get("prefill")
        for table, name in [
            ("anthropic", "claude-haiku-4-5"), ("anthropic", "claude-opus-4-5"), ("anthropic", "claude-opus-4-6"),
            ("anthropic", "claude-sonnet-5"), ("bedrock", "anthropic.claude-3-5-haiku"), ("bedrock", "meta.llama3-3"),
            ("openai", "gpt-6-luna"), ("gemini", "gemini-3-flash"),
        ]
    }  # fmt: skip
    assert [name for name, known in can.items() if known is True] == [
        "claude-haiku-4-5", "claude-opus-4-5", "anthropic.claude-3-5-haiku",
    ]  # fmt: skip
    assert can["claude-opus-4-6"] is False
