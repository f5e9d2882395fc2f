"""The official `ollama` client judges the scripted server and our client: the same request, the same result."""

import warnings

import ollama
import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.ollama.models import requests
from core.llm.testing.ollama_script import OllamaAnswer, OllamaDownload, OllamaModelSpec

MESSAGES = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
    },
    {"role": "tool", "content": "rain", "tool_name": "weather"},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "the weather",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    },
}
VOLATILE = {"created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "expires_at"}


@pytest.fixture
async def official(server):
    """The client of the `ollama` package."""
    with warnings.catch_warnings():
        # The package and the HTTP library below it warn about themselves.
        warnings.simplefilter("ignore")
        async with ollama.AsyncClient(host=server.url, trust_env=False) as client:
            yield client


def stable(value):
    """What two equal calls have in common: no times, no fields without a value."""
    if isinstance(value, list | tuple):
        return [stable(item) for item in value]
    if isinstance(value, dict):
        return {
            name: stable(item)
            for name, item in value.items()
            if name not in VOLATILE and item not in (None, "", (), [], {})
        }
    return value


def same(ours, theirs, *leave_out):
    """Ours says at least what the official client read."""
    got, wanted = stable(ours.to_object()), stable(theirs.model_dump(mode="json", by_alias=True))
    for name in leave_out:
        got.pop(name, None)
        wanted.pop(name, None)
    assert _within(wanted, got), f"{wanted}\nis not within\n{got}"


def _within(part, whole):
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and _within(item, whole[name]) for name, item in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(_within, part, whole))
    return part == whole


def bodies(server, path):
    """What both clients sent to *path*, without the nulls and empty values that the official one adds."""
    calls = server.calls_to(path)
    return [stable(call.body) for call in calls]


async def test_chat(server, official, client):
    answer = OllamaAnswer("It rains", thinking="let me see", tool_calls=[("weather", {"city": "Oslo"})])
    server.script(answer, answer)
    theirs = await official.chat("tiny", MESSAGES, tools=[TOOL], think=True, options={"seed": 1}, keep_alive="5m")
    ours = await client.chat(
        requests.ChatRequest(
            model="tiny", messages=MESSAGES, tools=[TOOL], think=True, options={"seed": 1}, keep_alive="5m"
        )
    )

    same(ours, theirs)
    assert ours.message.thinking == theirs.message.thinking == "let me see"
    first, second = bodies(server, "/api/chat")
    assert first == second


async def test_a_streamed_chat(server, official, client):
    answer = OllamaAnswer("It rains today", thinking="hm hm")
    server.script(answer, answer)
    theirs = [line async for line in await official.chat("tiny", MESSAGES[:1], stream=True)]
    ours = [line async for line in client.chat_stream(requests.ChatRequest(model="tiny", messages=MESSAGES[:1]))]

    assert len(ours) == len(theirs) == 6
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other)


async def test_generate(server, official, client):
    theirs = await official.generate("tiny", "hi", system="be brief", options={"num_predict": 2})
    ours = await client.generate(
        requests.GenerateRequest(model="tiny", prompt="hi", system="be brief", options={"num_predict": 2})
    )

    same(ours, theirs)
    assert (ours.response, ours.done_reason) == ("You said:", "length")


async def test_a_format_and_its_schema(server, official, client):
    schema = {"type": "object", "properties": {"said": {"type": "string"}}}
    theirs = await official.chat("tiny", MESSAGES[:1], format=schema)
    ours = await client.chat(requests.ChatRequest(model="tiny", messages=MESSAGES[:1], format=schema))

    same(ours, theirs)
    assert ours.message.content == '{"said":"weather?"}'


async def test_embeddings_of_both_kinds(server, official, client):
    same(
        await client.embed(requests.EmbedRequest(model="embedder", input=["a", "b"], dimensions=4)),
        await official.embed("embedder", ["a", "b"], dimensions=4),
    )
    same(
        await client.embeddings(requests.EmbeddingsRequest(model="embedder", prompt="a")),
        await official.embeddings("embedder", "a"),
    )


async def test_lists_and_facts(server, official, client):
    await official.generate("tiny", keep_alive=60)
    # The official client reads fewer fields and turns times into objects; those are left to the other tests.
    for ours, theirs in (
        (await client.tags(), await official.list()),
        (await client.ps(), await official.ps()),
    ):
        assert [model.model for model in ours.models] == [model.model for model in theirs.models]
        assert [model.digest for model in ours.models] == [model.digest for model in theirs.models]
        assert [model.size for model in ours.models] == [int(model.size) for model in theirs.models]
    same(await client.show(requests.ShowRequest(model="tiny")), await official.show("tiny"), "modified_at")


async def test_pull_push_create_copy_delete(server, official, client, tmp_path):
    server.publish(OllamaDownload(OllamaModelSpec("one"), steps=2), OllamaDownload(OllamaModelSpec("two"), steps=2))
    theirs = [line.status async for line in await official.pull("one", stream=True)]
    ours = [line.status async for line in client.pull(requests.PullRequest(model="two"))]
    assert [status.split()[0] for status in ours] == [status.split()[0] for status in theirs]

    theirs = [line async for line in await official.push("one", stream=True)]
    ours = [line async for line in client.push(requests.PushRequest(model="one"))]
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other)

    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF")
    digest = await official.create_blob(file)
    assert await client.upload_blob(file) == digest
    theirs = [line.status async for line in await official.create("x", files={"f": digest}, stream=True)]
    ours = [line.status async for line in client.create(requests.CreateRequest(model="y", files={"f": digest}))]
    assert ours == theirs

    await official.copy("x", "x2")
    await client.copy(requests.CopyRequest(source="y", destination="y2"))
    await official.delete("x")
    await client.delete(requests.DeleteRequest(model="y"))
    assert {name for name in server.store.installed if name[0] in "xy"} == {"x2:latest", "y2:latest"}


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("nowhere", {}),
        ("embedder", {}),
        ("tiny", {"options": {"num_ctx": "many"}}),
    ],
)
async def test_refusals_have_the_same_status_and_words(server, official, client, model, body):
    with pytest.raises(ollama.ResponseError) as theirs:
        await official.chat(model, MESSAGES[:1], **body)
    with pytest.raises(ProviderError) as ours:
        await client.chat(requests.ChatRequest(model=model, messages=MESSAGES[:1], **body))

    assert ours.value.status_code == theirs.value.status_code
    assert theirs.value.error in ours.value.message


async def test_an_error_in_a_stream_reaches_both(server, official, client):
    answer = OllamaAnswer("one", error="the runner has stopped")
    server.script(answer, answer)
    with pytest.raises(ollama.ResponseError, match="runner"):
        async for _ in await official.chat("tiny", MESSAGES[:1], stream=True):
            pass
    with pytest.raises(ProviderError, match="runner"):
        async for _ in client.chat_stream(requests.ChatRequest(model="tiny", messages=MESSAGES[:1])):
            pass
