"""AWS's own SDK and this library say the same to a capturing server, and read the same out of the same answers."""

import asyncio
import base64
import json

import pytest

from core.llm.common.clock import SystemClock
from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import DocumentPart, ImagePart, Message, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.providers.base.response import ResponseCollector
from core.llm.testing.bedrock_server import BedrockAnswer, BedrockServer
from tests.wire.bedrock.support import CLAUDE, chat
from tests.wire.bedrock.test_recordings import CONVERSE, ERRORS, Recording
from tests.wire.recorded import params

boto3 = pytest.importorskip("boto3", reason="the dependency group `differential` is not installed")

from botocore.config import Config  # noqa: E402 - only where boto3 is installed
from botocore.exceptions import ClientError  # noqa: E402 - see above

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "the weather", "parameters": SCHEMA}
SPEC = {"toolSpec": {"name": "weather", "description": "the weather", "inputSchema": {"json": SCHEMA}}}
SIGNED = {"reasoningText": {"text": "hm", "signature": "c2ln"}}

ASKED = {
    "text": ({"messages": "hello"}, {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}),
    "system and limits": (
        {"messages": [Message("system", "Be brief."), Message("user", "hi")], "max_tokens": 9, "temperature": 0.5, "stop": ["x"]},
        {"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "hi"}]}],
         "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["x"]}},
    ),
    "media": (
        {"messages": [Message("user", (TextPart("Look"), ImagePart(data=PNG), DocumentPart(data=b"%PDF-1", name="a.pdf")))]},
        {"messages": [{"role": "user", "content": [
            {"text": "Look"}, {"image": {"format": "png", "source": {"bytes": PNG}}},
            {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF-1"}}}]}]},
    ),
    "tools": (
        {"messages": [
            Message("user", "Weather?"),
            Message("assistant", (ThinkingPart("hm", "c2ln", provider="bedrock"), ThinkingPart("", redacted=base64.b64encode(b"\x00\x01").decode(), provider="bedrock")),
                    tool_calls=(ToolCall("t1", "weather", {"city": "Rome"}),)),
            Message("tool", (ToolResultPart("t1", "no", is_error=True),))],
         "tools": [TOOL], "tool_choice": "weather"},
        {"messages": [
            {"role": "user", "content": [{"text": "Weather?"}]},
            {"role": "assistant", "content": [{"reasoningContent": SIGNED}, {"reasoningContent": {"redactedContent": b"\x00\x01"}},
                                              {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "no"}], "status": "error"}}]}],
         "toolConfig": {"tools": [SPEC], "toolChoice": {"tool": {"name": "weather"}}}},
    ),
    "thinking": (
        {"messages": "hello", "thinking": 2048, "max_tokens": 9000},
        {"messages": [{"role": "user", "content": [{"text": "hello"}]}], "inferenceConfig": {"maxTokens": 9000},
         "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}}},
    ),
}  # fmt: skip


@pytest.fixture
async def server():
    """With the real clock, which is boto3's."""
    async with BedrockServer(clock=SystemClock()) as server:
        yield server


@pytest.fixture
def client(server):
    """AWS's SDK, which signs with the same credentials."""
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id=server.account.access_key,
        aws_secret_access_key=server.account.secret_key,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    yield client
    client.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", [CLAUDE, ARN], ids=["profile", "arn"])
@pytest.mark.parametrize("name", ASKED)
async def test_the_same_request_reaches_the_service(server, client, make, signed, name, model, stream):
    """Path, body and a signature that holds, from both."""
    ours, theirs = ASKED[name]
    provider = await make(**signed)
    request = chat(provider, stream=stream, model=CLAUDE, **ours)
    request.model = model
    if stream:
        _ = [event async for event in provider.stream_generate(request)]
        await asyncio.to_thread(lambda: list(client.converse_stream(modelId=model, **theirs)["stream"]))
    else:
        await provider.generate(request)
        await asyncio.to_thread(client.converse, modelId=model, **theirs)
    assert server.refusals == []
    mine, sdk = server.requests
    assert mine.body == sdk.body
    assert mine.model == sdk.model == model
    assert mine.operation == sdk.operation


@pytest.mark.parametrize("recording", params(CONVERSE))
async def test_the_same_answer_is_read_alike(server, client, make, signed, recording: Recording):
    """The recorded bytes, through both clients and two real connections."""
    frames = [recording.body] if recording.is_stream else None
    server.will(*[BedrockAnswer(recording.body, frames)] * 2)
    message = [{"role": "user", "content": [{"text": "x"}]}]
    provider = await make(**signed)
    request = chat(provider, "x", stream=recording.is_stream)
    if recording.is_stream:
        collector = ResponseCollector()
        async for event in provider.stream_generate(request):
            collector.add(event)
        ours = collector.response()
        theirs = await asyncio.to_thread(lambda: list(client.converse_stream(modelId="m", messages=message)["stream"]))
        deltas = [event["contentBlockDelta"]["delta"] for event in theirs if "contentBlockDelta" in event]
        text = "".join(delta.get("text", "") for delta in deltas)
        starts = [event["contentBlockStart"]["start"] for event in theirs if "contentBlockStart" in event]
        calls = [start["toolUse"]["name"] for start in starts if "toolUse" in start]
        stop = next(event["messageStop"]["stopReason"] for event in theirs if "messageStop" in event)
        usage = next(event["metadata"]["usage"] for event in theirs if "metadata" in event)
    else:
        ours = await provider.generate(request)
        answer = await asyncio.to_thread(client.converse, modelId="m", messages=message)
        content = answer["output"]["message"]["content"]
        text = "".join(block.get("text", "") for block in content)
        calls = [block["toolUse"]["name"] for block in content if "toolUse" in block]
        stop, usage = answer["stopReason"], answer["usage"]
    assert ours.content == text
    assert [call.name for call in ours.tool_calls] == calls
    assert ours.finish_reason.raw == stop
    assert (ours.usage.input, ours.usage.output, ours.usage.total) == (
        usage["inputTokens"], usage["outputTokens"], usage["totalTokens"],
    )  # fmt: skip


@pytest.mark.parametrize("recording", params([one for one in ERRORS if "x-amzn-errortype" in one.headers]))
async def test_the_same_refusal_has_the_same_name(server, client, make, signed, recording: Recording):
    """And the same words."""
    name = recording.headers["x-amzn-errortype"].partition(":")[0]
    server.will(*[BedrockAnswer(recording.body, status=recording.status, error=name)] * 2)
    provider = await make(**signed)
    with pytest.raises(ProviderError) as ours:
        await provider.generate(chat(provider))
    with pytest.raises(ClientError) as theirs:
        await asyncio.to_thread(client.converse, modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])
    assert ours.value.code == theirs.value.response["Error"]["Code"] == name
    assert json.loads(recording.body)["message"][:60].rstrip(". ") in ours.value.message
