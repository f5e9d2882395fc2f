"""What real LM Studio servers sent is read as recorded: chat as the SDK read it, the native API by its own fields."""

import json
from pathlib import Path

import pytest

from core.llm.common.clock import SystemClock
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.lm_studio.api import LMStudioApi
from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.lm_studio.dialect import LMStudioDialect
from core.llm.providers.openai_server import NativeApi
from tests.wire.lm_studio.support import chat_request

RECORDINGS = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parents[2] / "recordings/lmstudio").iterdir()
}
CHAT = {name: one for name, one in RECORDINGS.items() if one["wire"] == "openai.chat"}


class Recorded:
    """A transport that answers with one recording."""

    def __init__(self, recording):
        self.status = recording["response"]["status"]
        self.headers = recording["response"]["headers"]
        self.body = recording["response"]["body_text"].encode()
        self.calls = []

    async def send(self, call, limits):
        self.calls.append((call.method, call.path))
        return self

    async def read(self):
        return self.body

    def close(self):
        """Nothing is open."""


def api_of(name):
    transport = Recorded(RECORDINGS[name])
    return transport, LMStudioApi(NativeApi(lambda: transport, SystemClock()))


def read(recording):
    dialect = LMStudioDialect(LMStudioConfig())
    headers, body = recording["response"]["headers"], recording["response"]["body_text"].encode()
    request = chat_request(stream=recording["stream"])
    if not recording["stream"]:
        return dialect.decode(request, 200, headers, body)
    decoder, collector = dialect.decoder(request, headers), ResponseCollector()
    events = [event for at in range(len(body)) for event in decoder.feed(body[at : at + 1])]
    for event in [*events, *decoder.end()]:
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("name", [name for name, one in CHAT.items() if not one["expected"].get("error")])
def test_an_answer_says_what_the_sdk_read(name):
    """Leading newlines stay, empty lists of tool calls are none, numbers are ids, every token is counted once."""
    expected, response = CHAT[name]["expected"], read(CHAT[name])

    assert response.content == (expected["text"] or "")
    assert response.thinking == (expected.get("thinking_text") or "")
    assert [{"name": call.name, "arguments": dict(call.arguments)} for call in response.tool_calls] == expected[
        "tool_calls"
    ]
    assert [call.id for call in response.tool_calls] == expected["tool_call_ids"]
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    if expected["usage"] is not None:
        assert response.usage.total == expected["usage"]["total"]
        assert response.usage.reasoning == (expected["usage"]["reasoning"] or 0)


def test_an_unknown_model_is_a_matter_of_the_model():
    """Although its status is 400."""
    recording = RECORDINGS["lmstudio.openai.chat.error.6408c5a6"]["response"]
    error = LMStudioDialect(LMStudioConfig()).error(400, recording["headers"], recording["body_text"].encode())

    assert (error.type, error.code, error.scope, error.retryable) == (
        "model_not_found",
        "model_not_found",
        "model",
        False,
    )


async def test_the_list_of_models():
    """Instances, contexts, abilities, variants."""
    transport, api = api_of("lmstudio.rest.models.5947c86e")
    models = {model.key: model for model in await api.models()}

    assert transport.calls == [("GET", "/api/v1/models")]
    gemma = models["google/gemma-3-1b"]
    assert [(one.id, one.context_length) for one in gemma.instances] == [("google/gemma-3-1b", 8192)]
    assert (gemma.facts(None).context_window, gemma.max_context_length) == (8192, 32_768)
    assert gemma.answers_to("google/gemma-3-1b@4bit")
    assert models["google/gemma-4-e4b"].capabilities >= {"vision", "tools", "thinking"}
    assert models["qwen/qwen3-4b-2507"].capabilities == {"chat", "stream", "json", "json_schema", "tools"}
    embedder = models["text-embedding-nomic-embed-text-v1.5"]
    assert (embedder.can_chat, embedder.capabilities) == (False, {"embeddings"})


async def test_a_list_with_nothing_in_memory():
    """Contexts are then the longest possible, unless one is configured."""
    _, api = api_of("lmstudio.rest.models.7bec36df")
    models = await api.models()

    assert not any(model.instances for model in models)
    assert (models[0].facts(None).context_window, models[0].facts(4096).context_window) == (262_144, 4096)


async def test_a_load_an_unload_and_a_download():
    """The answers of the released API."""
    _, api = api_of("lmstudio.rest.load.d02ee070")
    loaded = await api.load("google/gemma-3-1b", {})
    assert (loaded.instance_id, loaded.seconds, loaded.config) == ("google/gemma-3-1b", 7.882, {})
    _, api = api_of("lmstudio.rest.unload.428efbcf")
    await api.unload("google/gemma-3-1b")
    _, api = api_of("lmstudio.rest.download.919e5206")
    job = await api.download("google/gemma-3-1b")

    assert (job.state, job.progress.message) == ("done", "already_downloaded")


@pytest.mark.parametrize("body", [b"[]", b'{"models": 3}', b'{"status": "loading"}', b"<html>", b'{"error": "no"}'])
async def test_an_answer_of_another_shape_is_an_error(body):
    """Never taken for success."""
    transport, api = api_of("lmstudio.rest.load.d02ee070")
    transport.body = body
    for ask in (api.models(), api.load("m", {})):
        with pytest.raises(ProviderError):
            await ask
