"""Requests refuse what Ollama would silently ignore; answers tolerate and keep what is new."""

import json

import pytest
from pydantic import ValidationError

from core.llm.common.exceptions import ProviderError
from core.llm.providers.ollama.models import requests
from core.llm.providers.ollama.models.catalogue import PsResponse, ShowResponse, TagsResponse
from core.llm.providers.ollama.models.responses import ChatResponse, EmbedResponse, GenerateResponse
from core.llm.providers.ollama.naming import canonical_name


def test_a_request_is_exactly_the_fields_that_were_set():
    request = requests.ChatRequest(model="m", messages=[{"role": "user", "content": "hi"}], think=None)

    assert json.loads(request.to_json()) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_nulls_inside_data_of_the_user_survive():
    """`{"const": null}` is a schema, and a tool may be called with null."""
    schema = {"properties": {"n": {"const": None}}}
    call = {"function": {"name": "f", "arguments": {"x": None}}}
    request = requests.ChatRequest(
        model="m", format=schema, messages=[{"role": "assistant", "tool_calls": [call]}], options={"seed": None}
    )
    body = json.loads(request.to_json())

    assert body["format"] == schema
    assert body["messages"][0]["tool_calls"] == [call]
    assert body["options"] == {"seed": None}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (requests.ChatRequest, {"model": "m", "mesages": []}),
        (requests.ChatRequest, {"model": ""}),
        (requests.ChatRequest, {"model": "m", "messages": [{"role": "robot"}]}),
        (requests.ChatRequest, {"model": "m", "think": "very"}),
        (requests.ChatRequest, {"model": "m", "keep_alive": "soon"}),
        (requests.GenerateRequest, {"model": "m", "top_logprobs": 21}),
        (requests.EmbedRequest, {"model": "m"}),
        (requests.PullRequest, {}),
    ],
)
def test_a_request_that_cannot_mean_anything_is_refused(kind, fields):
    with pytest.raises(ValidationError):
        kind(**fields)


def test_a_request_reads_back_as_it_was_written():
    request = requests.CreateRequest(model="m", from_="base", parameters={"num_ctx": 10}, license=["MIT"])

    assert json.loads(request.to_json())["from"] == "base"
    assert requests.CreateRequest.from_json(request.to_json()) == request
    with pytest.raises(ValueError, match="model"):
        requests.CreateRequest.from_json(b'{"quantize": "q4"}')


def test_pictures_may_be_given_as_bytes():
    assert json.loads(requests.GenerateRequest(model="m", images=[b"\x00"]).to_json())["images"] == ["AA=="]


def test_what_a_newer_server_adds_is_kept():
    """In `extra`, and in what is written again."""
    source = b'{"model":"m","message":{"role":"assistant","content":"x","mood":"fine"},"done":false,"shiny":[1]}'
    reply = ChatResponse.from_json(source)

    assert reply.extra == {"shiny": [1]}
    assert reply.message.extra == {"mood": "fine"}
    assert json.loads(reply.to_json())["shiny"] == [1]


def test_an_answer_made_by_hand_can_be_written():
    """For hosts that play the server in their tests."""
    made = GenerateResponse("m", done=True, done_reason="stop", response="hi", eval_count=1)

    assert GenerateResponse.from_json(made.to_json()) == made


def test_vectors_must_be_numbers():
    with pytest.raises(ProviderError, match="embeddings"):
        EmbedResponse.from_json(b'{"embeddings": [["a"]]}')


@pytest.mark.parametrize("kind", [TagsResponse, PsResponse])
def test_a_list_that_is_missing_is_not_an_empty_list(kind):
    """Otherwise any JSON object would mean that no model is there."""
    with pytest.raises(ProviderError, match="models"):
        kind.from_json(b"{}")
    assert kind.from_json(b'{"models": null}').models == ()


def test_facts_are_read_from_the_metadata():
    shown = ShowResponse.from_json(
        b'{"model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},'
        b' "parameters": "num_ctx                        8192\\nstop                           \\"<|im_end|>\\""}'
    )

    assert (shown.context_length, shown.parameter("num_ctx"), shown.parameter("stop")) == (40960, "8192", "<|im_end|>")
    assert shown.capabilities is None


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("qwen3", "qwen3:latest"),
        ("Qwen3:8B", "qwen3:8b"),
        ("host:5000/team/m", "host:5000/team/m:latest"),
        ("hf.co/x/y:Q4_0", "hf.co/x/y:q4_0"),
    ],
)
def test_names_are_compared_as_the_server_compares_them(name, full):
    assert canonical_name(name) == full
