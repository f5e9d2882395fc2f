"""The provider against a strict local Bedrock: chat, streams, tools, names, counts, lists, health."""

import pytest

from core.llm.common.exceptions import ConfigError, ProviderError, RequestError, UnsupportedFeature
from core.llm.common.messages import (
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from core.llm.providers.base.response import ResponseCollector
from core.llm.testing.bedrock_frames import (
    bedrock_error,
    converse_answer,
    converse_stream,
    event_frame,
    exception_frame,
    tool_frames,
)
from core.llm.testing.bedrock_server import BedrockAnswer
from tests.wire.bedrock.support import CLAUDE, KEY, chat

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
WEATHER = {
    "name": "weather",
    "description": "the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
async def provider(make):
    return await make(api_key=KEY)


async def body_of(server, provider, *args, **options):
    """What reaches the server."""
    request = chat(provider, *args, key=KEY, **options)
    await provider.generate(request)
    return server.requests[-1].body, request


async def test_a_whole_conversation_is_accepted_and_answered(server, provider):
    """Pictures, documents, thinking, parallel calls with their results, errors of tools: one strict look at it all."""
    messages = [
        Message("system", "Be brief."),
        Message("user", (TextPart("Look"), ImagePart(data=PNG), DocumentPart(data=b"a,b", media_type="text/csv", name="my_data.v2.csv"))),
        Message("assistant", (ThinkingPart("hm", signature="c2ln", provider="bedrock"), ThinkingPart("", redacted="AAEC", provider="bedrock"),
                              ThinkingPart("foreign", signature="x", provider="other"), TextPart("Let me see.")),
                tool_calls=(ToolCall("call:1/é", "my.tool", {"a": 1}), ToolCall("t2", "weather"))),
        Message("tool", "", tool_call_id="call:1/é"),
        Message("user", (TextPart("and?"), ToolResultPart("t2", "it broke", is_error=True))),
    ]  # fmt: skip
    body, _ = await body_of(server, provider, messages)
    assert server.refusals == []
    assert body["system"] == [{"text": "Be brief."}]
    user, assistant, results = body["messages"]
    assert [next(iter(block)) for block in user["content"]] == ["text", "image", "document"]
    assert user["content"][2]["document"]["name"] == "my data v2"
    assert assistant["content"][0] == {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
    assert assistant["content"][1] == {"reasoningContent": {"redactedContent": "AAEC"}}
    call = assistant["content"][3]["toolUse"]
    assert results["content"][0]["toolResult"] == {"toolUseId": call["toolUseId"], "content": []}
    assert results["content"][1]["toolResult"]["status"] == "error"
    assert results["content"][2] == {"text": "and?"}
    # No tools were asked for now, but the history speaks of two.
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == [call["name"], "weather"]


async def test_a_stream_is_put_together(server, provider):
    """Thinking in pieces, text, two calls; the names of tools come back as the caller knows them."""
    tool = {**WEATHER, "name": "weather.now"}
    _, request = await body_of(server, provider, tools=[tool])
    wire = server.requests[-1].body["toolConfig"]["tools"][0]["toolSpec"]["name"]
    assert wire != "weather.now"
    assert [(w.code, w.parameter) for w in request.warnings] == [("renamed", "tools")]
    frames = [
        event_frame("messageStart", {"role": "assistant"}),
        event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "I "}}}),
        event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "see"}}}),
        event_frame(
            "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}
        ),
        event_frame("somethingNew", {"x": 1}),
        *tool_frames(1, "a", wire, ['{"ci', 'ty": "Rome"}']),
        *tool_frames(2, "b", wire, []),
        *converse_stream("", finish="tool_use")[2:],
    ]
    server.will(BedrockAnswer(frames=frames))
    collector = ResponseCollector()
    async for event in provider.stream_generate(chat(provider, tools=[tool], key=KEY, stream=True)):
        collector.add(event)
    response = collector.response()
    assert response.thinking == "I see"
    assert response.parts[0].signature == "c2ln"
    assert [(c.id, c.name, dict(c.arguments)) for c in response.tool_calls] == [
        ("a", "weather.now", {"city": "Rome"}), ("b", "weather.now", {}),
    ]  # fmt: skip
    assert response.finish_reason.unified == "tool_calls"
    assert response.request_id.startswith("00000000")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("raw", "unified"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("content_filtered", "content_filter"),
     ("model_context_window_exceeded", "length"), ("guardrail_intervened", "content_filter"), ("refusal", "refusal"),
     ("brand_new", "other")],
)  # fmt: skip
async def test_every_reason_to_stop_has_a_word(server, provider, raw, unified, stream):
    """Ours, with Bedrock's beside it."""
    answer = (
        BedrockAnswer(frames=converse_stream("x", finish=raw))
        if stream
        else BedrockAnswer(converse_answer("x", finish=raw))
    )
    server.will(answer)
    request = chat(provider, key=KEY, stream=stream)
    if stream:
        finish = [event async for event in provider.stream_generate(request)][-1].finish_reason
    else:
        finish = (await provider.generate(request)).finish_reason
    assert (finish.unified, finish.raw) == (unified, raw)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("raw", "kind", "retryable"),
    [("malformed_model_output", "server_error", True), ("malformed_tool_use", "server_error", True),
     ("guardrail_intervened", "content_filter", False), ("content_filtered", "content_filter", False)],
)  # fmt: skip
async def test_an_ending_without_an_answer_is_an_error(server, provider, raw, kind, retryable, stream):
    """Output that nobody can read, and answers that were withheld whole."""
    empty = {"message": {"role": "assistant", "content": []}}
    server.will(
        BedrockAnswer(frames=converse_stream("", finish=raw)) if stream
        else BedrockAnswer(converse_answer("", finish=raw, output=empty))
    )  # fmt: skip
    request = chat(provider, key=KEY, stream=stream)
    with pytest.raises(ProviderError) as caught:
        _ = [e async for e in provider.stream_generate(request)] if stream else await provider.generate(request)
    assert (caught.value.type, caught.value.code, caught.value.retryable) == (kind, raw, retryable)


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [("throttlingException", "rate_limit", 429), ("modelStreamErrorException", "server_error", 424),
     ("internalServerException", "server_error", 500), ("serviceUnavailableException", "overloaded", 503),
     ("validationException", "invalid_request", 400), ("modelTimeoutException", "timeout", 408),
     ("brandNewException", "server_error", None)],
)  # fmt: skip
async def test_an_exception_in_a_stream_ends_it_with_its_error(server, provider, name, kind, status):
    """What came before it in the same bytes is delivered first. Documented by AWS; there is no recording of one."""
    message = "Too many tokens, please wait" if name == "throttlingException" else "It broke"
    server.will(BedrockAnswer(frames=[b"".join([*converse_stream("one two")[:2], exception_frame(name, message)])]))
    seen = []
    with pytest.raises(ProviderError) as caught:
        async for event in provider.stream_generate(chat(provider, key=KEY, stream=True)):
            seen.append(event.text)
    error = caught.value
    assert "".join(seen) == "one "
    assert (error.type, error.status_code, error.billing) == (
        kind,
        status,
        "estimated",
    )


@pytest.mark.parametrize(
    "model",
    ["arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2", "../../admin", "a/b?x=1#y", "%2e%2e", "..", "ü"],
)  # fmt: skip
async def test_a_model_name_stays_one_segment_of_the_path(server, provider, model):
    """S28: the service reads exactly the name that was asked for, whatever is in it."""
    await provider.generate(chat(provider, model=model, key=KEY))
    assert server.requests[-1].model == model
    assert server.requests[-1].raw_path.count("/") == 3


async def test_tools_are_chosen_as_asked(server, provider):
    """auto, any, one by name; `none` is honoured by sending no tools at all."""
    for choice, wire in (("auto", {"auto": {}}), ("required", {"any": {}}), ("weather", {"tool": {"name": "weather"}})):
        body, _ = await body_of(server, provider, tools=[WEATHER], tool_choice=choice)
        assert body["toolConfig"]["toolChoice"] == wire
    body, request = await body_of(server, provider, tools=[WEATHER], tool_choice="none")
    assert "toolConfig" not in body
    assert request.warnings == []


async def test_a_schema_is_sent_where_the_model_guarantees_it(server, provider):
    """In its own field, closed and without constraints; elsewhere it is described in words, and the response says so."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    body, request = await body_of(server, provider, response_format=schema)
    sent = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]
    assert (
        sent == '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}'
    )
    assert [(one.code, one.parameter) for one in request.warnings] == [("other", "response_format")]
    assert "minimum" in request.warnings[0].message
    body, request = await body_of(server, provider, response_format=schema, model="meta.llama3-1-8b-instruct-v1:0")
    assert "outputConfig" not in body
    assert '"minimum":3' in body["system"][-1]["text"]
    assert [w.code for w in request.warnings] == ["emulated"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_schema_becomes_a_tool_where_only_calls_can_be_forced(server, provider, stream):
    """The arguments are the answer, words beside them are not; without the call, the words are all there is."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "title": "Count"}
    model = "us.amazon.nova-pro-v1:0"
    call = {"toolUse": {"toolUseId": "a", "name": "Count", "input": {"n": 3}}}
    output = {"message": {"role": "assistant", "content": [{"text": "Here:"}, call]}}
    frames = [
        *converse_stream("Here:")[:3],
        *tool_frames(1, "a", "Count", ['{"n"', ":3}"]),
        *converse_stream("", finish="tool_use")[2:],
    ]
    server.will(
        BedrockAnswer(frames=frames) if stream else BedrockAnswer(converse_answer("", finish="tool_use", output=output))
    )
    server.will(BedrockAnswer(frames=converse_stream("Sorry.")) if stream else BedrockAnswer(converse_answer("Sorry.")))
    for content in ('{"n":3}', "Sorry."):
        request = chat(provider, model=model, response_format=schema, key=KEY, stream=stream)
        if stream:
            collector = ResponseCollector()
            async for event in provider.stream_generate(request):
                collector.add(event)
            response = collector.response()
        else:
            response = await provider.generate(request)
        assert (response.content, response.tool_calls, response.finish_reason.unified) == (content, (), "stop")
        assert [(w.code, w.parameter) for w in request.warnings] == [("emulated", "response_format")]
    body = server.requests[-1].body
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "Count"}}
    body, _ = await body_of(server, provider, model=model, response_format=schema, tools=[WEATHER])
    assert "toolChoice" not in body["toolConfig"]
    assert '"n"' in body["system"][-1]["text"]


@pytest.mark.parametrize(
    ("model", "thinking", "fields", "output"),
    [
        (CLAUDE, "medium", {"thinking": {"type": "enabled", "budget_tokens": 8192}}, None),
        (CLAUDE, 5000, {"thinking": {"type": "enabled", "budget_tokens": 5000}}, None),
        (CLAUDE, "off", None, None),
        ("global.anthropic.claude-opus-5-5", "max", {"thinking": {"type": "adaptive"}}, {"effort": "max"}),
        ("us.anthropic.claude-haiku-5-5-v1:0", "off", {"thinking": {"type": "disabled"}}, None),
        ("us.amazon.nova-2-lite-v1:0", "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        ("openai.gpt-oss-120b-1:0", "max", {"reasoning_effort": "high"}, None),
    ],
)  # fmt: skip
async def test_thinking_is_asked_for_in_the_words_of_the_model(server, provider, model, thinking, fields, output):
    """One scale, whose words are facts of each model."""
    body, _ = await body_of(server, provider, model=model, thinking=thinking)
    assert body.get("additionalModelRequestFields") == fields
    assert body.get("outputConfig") == output


async def test_what_a_thinking_model_refuses_is_reported(server, provider):
    """Sampling and forced tools; the budget stays below the limit of the answer."""
    options = {"thinking": 9000, "max_tokens": 6000, "temperature": 0.3, "tools": [WEATHER], "tool_choice": "required"}
    body, request = await body_of(server, provider, **options)
    assert body["inferenceConfig"] == {"maxTokens": 6000}
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] < 6000
    assert "toolChoice" not in body["toolConfig"]
    assert {w.parameter for w in request.warnings} == {"thinking", "temperature", "tool_choice"}


async def test_raw_fields_and_parameters_find_their_place(server, provider):
    """Known ones by Bedrock's names, single ones of the model beside them, raw ones as they are."""
    extra = {"performanceConfig": {"latency": "optimized"}, "additionalModelRequestFields": {"x": 1}, "messages": []}
    body, request = await body_of(server, provider, extra=extra, max_tokens=5, temperature=0.5, top_k=7, stop=["a"])
    assert body["inferenceConfig"] == {"maxTokens": 5, "temperature": 0.5, "stopSequences": ["a"]}
    assert body["additionalModelRequestFields"] == {"top_k": 7, "x": 1}
    assert body["performanceConfig"] == {"latency": "optimized"}
    assert [w.parameter for w in request.warnings] == ["messages"]


async def test_a_guardrail_and_cache_points_come_from_the_configuration(server, make):
    """The guardrail looks at the last message only; marks stand after tools, system and messages."""
    provider = await make(
        api_key=KEY,
        guardrail={"id": "gr1", "version": "3", "trace": "enabled", "stream": "async", "only_last_message": True},
        prompt_cache={"at": ["tools", "system", "messages"], "ttl": "1h"},
    )
    mark = {"cachePoint": {"type": "default", "ttl": "1h"}}
    messages = [Message("system", "s"), Message("user", "hi")]
    body, _ = await body_of(server, provider, messages, tools=[WEATHER])
    assert body["guardrailConfig"] == {"guardrailIdentifier": "gr1", "guardrailVersion": "3", "trace": "enabled"}
    assert body["messages"][0]["content"] == [{"guardContent": {"text": {"text": "hi"}}}, mark]
    assert body["system"][-1] == body["toolConfig"]["tools"][-1] == mark
    _ = [e async for e in provider.stream_generate(chat(provider, key=KEY, stream=True))]
    assert server.requests[-1].body["guardrailConfig"]["streamProcessingMode"] == "async"
    body, _ = await body_of(server, provider, model="meta.llama3-1-8b-instruct-v1:0")
    assert "cachePoint" not in str(body)


async def test_what_cannot_be_sent_is_refused_before(provider):
    """Web addresses, foreign formats, nothing at all."""
    for part in (ImagePart(url="https://example.com/a.png"), ImagePart(data=b"BM1234", media_type="image/bmp"),
                 DocumentPart(data=b"x", media_type="application/zip")):  # fmt: skip
        with pytest.raises(UnsupportedFeature):
            await provider.generate(chat(provider, [Message("user", (part,))], key=KEY))
    with pytest.raises(RequestError, match="nothing to answer"):
        await provider.generate(chat(provider, "  ", key=KEY))


async def test_tokens_are_counted_by_the_service(server, provider):
    """For the foundation model behind the profile, with everything that is part of the prompt."""
    server.will(BedrockAnswer(b'{"inputTokens": 375}'))
    assert await provider.count_tokens(chat(provider, tools=[WEATHER], max_tokens=5, key=KEY)) == 375
    seen = server.requests[-1]
    assert seen.model == "anthropic.claude-haiku-4-5-20251001-v1:0"
    assert sorted(seen.body["input"]["converse"]) == ["messages", "toolConfig"]
    server.will(
        BedrockAnswer(b"{}"),
        BedrockAnswer(
            bedrock_error("The provided model doesn't support counting tokens."),
            status=400,
            error="ValidationException",
        ),
    )
    for kind in ("protocol", "invalid_request"):
        with pytest.raises(ProviderError) as caught:
            await provider.count_tokens(chat(provider, key=KEY))
        assert caught.value.type == kind


async def test_models_are_listed_with_what_is_known(server, provider):
    """Which also is the health check, and costs no tokens."""
    server.models = [
        {"modelId": "anthropic.claude-haiku-4-5-20251001-v1:0", "outputModalities": ["TEXT"], "inferenceTypesSupported": ["INFERENCE_PROFILE"]},
        {"modelId": "new.embedder", "outputModalities": ["EMBEDDING"]},
        {"modelId": "new.chat", "outputModalities": ["TEXT"], "converse": {"maxTokensMaximum": 77}, "modelLifecycle": {"status": "LEGACY"}},
    ]  # fmt: skip
    claude, embedder, fresh = await provider.list_models()
    assert claude.facts.context_window == 200_000
    assert "inference profile" in claude.detail
    assert embedder.facts.capabilities == {"embeddings"}
    assert (fresh.facts.max_output_tokens, fresh.facts.capabilities) == (77, frozenset())
    assert "legacy" in fresh.detail
    report = await provider.health_check()
    assert (report.healthy, report.models[1]) == (True, "new.embedder")


async def test_a_provider_without_a_region_is_refused(make, monkeypatch, tmp_path):
    """With what to do about it; an address that holds the region is enough."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="region"):
        await make(region=None, base_url=None, api_key=KEY)
    provider = await make(region=None, base_url="https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", api_key=KEY)
    assert provider._control._base == "https://bedrock-fips.us-gov-west-1.amazonaws.com"
    provider = await make(region="cn-north-1", base_url=None, api_key=KEY)
    assert provider.base_url == "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"
