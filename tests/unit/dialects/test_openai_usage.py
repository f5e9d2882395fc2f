"""Each token is counted once, whichever way a provider counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.types import Usage
from core.llm.dialects.openai_usage import usage_from_openai


def raw(
    prompt: Any, completion: Any, total: Any = None, cached: Any = 0, reasoning: Any = 0, written: Any = 0
) -> dict[str, Any]:
    """A usage object in OpenAI's shape."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (raw(100, 20, 120), Usage(100, 0, 0, 20, 0)),
        (raw(100, 20, 120, cached=40, reasoning=5), Usage(60, 40, 0, 15, 5)),
        (raw(100, 20, 120, cached=40, written=50), Usage(10, 40, 50, 20, 0)),
        (raw(12, 2, 334, cached=2, reasoning=320), Usage(10, 2, 0, 2, 320)),
        (raw(66, 6, 100), Usage(66, 0, 0, 6, 28)),
        ({"prompt_tokens": 9, "completion_tokens": 201, "total_tokens": 585, "prompt_audio_seconds": 3}, Usage(384, 0, 0, 201, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}, Usage(2, 8, 0, 5, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "num_cached_tokens": 8}, Usage(2, 8, 0, 5, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 3}, Usage(1, 6, 3, 5, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6, "cache_creation_tokens": 3}}, Usage(1, 6, 3, 5, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cache_creation_input_tokens": 3}}, Usage(7, 0, 3, 5, 0)),
        ({"prompt_tokens": 7, "total_tokens": 7}, Usage(7)),
        ({"input_tokens": 7, "output_tokens": 3}, Usage(7, 0, 0, 3)),
        ({"prompt_tokens": 7.0, "completion_tokens": 3}, Usage(7, 0, 0, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None}, Usage(7, 0, 0, 3)),
    ],
)  # fmt: skip
def test_buckets_do_not_overlap(given_: dict[str, Any], wanted: Usage) -> None:
    """Cached inside the prompt; reasoning inside the completion, beside it, or nowhere but in the total."""
    usage, warning = usage_from_openai(given_)
    assert usage == wanted
    assert warning is None


@pytest.mark.parametrize("missing", [None, {}, "12", [], {"prompt_tokens": 0, "completion_tokens": 0}])
def test_f49_missing_usage_is_to_be_estimated(missing: object) -> None:
    """F49: zero is what a server says that does not count."""
    assert usage_from_openai(missing)[0].estimated


@pytest.mark.parametrize(
    "given_",
    [raw(-5, 3), raw(10**12, 3), raw("12", 3), raw(5, True), raw(5, float("inf")), raw(5, float("nan")), raw(5.5, 1)],
)
def test_f50_impossible_numbers_are_suspect(given_: dict[str, Any]) -> None:
    """F50: never negative, marked as estimated, and the caller is told."""
    usage, warning = usage_from_openai(given_)
    assert usage.estimated
    assert warning is not None
    assert warning.code == "suspect_usage"
    assert min(usage.input, usage.output, usage.total) >= 0


def test_f50_fewer_tokens_than_text_are_suspect() -> None:
    """F50: nothing generated, but something to read."""
    usage, warning = usage_from_openai(raw(10, 0, 10), visible=5)
    assert usage.estimated
    assert warning is not None
    assert usage_from_openai(raw(10, 100, 110), visible=400)[1] is None
    assert usage_from_openai(raw(10, 1, 11), visible=4000)[1] is not None


def test_more_cached_than_sent_is_read_as_not_cached() -> None:
    """The dearer reading is the safe one for a budget."""
    usage, warning = usage_from_openai(raw(29, 6, 35, cached=157))
    assert usage == Usage(29, 0, 0, 6, 0)
    assert warning is not None


@given(*[st.one_of(st.none(), st.integers(-5, 10**7), st.floats(), st.text(max_size=2))] * 6)
def test_buckets_are_never_negative_and_never_exceed_what_was_told(
    prompt: Any, completion: Any, total: Any, cached: Any, reasoning: Any, written: Any
) -> None:
    """For any numbers and any nonsense."""
    usage, _ = usage_from_openai(raw(prompt, completion, total, cached, reasoning, written))
    buckets = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    assert min(buckets) >= 0
    assert sum(buckets) == usage.total
    if not usage.estimated and isinstance(total, int) and isinstance(prompt, int) and isinstance(completion, int):
        assert usage.total in {total, prompt + completion}
