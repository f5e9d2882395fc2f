"""Whatever the bytes, the decoders end with events or a `ProviderError`; nothing else comes out."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import StreamFinish, StreamStart
from core.llm.providers.ollama.lines import JsonLines
from core.llm.providers.ollama.models.catalogue import PsResponse, ShowResponse, TagsResponse, TransferProgress
from core.llm.providers.ollama.models.responses import ChatResponse, EmbeddingsResponse, EmbedResponse, GenerateResponse
from tests.unit.providers.ollama.support import chat_request, dialect, run

REPLIES = (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    PsResponse,
    ShowResponse,
    TagsResponse,
    TransferProgress,
)
KEYS = st.sampled_from(
    [
        "message",
        "done",
        "error",
        "content",
        "thinking",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "models",
        "details",
        "embeddings",
        "embedding",
        "model_info",
        "capabilities",
        "eval_count",
        "done_reason",
        "status",
        "id",
        "response",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)
BYTES = st.binary(max_size=200) | OBJECTS.map(lambda value: json.dumps(value).encode() + b"\n")


@settings(max_examples=150, deadline=None)
@given(st.lists(BYTES, max_size=4))
def test_a_stream_of_anything_ends_in_one_way(chunks):
    """One start at most, one finish exactly where there is no error."""
    events, error = run(chunks)

    assert sum(isinstance(event, StreamStart) for event in events) <= 1
    assert (error is None) == (bool(events) and isinstance(events[-1], StreamFinish))


@settings(max_examples=100, deadline=None)
@given(st.lists(BYTES, max_size=3), st.integers(min_value=1, max_value=9))
def test_the_cut_never_matters(chunks, size):
    """The same events and the same kind of end, in pieces of any size."""
    body = b"".join(chunks)
    whole, error = run([body])
    cut, other = run([body[start : start + size] for start in range(0, len(body), size)])

    assert cut == whole
    assert (other and other.code) == (error and error.code)


@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_an_answer_of_anything_is_an_answer_or_an_error(body):
    try:
        response = dialect().decode(chat_request(), 200, {}, body)
    except ProviderError:
        return

    assert response.parts


@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_every_typed_answer_reads_anything_or_refuses(body):
    for kind in REPLIES:
        try:
            reply = kind.from_json(body)
        except ProviderError:
            continue

        assert kind.from_json(reply.to_json()) == reply


@settings(max_examples=80, deadline=None)
@given(st.lists(BYTES, max_size=4))
def test_lines_of_anything_are_objects_or_an_error(chunks):
    lines = JsonLines({})
    try:
        for chunk in chunks:
            assert all(isinstance(source, dict) for source in lines.feed(chunk))
        assert all(isinstance(source, dict) for source in lines.end())
    except ProviderError:
        pass
