"""What Anthropic really sent is read as its own SDK read it, and where we read more, the table says why."""

import pytest

from core.llm.common.messages import ThinkingPart
from core.llm.dialects.anthropic_blocks import is_carried, uncarried
from core.llm.dialects.anthropic_decode import decode_count
from core.llm.dialects.anthropic_models import models_from_anthropic
from tests.wire.anthropic.recordings import DIALECT, Recording, recordings
from tests.wire.recorded import assert_cuts_change_nothing, assert_framed, assert_no_answer_before, params

MESSAGES = list(recordings("messages"))
COUNTS = list(recordings("count_tokens"))
ANSWERS = [one for one in MESSAGES if not one.expected.get("error")]
ERRORS = [one for one in MESSAGES + COUNTS if one.expected.get("error")]
STREAMS = [one for one in ANSWERS if one.is_stream]

COMPACTION = "what a compaction used is billed, and stands beside the totals: it is added"

DEVIATIONS: dict[str, tuple[str, dict[str, int]]] = {
    "messages.cache_usage_stream.1213d75e": (COMPACTION, {"input": 281, "output": 91, "cached": 55096}),
}
"""By recording: why we read another number than the SDK, and which."""


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_an_answer_says_what_the_sdk_read(recording: Recording) -> None:
    """Text, thinking, tool calls with their ids, finish reason and model."""
    expected, response = recording.expected, recording.response()
    assert response.content == (expected["text"] or "")
    assert response.thinking == (expected.get("thinking_text") or "")
    assert [{"name": c.name, "arguments": dict(c.arguments)} for c in response.tool_calls] == expected["tool_calls"]
    assert [call.id for call in response.tool_calls] == expected["tool_call_ids"]
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    assert response.finish_reason.unified != "other"
    assert response.model == expected["model"]
    assert response.request_id == recording.headers.get("request-id")


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_no_block_of_an_answer_is_lost(recording: Recording) -> None:
    """Thinking keeps its signature; blocks we have no form for are carried along, in their place."""
    parts = recording.response().parts
    kinds = []
    for part in parts:
        if isinstance(part, ThinkingPart) and part.redacted is not None:
            kinds.append(uncarried(part.redacted)["type"] if is_carried(part.redacted) else "redacted_thinking")
        elif isinstance(part, ThinkingPart):
            assert part.signature
            kinds.append("thinking")
        else:
            kinds.append({"text": "text", "tool_call": "tool_use"}[part.type])
    # Texts that follow each other are one part of a stream: nobody can tell them apart while they come.
    assert _without_repeats(kinds) == _without_repeats(recording.expected["content_types"])


def _without_repeats(kinds: list[str]) -> list[str]:
    return [kind for n, kind in enumerate(kinds) if kind != "text" or n == 0 or kinds[n - 1] != "text"]


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_every_token_is_in_one_bucket(recording: Recording) -> None:
    """Cached tokens stand beside the input, thinking inside the output."""
    told = {name: recording.expected["usage"].get(name) or 0 for name in ("input", "cached", "cache_write", "output")}
    told.update(DEVIATIONS.get(recording.id, ("", {}))[1])
    usage = recording.response().usage
    assert usage.input == told["input"]
    assert usage.cache_read == told["cached"]
    assert usage.cache_write == told["cache_write"]
    assert usage.output_total == told["output"]
    assert usage.total == sum(told.values())
    details = (usage.raw or {}).get("output_tokens_details") or {}
    assert usage.reasoning == details.get("thinking_tokens", 0)
    assert not usage.estimated


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_is_the_same_wherever_the_network_cuts_it(recording: Recording) -> None:
    """However it comes, it says the same."""
    assert_cuts_change_nothing(recording)


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_starts_once_finishes_once_and_never_ends_early(recording: Recording) -> None:
    """Every proper prefix without a reason for stopping is an error."""
    assert_framed(recording.events(recording.body))
    assert_no_answer_before(recording, recording.body.index(b'"message_delta"'))


TYPES = {
    "count_tokens.error.7a21be3e": "model_not_found",
    "messages.error.0a5bad7d": "rate_limit",
    "messages.error.2e22b51e": "model_not_found",
    "messages.error.49c89ac1": "authentication",
    "messages.error.5930fdc9": "model_not_found",
    "messages.error.5dd42042": "invalid_request",
    "messages.error.5ff0d09d": "authentication",
    "messages.error.6ea1bdb0": "context_length",
    "messages.error.853d6ef2": "overloaded",
    "messages.error.af18f6a3": "context_length",
    "messages.error.b126fae1": "invalid_request",
}
"""What each recorded refusal means to a caller."""

TOLD_NOT_TO_RETRY = {"messages.error.0a5bad7d"}
"""`x-should-retry: false`: more tokens than a minute allows, however long one waits."""


@pytest.mark.parametrize("recording", params(ERRORS))
def test_an_error_is_classified_and_keeps_the_vendors_word(recording: Recording) -> None:
    """By code and status; the vendor's advice on trying again wins."""
    error = DIALECT.error(recording.status, recording.headers, recording.body)
    wanted = recording.expected["error"]
    assert error.type == TYPES[recording.id]
    assert error.code == wanted["type"]
    assert error.status_code == wanted["status"]
    assert wanted["message"].split("(")[0].rstrip(". ")[:200] in error.message
    assert error.retryable == (error.type in {"rate_limit", "overloaded"} and recording.id not in TOLD_NOT_TO_RETRY)
    if b'"request_id"' in recording.body or "request-id" in recording.headers:
        assert error.request_id is not None
        assert error.request_id.startswith("req_")


@pytest.mark.parametrize("recording", params(one for one in COUNTS if one.status == 200))
def test_token_counts_are_read(recording: Recording) -> None:
    """The number the SDK read."""
    assert decode_count(recording.headers, recording.body) == recording.expected["usage"]["input"]


@pytest.mark.parametrize("recording", params(recordings("models")))
def test_model_lists_name_every_model(recording: Recording) -> None:
    """As many as the SDK read, in the same order, with their titles; these lists have one page."""
    page = models_from_anthropic(recording.headers, recording.body)
    assert len(page.models) == recording.expected["models_count"]
    assert [model.name for model in page.models][:10] == recording.expected["model_ids"]
    assert all(model.title for model in page.models)
    assert page.after is None


def test_every_entry_of_the_tables_is_needed() -> None:
    """They name recordings that exist."""
    assert DEVIATIONS.keys() <= {one.id for one in ANSWERS}
    assert TYPES.keys() == {one.id for one in ERRORS}
    assert len(MESSAGES) + len(COUNTS) + len(list(recordings("models"))) == 62
