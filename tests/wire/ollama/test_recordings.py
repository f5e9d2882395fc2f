"""Answers of real Ollama servers, read as the official client reads them, however the network cuts them."""

import json
from pathlib import Path

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.ollama.catalogue import facts_of
from core.llm.providers.ollama.errors import error_from
from core.llm.providers.ollama.lines import JsonLines
from core.llm.providers.ollama.models.catalogue import ShowResponse, TagsResponse, TransferProgress
from core.llm.providers.ollama.models.responses import ChatResponse, EmbedResponse, GenerateResponse
from tests.unit.providers.ollama.support import chat_request, decoder, dialect

FOLDER = Path(__file__).parents[2] / "recordings" / "ollama"


class Recording:
    def __init__(self, path):
        self.data = json.loads(path.read_text())
        self.id = path.stem
        response = self.data["response"]
        self.status, self.headers = response["status"], response["headers"]
        self.body = response["body_text"].encode()
        self.expected = self.data["expected"]


ALL = [Recording(path) for path in sorted(FOLDER.glob("ollama.*.json")) if ".openai." not in path.name]


def of(wire, *, stream=None, error=False):
    chosen = [
        one
        for one in ALL
        if one.data["wire"] == wire
        and (stream is None or one.data["stream"] is stream)
        and (one.status >= 400) is error
    ]
    assert chosen, f"no recording of {wire}"
    return pytest.mark.parametrize("recording", chosen, ids=lambda one: one.id)


def check_chat(response, expected):
    """Everything that the official client found."""
    assert response.content == (expected["text"] or "")
    assert response.thinking == (expected.get("thinking_text") or "")
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in response.tool_calls]
    assert calls == expected["tool_calls"]
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    assert response.finish_reason.unified == ("tool_calls" if expected["tool_calls"] else "stop")
    assert (response.usage.input, response.usage.output_total) == (
        expected["usage"]["input"],
        expected["usage"]["output"],
    )
    assert not response.usage.estimated
    assert response.model == expected["model"]


@of("ollama.chat", stream=False)
def test_a_whole_chat(recording):
    response = dialect().decode(chat_request(), 200, recording.headers, recording.body)

    check_chat(response, recording.expected)
    durations = recording.expected["durations_ns"]
    typed = ChatResponse.from_json(recording.body)
    assert typed.total_duration == durations["total"]
    assert typed.load_duration == durations["load"]
    assert ChatResponse.from_json(typed.to_json()) == typed


def answer_of(pieces, recording):
    machine = decoder(chat_request(stream=True), recording.headers)
    collector = ResponseCollector()
    for piece in pieces:
        for event in machine.feed(piece):
            collector.add(event)
    for event in machine.end():
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("size", [None, *range(1, 8)])
@of("ollama.chat", stream=True)
def test_a_streamed_chat_in_pieces_of_any_size(recording, size):
    """F68: two hundred lines with characters of several bytes."""
    body = recording.body
    pieces = [body] if size is None else [body[start : start + size] for start in range(0, len(body), size)]

    check_chat(answer_of(pieces, recording), recording.expected)


@of("ollama.chat", stream=True)
def test_a_streamed_chat_cut_at_every_byte(recording):
    """A dozen of its true lines, at every boundary: one cut gives what no cut gives."""
    lines = recording.body.splitlines(keepends=True)
    body = b"".join(lines[:6] + lines[-8:])
    whole = answer_of([body], recording)

    assert whole.finish_reason.raw == recording.expected["finish_reason_raw"]
    for cut in range(len(body) + 1):
        assert answer_of([body[:cut], body[cut:]], recording) == whole


@of("ollama.generate", stream=False)
def test_a_whole_generation(recording):
    reply, expected = GenerateResponse.from_json(recording.body), recording.expected

    assert (reply.response, reply.done, reply.done_reason) == (expected["text"], True, expected["finish_reason_raw"])
    assert (reply.prompt_eval_count, reply.eval_count) == (expected["usage"]["input"], expected["usage"]["output"])
    assert json.loads(reply.to_json()) == json.loads(recording.body)


@of("ollama.generate", stream=True)
def test_a_streamed_generation_cut_at_every_byte(recording):
    body, expected = recording.body, recording.expected
    for cut in range(len(body) + 1):
        lines = JsonLines(recording.headers)
        sources = [*lines.feed(body[:cut]), *lines.feed(body[cut:]), *lines.end()]
        replies = [GenerateResponse.from_object(source) for source in sources]

        assert "".join(reply.response for reply in replies) == expected["text"]
        assert (replies[-1].done, replies[-1].eval_count) == (True, expected["usage"]["output"])


@of("ollama.embed")
def test_vectors(recording):
    reply, expected = EmbedResponse.from_json(recording.body), recording.expected

    assert [len(reply.embeddings), len(reply.embeddings[0])] == expected["embeddings_shape"]
    assert [round(number, 6) for number in reply.embeddings[0][:4]] == expected["embedding_head"]
    assert reply.prompt_eval_count == expected["usage"]["input"]


@of("ollama.tags")
def test_the_installed_models(recording):
    """Models that are forwarded to Ollama's cloud are told apart."""
    reply, expected = TagsResponse.from_json(recording.body), recording.expected

    assert len(reply.models) == expected["models_count"]
    assert [model.name for model in reply.models][:10] == expected["model_ids"]
    assert {model.name for model in reply.models if model.remote_host} == {
        name for name in expected["model_ids"] if "cloud" in name
    }


@of("ollama.show")
def test_the_facts_of_a_model(recording):
    reply = ShowResponse.from_json(recording.body)
    details = {
        name: value for name, value in reply.details.to_object().items() if name in recording.expected["model_details"]
    }

    assert details == recording.expected["model_details"]
    assert list(reply.capabilities) == recording.expected["capabilities"]
    facts = facts_of(reply, 8192)
    assert (facts.context_window, facts.lacks("chat"), facts.lacks("tools")) == (8192, False, True)
    assert facts_of(reply, None).context_window == 32768


@of("ollama.pull")
def test_a_pull_without_its_last_line_is_not_complete(recording):
    """F148: the recording stops early, and must not be taken for a success."""
    lines = [TransferProgress.from_object(source) for source in JsonLines(recording.headers).feed(recording.body)]

    assert [line.status for line in lines] == recording.expected["pull_statuses"]
    assert any(line.succeeded for line in lines) is recording.expected["pull_complete"]


@pytest.mark.parametrize("recording", [one for one in ALL if one.status >= 400], ids=lambda one: one.id)
def test_errors(recording):
    error = error_from(recording.status, recording.headers, recording.body)

    assert error.type == "model_not_found"
    assert error.status_code == recording.expected["error"]["status"]
    assert recording.expected["error"]["message"] in error.message


def test_every_recording_is_read_by_some_test():
    """A new kind of recording must not lie here unread."""
    known = {"ollama.chat", "ollama.generate", "ollama.embed", "ollama.tags", "ollama.show", "ollama.pull"}

    assert {one.data["wire"] for one in ALL} == known
    assert all(one.data["source"]["licence"] for one in ALL)


def test_the_chat_decoder_refuses_a_recorded_pull():
    """Lines of another endpoint are no chat."""
    [pull] = [one for one in ALL if one.data["wire"] == "ollama.pull"]
    machine = decoder()
    machine.feed(pull.body)

    with pytest.raises(ProviderError, match="message"):
        machine.end()
