"""F59 to F86, first half: streams that break, end early, or say strange things."""

import json

import pytest

from core.llm.providers.base.response import StreamStart
from core.llm.testing.wire_dialects import ndjson, openai_chunk, openai_usage, sse
from core.llm.testing.wire_steps import End, Fin, Rst, Send, Stall, answer
from tests.faults.rig import OLLAMA, OPENAI, SOON, TEXT

BEGUN = "The quick "


@pytest.mark.parametrize("ending", [Fin(), Rst()], ids=["fin", "rst"])
async def test_f59_cut_after_the_head(rig, ending):
    """Invisible to the consumer when the next try succeeds."""
    rig.server.will(rig.dialect.stream([], end=False).then(Stall(0.01), ending), rig.dialect.stream())
    outcome = await rig.stream()
    assert outcome.error is None
    assert outcome.text == TEXT
    assert outcome.billing[0] == "ambiguous"
    assert rig.hits == 2


async def test_f59_cut_after_the_head_for_ever(rig):
    rig.server.otherwise(rig.dialect.stream([], end=False).then(Fin()))
    outcome = await rig.stream()
    assert outcome.kind == ("network_error", "body_cut")
    assert rig.hits == 3
    assert (await rig.stream("chain")).text == "spare"


async def test_f60_cut_after_lifecycle_events(rig):
    """The consumer sees exactly one start, that of the stream that was delivered."""
    rig.server.will(rig.dialect.stream(rig.dialect.opening, end=False).then(Stall(0.01), Fin()), rig.dialect.stream())
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert [type(event) for event in outcome.events].count(StreamStart) == 1
    assert rig.hits == 2


# A reset may overtake bytes in the kernel, so it comes after a pause: how many arrive must be certain here.
@pytest.mark.parametrize(
    ("pause", "ending"), [(0.0, Fin()), (0.02, Fin()), (0.02, Rst())], ids=["fin-at-once", "fin", "rst"]
)
async def test_f61_cut_after_output(rig, pause, ending):
    """What was delivered is what was sent; nothing is repeated, nobody else is asked, the error holds it all."""
    rig.server.otherwise(rig.dialect.stream(rig.dialect.begun(), end=False).then(Stall(pause), ending))
    outcome = await rig.stream("chain")
    assert outcome.kind == ("network_error", "body_cut")
    assert outcome.text == BEGUN
    assert outcome.error.partial.text == BEGUN
    assert not outcome.error.retryable
    assert outcome.billing == ["estimated"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


async def test_f62_clean_end_without_a_marker_before_output(rig):
    """An end without a finish is never a finish."""
    rig.server.will(rig.dialect.stream(rig.dialect.opening))
    rig.server.otherwise(rig.dialect.stream())
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert rig.hits == 2


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_f62_clean_end_without_a_marker_after_output(rig, framing):
    rig.server.otherwise(rig.dialect.stream(rig.dialect.begun(), framing=framing))
    outcome = await rig.stream("chain")
    assert outcome.kind == ("protocol", "truncated")
    assert outcome.text == outcome.error.partial.text == BEGUN
    assert outcome.billing == ["estimated"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


@pytest.mark.parametrize("leave_out", ["done", "finish"])
async def test_f63_one_terminal_marker_is_enough(rig, leave_out):
    if rig.dialect is OPENAI:
        frames = OPENAI.frames(TEXT, **({"done": False} if leave_out == "done" else {"finish": None}))
    else:
        *lines, last = OLLAMA.frames(TEXT)
        end = json.loads(last)
        end.pop("done_reason")
        frames = [*lines, ndjson(end)]
    rig.server.will(rig.dialect.stream(frames))
    outcome = await rig.stream()
    assert outcome.error is None
    assert outcome.text == TEXT


async def test_f64_marker_and_then_silence(rig):
    """The iteration ends at once; the connection is closed."""
    rig.server.will(rig.dialect.stream(end=False).then(Stall()))
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert outcome.seconds < SOON
    await rig.server.connections[0].ended.wait()


async def test_f65_data_after_the_marker(rig):
    """Ignored, and never taken for the next answer."""
    evil = rig.dialect.begun()[-1].replace(b"quick", b"evil!")
    rig.server.will(rig.dialect.stream([*rig.dialect.frames(TEXT), evil, evil], end=False).then(Stall()))
    rig.server.otherwise(rig.dialect.stream())
    assert (await rig.stream()).text == TEXT
    assert (await rig.stream()).text == TEXT


def error_frame(dialect, message="the server is overloaded") -> bytes:
    """An error in the middle of a stream."""
    if dialect is OPENAI:
        return sse({"error": {"message": message, "type": "server_error", "code": None}})
    return ndjson({"error": message})


async def test_f66_error_event_before_output(rig):
    """Classified, and tried again."""
    rig.server.will(rig.dialect.stream([*rig.dialect.opening, error_frame(rig.dialect)]))
    rig.server.otherwise(rig.dialect.stream())
    outcome = await rig.stream()
    assert outcome.text == TEXT
    assert rig.hits == 2
    assert outcome.attempts[0].error_type in {"server_error", "overloaded"}


async def test_f66_error_event_after_output(rig):
    """Never yielded as text."""
    rig.server.otherwise(rig.dialect.stream([*rig.dialect.begun(), error_frame(rig.dialect)]))
    outcome = await rig.stream("chain")
    assert outcome.kind[0] in {"server_error", "overloaded"}
    assert outcome.text == outcome.error.partial.text == BEGUN
    assert outcome.billing == ["estimated"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


@pytest.mark.parametrize("words", [0, 2])
async def test_f67_half_a_frame_at_the_end(rig, words):
    """Discarded, not parsed."""
    whole = rig.dialect.frames(TEXT)
    frames = rig.dialect.begun(words) if words else list(rig.dialect.opening)
    half = whole[len(frames)] if words else whole[1]
    rig.server.otherwise(rig.dialect.stream([*frames, half[: len(half) // 2]]))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "truncated")
    assert outcome.text == (BEGUN if words else "")
    assert rig.hits == (1 if words else 3)


async def test_f68_every_byte_by_itself(rig):
    """Characters cut in two arrive whole."""
    text = "naïve 😀 日本"
    rig.server.will(rig.dialect.stream(rig.dialect.frames(text), slice=1))
    outcome = await rig.stream()
    assert outcome.text == text


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
async def test_f69_the_grammar_of_event_streams(make_rig, newline):
    """Comments, unknown fields, several data lines, a byte order mark, separators inside data."""
    rig = await make_rig(OPENAI)
    odd = "a\u2028b\u0085c\x0bd"
    chunk = json.dumps(
        {"choices": [{"index": 0, "delta": {"content": odd}, "finish_reason": None}]}, ensure_ascii=False
    )
    first, second = chunk.encode().split(b'"choices": ')
    lines = [
        b"\xef\xbb\xbf: hello", b"", b"id: 7", b"retry: 10", b"data: " + first + b'"choices":', b"data: " + second, b"",
        b":", b"event: message", b"data:" + OPENAI.frames("x", usage=False)[-2][6:].strip(), b"", b"data: [DONE]", b"", b"",
    ]  # fmt: skip
    rig.server.will(OPENAI.stream([newline.join(lines)]))
    outcome = await rig.stream()
    assert outcome.error is None
    assert outcome.text == odd


async def test_f69_lines_of_json_with_other_ends(make_rig):
    """CRLF, blank lines, and a last line without an end."""
    rig = await make_rig(OLLAMA)
    lines = [line.strip() for line in OLLAMA.frames(TEXT)]
    rig.server.will(OLLAMA.stream([b"\r\n\r\n".join(lines)]))
    assert (await rig.stream()).text == TEXT


async def test_f70_a_line_of_nine_megabytes(rig):
    big = "x" * 9_000_000
    rig.server.will(rig.dialect.stream(rig.dialect.frames(big)))
    outcome = await rig.stream()
    assert outcome.error is None
    assert len(outcome.text) == len(big)


async def test_f71_a_line_without_an_end(rig):
    """Refused at the limit of one event."""
    endless = [b'data: {"x": "' if rig.dialect is OPENAI else b'{"x": "'] + [b"0" * 1_000_000] * 18
    rig.server.otherwise(rig.dialect.stream(endless, end=False).then(Stall()))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "too_large")
    assert rig.hits == 1
    await rig.server.connections[0].ended.wait()


@pytest.mark.parametrize("words", [0, 2])
async def test_f72_malformed_json_in_one_event(rig, words):
    """Never skipped silently."""
    broken = b"data: {oops\n\n" if rig.dialect is OPENAI else b"{oops\n"
    frames = rig.dialect.begun(words) if words else rig.dialect.opening
    rig.server.otherwise(rig.dialect.stream([*frames, broken, *rig.dialect.frames(TEXT)[len(frames) :]]))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "json")
    assert outcome.text == (BEGUN if words else "")
    assert rig.hits == (1 if words else 2)
    if words:
        assert outcome.error.partial.text == BEGUN


async def test_f73_usage_in_every_chunk(make_rig):
    """Cumulative numbers are not added up: the last ones count."""
    rig = await make_rig(OPENAI)
    words = TEXT.split(" ")
    frames = [openai_chunk({"content": word + " "}, usage=openai_usage(n)) for n, word in enumerate(words, 1)]
    last = openai_usage(len(words))
    rig.server.will(
        OPENAI.stream(
            [*frames, openai_chunk({}, finish="stop", usage=last), openai_chunk(None, usage=last), b"data: [DONE]\n\n"]
        )
    )
    outcome = await rig.stream()
    assert outcome.response.usage.total == last["total_tokens"]
    assert not outcome.response.usage.estimated


async def test_f74_usage_behind_the_finish(rig):
    """Read although the finish reason had been seen, also when it takes another packet."""
    *frames, last = rig.dialect.frames(TEXT)
    if rig.dialect is OPENAI:
        *frames, usage = frames
        last = usage + last
    rig.server.will(rig.dialect.stream(frames, end=False).then(Stall(0.05), Send(last), End()))
    outcome = await rig.stream()
    assert not outcome.response.usage.estimated
    assert outcome.response.usage.output == 4
    assert outcome.billing in (["settled"], ["estimated"])


@pytest.mark.parametrize("content_type", ["application/json", None], ids=["labelled", "mislabelled"])
async def test_f83_json_instead_of_a_stream(rig, content_type):
    """Delivered as one piece."""
    headers = {"Content-Type": content_type or rig.dialect.content_type}
    rig.server.will(answer(rig.dialect.body(TEXT), headers=headers))
    outcome = await rig.stream()
    assert outcome.error is None
    assert outcome.text == TEXT


async def test_f84_a_page_instead_of_a_stream(rig):
    """Never an empty success."""
    rig.server.otherwise(answer(b"<html><body>Sign in</body></html>", headers={"Content-Type": "text/html"}))
    outcome = await rig.stream()
    assert outcome.kind == ("protocol", "content_type")
    assert outcome.billing == ["ambiguous"] * 2
    assert rig.hits == 2
    assert (await rig.stream("chain")).text == "spare"


async def test_f82_interleaved_tool_calls(make_rig):
    """Deltas of two calls, a gap in the numbering: never mixed."""
    rig = await make_rig(OPENAI)

    def piece(index, arguments, **call):
        function = {"arguments": arguments, **({"name": call.pop("name")} if "name" in call else {})}
        return openai_chunk({"tool_calls": [{"index": index, "function": function, **call}]})

    frames = [
        piece(0, "", id="a", type="function", name="look"),
        piece(3, "", id="b", type="function", name="find"),
        piece(0, '{"x"'),
        piece(3, '{"y"'),
        piece(0, ": 1}"),
        piece(3, ": 2}"),
        openai_chunk({}, finish="tool_calls"),
        b"data: [DONE]\n\n",
    ]
    rig.server.will(OPENAI.stream(frames))
    calls = (await rig.stream()).response.tool_calls
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        ("a", "look", {"x": 1}),
        ("b", "find", {"y": 2}),
    ]


async def test_f82_tool_calls_with_one_id(make_rig):
    """Two calls in two lines are two calls."""
    rig = await make_rig(OLLAMA)
    lines = [
        ndjson({"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": name, "arguments": {"x": 1}}}]}, "done": False})
        for name in ("look", "find")
    ]  # fmt: skip
    rig.server.will(OLLAMA.stream([*lines, OLLAMA.frames("")[-1]]))
    calls = (await rig.stream()).response.tool_calls
    assert [call.name for call in calls] == ["look", "find"]
    assert len({call.id for call in calls}) == 2
