"""Frames and answers of Converse that were not recorded: order, forms of arguments, kinds of blocks, errors."""

import json

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.converse import ConverseDialect
from core.llm.testing.bedrock_frames import converse_answer, encode_frame, event_frame, exception_frame, text_frame
from tests.unit.dialects.chat import chat

HEADERS = {"x-amzn-requestid": "req-7"}
START = event_frame("messageStart", {"role": "assistant"})
USAGE = event_frame("metadata", {"usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}})


def stop(reason="end_turn"):
    return event_frame("messageStop", {"stopReason": reason})


def opened(index, identifier="a", name="f"):
    start = {"toolUse": {"toolUseId": identifier, "name": name}}
    return event_frame("contentBlockStart", {"contentBlockIndex": index, "start": start})


def delta(index, **what):
    return event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": what})


def collected(*frames, request=None):
    """The answer that a stream amounts to."""
    decoder = ConverseDialect(BedrockConfig()).decoder(request or chat(stream=True), HEADERS)
    collector = ResponseCollector()
    for event in [*decoder.feed(b"".join(frames)), *decoder.end()]:
        collector.add(event)
    return collector.response()


def test_pieces_of_two_calls_in_turn_are_told_apart_by_their_place():
    """A call that is never said to be over is over with the answer."""
    pieces = [
        delta(0, toolUse={"input": '{"x":'}),
        delta(1, toolUse={"input": '{"y":2}'}),
        delta(0, toolUse={"input": "1}"}),
    ]
    found = collected(START, opened(0), opened(1, "b", "g"), *pieces, stop("tool_use"), USAGE)
    assert found.tool_calls == (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {"y": 2}))


def test_a_mark_of_the_models_own_format_is_no_part_of_a_tools_name():
    """gpt-oss writes the channel behind the name now and then."""
    name = "f<|channel|>commentary"
    found = collected(START, opened(0, name=name), delta(0, toolUse={"input": "{}"}), stop("tool_use"), USAGE)
    body = json.loads(converse_answer(""))
    body["output"]["message"]["content"] = [{"toolUse": {"toolUseId": "a", "name": name, "input": {}}}]
    whole = ConverseDialect(BedrockConfig()).decode(chat(), 200, {}, json.dumps(body).encode())
    assert found.tool_calls == whole.tool_calls == (ToolCall("a", "f", {}),)


def test_arguments_may_come_as_an_object():
    """Some models' adapters do not cut them into pieces of text."""
    found = collected(START, opened(0), delta(0, toolUse={"input": {"x": 1}}), stop("tool_use"), USAGE)
    assert found.tool_calls == (ToolCall("a", "f", {"x": 1}),)


def test_what_has_no_form_here_is_reported():
    """A picture that was made, whole or streamed."""
    block = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    body = json.loads(converse_answer("Hi"))
    body["output"]["message"]["content"].append(block)
    whole, streamed = chat(), chat(stream=True)
    answer = ConverseDialect(BedrockConfig()).decode(whole, 200, {}, json.dumps(body).encode())
    assert answer.content == "Hi"
    assert collected(START, text_frame("Hi"), delta(1, **block), stop(), USAGE, request=streamed).content == "Hi"
    for request in (whole, streamed):
        assert [(one.code, one.parameter) for one in request.warnings] == [("dropped", "response")]


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (exception_frame("throttlingException", "slow down"), "rate_limit"),
        (exception_frame("modelStreamErrorException", "boom"), "server_error"),
        (exception_frame("validationException", "Input is too long for requested model."), "context_length"),
        (exception_frame("somethingNewException", "boom"), "server_error"),
        (encode_frame({":message-type": "error", ":error-code": "InternalError", ":error-message": "bad"}), "server_error"),
    ],
)  # fmt: skip
def test_an_error_in_the_middle_keeps_the_id_of_the_request(frame, kind):
    """It stands in the headers only, and AWS asks for it."""
    with pytest.raises(ProviderError) as caught:
        collected(START, text_frame("Hi"), frame)
    assert (caught.value.type, caught.value.request_id, caught.value.billing) == (kind, "req-7", "estimated")


def test_frames_of_kinds_that_aws_adds_later_say_nothing():
    """Neither before nor within the answer."""
    later = event_frame("somethingNew", {"a": 1})
    assert collected(later, START, later, text_frame("Hi"), delta(0, novelty={}), stop(), later, USAGE).content == "Hi"
