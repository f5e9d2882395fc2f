"""`OllamaClient`: every endpoint of the API, over real HTTP."""

import asyncio
import hashlib
import math
from contextlib import aclosing

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.ollama.client import OllamaClient
from core.llm.providers.ollama.models.requests import (
    ChatMessage,
    ChatRequest,
    CopyRequest,
    CreateRequest,
    DeleteRequest,
    EmbeddingsRequest,
    EmbedRequest,
    GenerateRequest,
    PullRequest,
    PushRequest,
    ShowRequest,
)
from core.llm.testing.ollama_script import OllamaAnswer, OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions

HELLO = [ChatMessage(role="user", content="hello there")]


async def test_chat_in_one_piece(client, server):
    server.script(OllamaAnswer("Good day", thinking="polite", tool_calls=[("wave", {"hand": "left"})]))
    reply = await client.chat(ChatRequest(model="tiny", messages=HELLO))

    assert (reply.message.content, reply.message.thinking, reply.done_reason) == ("Good day", "polite", "stop")
    assert [(call.name, call.arguments) for call in reply.message.tool_calls] == [("wave", {"hand": "left"})]
    assert (reply.prompt_eval_count, reply.eval_count) == (2, 3)
    assert server.calls[-1].body["stream"] is False


async def test_chat_line_by_line(client, server):
    """The last line has the counts."""
    server.script(OllamaAnswer("one two three"))
    lines = [line async for line in client.chat_stream(ChatRequest(model="tiny", messages=HELLO))]

    assert [line.message.content for line in lines] == ["one", " two", " three", ""]
    assert [line.done for line in lines] == [False, False, False, True]
    assert lines[-1].eval_count == 3


async def test_generate_both_ways(client, server):
    whole = await client.generate(GenerateRequest(model="tiny", prompt="hi"))
    lines = [line async for line in client.generate_stream(GenerateRequest(model="tiny", prompt="hi"))]

    assert whole.response == "".join(line.response for line in lines) == "You said: hi"


async def test_a_stream_that_is_cut_is_an_error(client, server):
    """F62: after what was delivered."""
    server.script(OllamaAnswer("one two", cut=True))
    seen = []
    with pytest.raises(ProviderError) as caught:
        async for line in client.chat_stream(ChatRequest(model="tiny", messages=HELLO)):
            seen.append(line.message.content)

    assert seen == ["one", " two"]
    assert (caught.value.type, caught.value.code) == ("protocol", "truncated")


async def test_an_answer_that_is_not_done_is_an_error(client, server):
    server.script(OllamaAnswer("half", cut=True))

    with pytest.raises(ProviderError, match="complete"):
        await client.chat(ChatRequest(model="tiny", messages=HELLO))


async def test_an_error_line_is_an_error(client, server):
    """F66: status 200 was sent long before."""
    server.script(OllamaAnswer("one", error="model runner has unexpectedly stopped"))
    seen = []
    with pytest.raises(ProviderError, match="unexpectedly stopped"):
        async for line in client.chat_stream(ChatRequest(model="tiny", messages=HELLO)):
            seen.append(line.message.content)

    assert seen == ["one"]


async def test_leaving_a_stream_frees_the_server(client, server):
    """F80: Ollama stops generating when the connection is cut."""
    server.script(OllamaAnswer("one two three", hold=asyncio.Event()))
    async with aclosing(client.chat_stream(ChatRequest(model="tiny", messages=HELLO))) as lines:
        async for line in lines:
            assert line.message.content == "one"
            break

    async with asyncio.timeout(30):
        while server.open_streams:
            await asyncio.sleep(0.005)


async def test_embed_gives_vectors_of_length_one(client, server):
    reply = await client.embed(EmbedRequest(model="embedder", input=["a", "b", "a"], keep_alive="10m"))

    assert reply.embeddings[0] == reply.embeddings[2] != reply.embeddings[1]
    assert all(math.isclose(math.hypot(*vector), 1) for vector in reply.embeddings)
    assert reply.prompt_eval_count == 3


async def test_embed_may_refuse_what_does_not_fit(client, server):
    with pytest.raises(ProviderError) as caught:
        await client.embed(EmbedRequest(model="embedder", input="word " * 40, truncate=False))

    assert caught.value.type == "context_length"


async def test_the_older_endpoint_gives_one_vector(client, server):
    reply = await client.embeddings(EmbeddingsRequest(model="embedder", prompt="a"))

    assert len(reply.embedding) == 6
    assert not math.isclose(math.hypot(*reply.embedding), 1)


async def test_tags_show_ps_version_status(client, server):
    await client.generate(GenerateRequest(model="tiny", keep_alive=-1, options={"num_ctx": 2048}))
    tags, ps = await client.tags(), await client.ps()
    shown = await client.show(ShowRequest(model="tiny", verbose=True))

    assert [model.name for model in tags.models] == ["tiny:latest", "embedder:latest"]
    assert [(model.name, model.context_length, model.expires_at[:4]) for model in ps.models] == [
        ("tiny:latest", 2048, "2318")
    ]
    assert "completion" in shown.capabilities
    assert shown.context_length == 4096
    assert (await client.version()).version == "0.33.0"
    assert (await client.status()).cloud == {"disabled": True, "source": "env"}


async def test_pull_reports_every_line_up_to_success(client, server):
    server.publish(OllamaDownload(OllamaModelSpec("new"), layers=(100, 50), steps=2))
    lines = [line async for line in client.pull(PullRequest(model="new"))]

    assert lines[0].status == "pulling manifest"
    assert [line.completed for line in lines if line.total == 100] == [None, 50, 100]
    assert lines[-1].succeeded
    assert "new:latest" in [model.name for model in (await client.tags()).models]


async def test_a_pull_of_what_does_not_exist_fails(client, server):
    """The registry's answer comes inside a 200."""
    with pytest.raises(ProviderError) as caught:
        async for _ in client.pull(PullRequest(model="nowhere")):
            pass

    assert caught.value.type == "model_not_found"


async def test_a_pull_that_ends_without_success_is_an_error(client, server):
    server.publish(OllamaDownload(OllamaModelSpec("new"), cut=True))
    with pytest.raises(ProviderError) as caught:
        async for _ in client.pull(PullRequest(model="new")):
            pass

    assert caught.value.code == "truncated"


async def test_push(client, server):
    lines = [line async for line in client.push(PushRequest(model="tiny"))]

    assert lines[-1].succeeded


async def test_copy_and_delete(client, server):
    await client.copy(CopyRequest(source="tiny", destination="twin"))
    assert "twin:latest" in server.store.installed
    await client.delete(DeleteRequest(model="twin"))
    assert "twin:latest" not in server.store.installed

    for call in (client.delete(DeleteRequest(model="twin")), client.copy(CopyRequest(source="x", destination="y"))):
        with pytest.raises(ProviderError) as caught:
            await call
        assert caught.value.type == "model_not_found"


async def test_a_file_becomes_a_blob_and_the_blob_a_model(client, server, tmp_path):
    """The file travels in pieces, and only once."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" * 700_000)
    wanted = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"

    assert not await client.blob_exists(wanted)
    assert await client.upload_blob(file) == wanted
    assert await client.blob_exists(wanted)
    assert await client.upload_blob(str(file)) == wanted
    assert [call.method for call in server.calls if "blobs" in call.path].count("POST") == 1
    request = CreateRequest(model="mine", files={"model.gguf": wanted}, parameters={"num_ctx": 512})
    assert [line async for line in client.create(request)][-1].succeeded
    assert (await client.show(ShowRequest(model="mine"))).parameter("num_ctx") == "512"


async def test_a_blob_with_another_digest_is_refused(client, server, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"content")

    with pytest.raises(ProviderError) as caught:
        await client.upload_blob(file, "sha256:" + "0" * 64)
    assert caught.value.code == "digest_mismatch"
    with pytest.raises(ProviderError) as caught:
        await client.blob_exists("sha256:../../etc")
    assert caught.value.code == "invalid_digest"


async def test_creating_from_nothing_is_refused(client, server):
    with pytest.raises(ProviderError, match="neither"):
        async for _ in client.create(CreateRequest(model="mine")):
            pass


async def test_an_older_server_lacks_the_newest_endpoint(client, server):
    server.fail("/api/status", 404, "404 page not found")

    with pytest.raises(ProviderError) as caught:
        await client.status()
    assert caught.value.code == "not_found"


async def test_the_client_follows_its_binding():
    """After a reload the next call goes to the new server; a running stream ends on the old one."""
    async with OllamaServer("tiny") as old, OllamaServer("tiny", version="0.34.0") as new:
        transports = [HttpTransport(HttpOptions(server.url)) for server in (old, new)]
        current = transports[0]
        client = OllamaClient(lambda: current)
        gate = asyncio.Event()
        old.script(OllamaAnswer("from the old", hold=gate))
        stream = client.chat_stream(ChatRequest(model="tiny", messages=HELLO))
        first = await anext(stream)
        current = transports[1]

        assert (await client.version()).version == "0.34.0"
        gate.set()
        rest = [line.message.content async for line in stream]
        assert first.message.content + "".join(rest) == "from the old"
        for transport in transports:
            await transport.close()
