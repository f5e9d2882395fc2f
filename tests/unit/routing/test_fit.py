"""Whether a model can take a request at all."""

from typing import Any

import pytest

from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, Message, TextPart
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.fit import misfit, needs

SCHEMA = {"type": "object", "properties": {}}


def asking(content: Any = "hi", **fields: Any) -> LLMRequest:
    """A request with that content."""
    return LLMRequest(messages=[Message("user", content)], **fields)


@pytest.mark.parametrize(
    ("request_", "mode", "found"),
    [
        (asking(), "generate", {"chat"}),
        (asking(), "stream", {"chat", "stream"}),
        (asking(), "embed", {"embeddings"}),
        (asking(tools=[{"name": "f"}]), "generate", {"chat", "tools"}),
        # There are other ways to ask for an object: see core/llm/structured/choice.py.
        (asking(response_format="json"), "generate", {"chat"}),
        (asking(response_format=SCHEMA), "generate", {"chat"}),
        (asking([ImagePart(url="u")]), "generate", {"chat", "vision"}),
        (asking([TextPart("t"), DocumentPart(data=b"d")]), "generate", {"chat", "documents"}),
        (asking([AudioPart(data=b"a"), AudioPart(data=b"b")]), "stream", {"chat", "stream", "audio"}),
    ],
)
def test_a_request_says_what_it_needs(request_: LLMRequest, mode: str, found: set[Capability]) -> None:
    """Each need is named once."""
    assert sorted(needs(request_, mode)) == sorted(found)


@pytest.mark.parametrize(
    ("request_", "mode", "has", "reason"),
    [
        (asking(), "generate", {"chat"}, None),
        (asking(tools=[{"name": "f"}]), "generate", {"chat"}, "the model does not support tools"),
        (asking(tools=[{"name": "f"}]), "generate", set(), None),
        (asking([ImagePart(url="u")]), "generate", {"chat", "tools"}, "the model does not support images"),
        (asking(response_format=SCHEMA), "generate", {"chat", "json"}, None),
        (asking(), "embed", {"chat"}, "the model does not support embeddings"),
        (asking(), "generate", {"embeddings"}, "the model does not support chat"),
        (asking(), "stream", {"chat"}, "the model does not support streaming"),
    ],
)
def test_what_a_model_is_known_not_to_do_is_a_reason(
    request_: LLMRequest, mode: str, has: set[Capability], reason: str | None
) -> None:
    """Unknown capabilities refuse nothing."""
    assert misfit(request_, mode, ModelFacts(capabilities=frozenset(has))) == reason


def test_a_prompt_that_surely_does_not_fit_is_a_reason() -> None:
    """The bound is generous: what may fit is sent, and the provider decides."""
    facts = ModelFacts(context_window=100)
    assert misfit(asking("x" * 1009), "generate", facts) is None
    assert misfit(asking("x" * 1010), "generate", facts) == (
        "the prompt has at least 101 tokens, the context window is 100"
    )
    assert misfit(asking("x" * 10_000), "embed", facts) is None


@pytest.mark.parametrize(
    ("letters", "max_tokens", "most", "fits"),
    [
        (500, 50, None, True),
        (500, 51, None, False),
        (500, 5000, 50, True),
        (500, 5000, 51, False),
        (500, None, 99, True),
    ],
)
def test_the_answer_that_is_asked_for_counts_towards_the_window(
    letters: int, max_tokens: int | None, most: int | None, fits: bool
) -> None:
    """No further than to what the model can generate, because no more is sent."""
    facts = ModelFacts(context_window=100, max_output_tokens=most)
    assert (misfit(asking("x" * letters, max_tokens=max_tokens), "generate", facts) is None) is fits


def test_an_answer_that_would_be_cut_short_is_a_reason_where_nothing_may_be_lost() -> None:
    """With the policy `error` the caller would rather have no answer."""
    request, facts = asking(max_tokens=101), ModelFacts(max_output_tokens=100)
    assert misfit(request, "generate", facts, policy="warn") is None
    assert "at most 100" in (misfit(request, "generate", facts, policy="error") or "")


@pytest.mark.parametrize(
    ("known", "asked", "fits"),
    [
        (None, 7, True), (True, 7, True), ("dimensions", 7, True), (False, None, True), (False, 7, False),
        (7, 7, True), (7, 8, False), ([7, 8], 8, True), ([7, 8], 9, False), ((7, 8), None, True),
    ],
)  # fmt: skip
def test_a_length_of_vectors_that_a_model_does_not_make_is_a_reason(known: Any, asked: int | None, fits: bool) -> None:
    """Where its lengths are known."""
    facts = ModelFacts(quirks={} if known is None else {"dimensions": known})
    assert (misfit(asking(), "embed", facts, dimensions=asked) is None) is fits


def test_a_text_to_embed_that_surely_does_not_fit_is_a_reason() -> None:
    """One of several is enough."""
    facts = ModelFacts(context_window=10)
    assert misfit(asking(), "embed", facts, inputs=("x" * 109, "y")) is None
    assert "at least 11 tokens" in (misfit(asking(), "embed", facts, inputs=("y", "x" * 110)) or "")
