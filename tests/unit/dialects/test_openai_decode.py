"""Whole answers: read in every form servers give them, and an error where there is no complete answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import FinishReason, Usage
from tests.unit.dialects.chat import answer, chat, decoded


def refused(body: Any, **quirks: Any) -> ProviderError:
    """The error that an answer is read as."""
    with pytest.raises(ProviderError) as caught:
        decoded(body, **quirks)
    return caught.value


def test_a_plain_answer() -> None:
    """Text, finish reason, model, usage and the raw object."""
    found = decoded(answer(usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}))
    assert (found.content, found.finish_reason, found.model) == ("Hi", FinishReason("stop", "stop"), "big-1")
    assert found.usage == Usage(3, output=1)
    assert found.raw["id"] == "c1"


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_f37_an_empty_body_is_no_answer(body: bytes) -> None:
    """F37: never nothing."""
    assert (refused(body).type, refused(body).code, refused(body).billing) == ("protocol", "empty", "ambiguous")


def test_f38_a_web_page_is_no_answer() -> None:
    """F38: the message shows type, length and a few harmless characters."""
    error = refused(b"<html><body>Please log in \x1b[31m" + b"x" * 5000)
    assert (error.type, error.code) == ("protocol", "content_type")
    assert "5031 bytes" in error.message
    assert "\x1b" not in error.message
    assert len(error.message) < 300


def test_f39_the_label_does_not_matter() -> None:
    """F39: JSON is JSON, also after a thousand keep-alive spaces or a byte order mark."""
    for prefix in (b" \n" * 1000, b"\xef\xbb\xbf"):
        assert decoded(prefix + to_json(answer())).content == "Hi"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"error": {"message": "no", "code": "model_not_found"}}, "model_not_found"),
        ({"error": {"message": "busy", "code": 503}}, "overloaded"),
        ({"error": "boom"}, "server_error"),
        (b'[{"error": {"message": "no", "code": 403}}]', "permission"),
        ({"object": "error", "message": "no", "type": "rate_limited"}, "rate_limit"),
        ({"choices": [{"error": {"message": "no", "code": 502}, "message": {"content": ""}}]}, "server_error"),
    ],
)
def test_f40_an_error_with_a_good_status_is_an_error(body: Any, wanted: str) -> None:
    """F40: classified by the code inside."""
    assert refused(body).type == wanted


@pytest.mark.parametrize(
    "body", [b'{"choices": [', b"not json", b'{"choices": NaN}', b"\xff\xfe\x00", b'{"a": "\xe9"}']
)
def test_f45_f46_malformed_answers(body: bytes) -> None:
    """F45, F46."""
    assert refused(body).type == "protocol"
    assert refused(body).code in {"json", "encoding"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": "x"},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
    ],
)
def test_f48_an_answer_without_a_message(body: dict[str, Any]) -> None:
    """F48: settled where it was billed all the same."""
    assert (refused(body).code, refused(body).billing) == ("schema", "ambiguous")
    assert refused({**body, "usage": {"prompt_tokens": 3, "completion_tokens": 0}}).billing == "settled"


def test_f49_missing_usage_is_flagged() -> None:
    """F49: somebody has to estimate."""
    assert decoded(answer()).usage == Usage(estimated=True)


def test_f50_absurd_usage_is_told() -> None:
    """F50: as a warning of the request."""
    request = chat()
    assert decoded(answer(usage={"prompt_tokens": -1, "completion_tokens": 10**15}), request).usage.estimated
    assert [warning.code for warning in request.warnings] == ["suspect_usage"]


def test_f51_unknown_words_are_kept() -> None:
    """F51: an unknown finish reason is `other`, with the raw word; unknown roles and fields do not matter."""
    found = decoded(answer({"role": "robot", "content": "Hi", "mood": "good"}, "meltdown"))
    assert found.finish_reason == FinishReason("other", "meltdown")
    assert decoded(answer(finish=None)).finish_reason == FinishReason("other", None)
    assert decoded(answer(finish="")).finish_reason == FinishReason("other", None)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_finish_reasons(raw: str, wanted: str) -> None:
    """Our word beside the provider's own."""
    assert decoded(answer(finish=raw)).finish_reason == FinishReason(wanted, raw)  # type: ignore[arg-type]  # from the table


def test_f52_a_withheld_answer_is_an_error() -> None:
    """F52: nothing was delivered, so nothing is presented."""
    assert refused(answer({"content": ""}, "content_filter")).type == "content_filter"
    assert refused(answer({"content": "x"}, "error")).type == "server_error"


def test_a_refusal_is_not_text() -> None:
    """It keeps the model's words."""
    found = decoded(answer({"content": None, "refusal": "I can't"}))
    assert (found.content, found.refusal, found.finish_reason.unified) == ("", "I can't", "refusal")


def test_an_empty_text_within_its_limit_is_an_answer() -> None:
    """The whole budget went into thinking."""
    found = decoded(answer({"content": ""}, "length"))
    assert (found.content, found.finish_reason.unified) == ("", "length")


def test_only_the_first_choice_is_used() -> None:
    """By its number, not by its place."""
    choices = [{"index": 1, "message": {"content": "B"}}, {"index": 0, "message": {"content": "A"}}]
    assert decoded({"choices": choices}).content == "A"


def test_content_lists_and_missing_content() -> None:
    """Parts of text and thinking; no content at all beside a tool call."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
        {"type": "reference", "reference_ids": [1]},
    ]
    found = decoded(answer({"content": parts}))
    assert (found.thinking, found.content) == ("hm", "Hi")
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert dict(decoded(answer({"tool_calls": [call]}, "tool_calls")).tool_calls[0].arguments) == {}
    assert decoded(answer({"content": "Hi", "tool_calls": []})).tool_calls == ()


def test_think_tags_only_where_told() -> None:
    """And only at the beginning of the answer."""
    text = "<think>\nhm\n</think>\n\nHi </think>"
    assert decoded(answer({"content": text})).content == text
    found = decoded(answer({"content": text}), think_tags=True)
    assert (found.thinking, found.content) == ("hm\n", "Hi </think>")
    assert decoded(answer({"content": "Hi <think>x</think>"}), think_tags=True).content == "Hi <think>x</think>"
    assert decoded(answer({"content": "<think>never closed"}), think_tags=True).thinking == "never closed"


@given(st.binary())
def test_random_bytes_raise_only_protocol_errors(data: bytes) -> None:
    """Never anything else."""
    assert refused(data).type == "protocol"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "message",
                    "tool_calls",
                    "index",
                    "id",
                    "function",
                    "name",
                    "arguments",
                    "type",
                    "text",
                    "thinking",
                    "reasoning",
                    "reasoning_details",
                    "refusal",
                    "usage",
                    "prompt_tokens",
                    "choices",
                    "finish_reason",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(values, values, values)
def test_any_json_raises_only_provider_errors(message: Any, finish: Any, usage: Any) -> None:
    """Whatever stands in the known fields."""
    raised: Exception | None = None
    try:
        decoded({"choices": [{"message": message, "finish_reason": finish}], "usage": usage})
    except ProviderError as error:
        raised = error
    assert raised is None or isinstance(raised, ProviderError)
