"""F37 to F58: answers that are empty, broken, lying, or too much."""

import asyncio
import gzip
import json

import pytest
from pydantic import BaseModel

from core.llm.common.exceptions import StructuredOutputError
from core.llm.testing import FakeClock
from core.llm.testing.wire_dialects import openai_usage
from core.llm.testing.wire_steps import Announce, Fin, Head, Rst, Send, Stall, answer, script
from tests.faults.rig import OPENAI, SOON, TEXT, json_bytes

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"x" * 500


def with_message(dialect, **fields) -> bytes:
    """A complete answer whose message has *fields*."""
    body = json.loads(dialect.body(TEXT))
    message = body["choices"][0]["message"] if dialect is OPENAI else body["message"]
    message.update(fields)
    return json_bytes(body)


@pytest.mark.parametrize(("status", "headers"), [(200, {}), (204, {})])
async def test_f37_empty_body(rig, status, headers):
    """Never `None` to the caller: an error after one more try, and the spare where there is one."""
    rig.server.otherwise(answer(b"", status, headers))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "empty")
    assert outcome.billing == ["ambiguous"] * 2
    assert rig.hits == 2
    assert (await rig.generate("chain")).text == "spare"


async def test_f38_html_page(rig):
    """A captive portal is not an answer; the message says what came, and shows no more than its beginning."""
    rig.server.otherwise(answer(PAGE, headers={"Content-Type": "text/html"}))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "content_type")
    assert outcome.billing == ["ambiguous"] * 2
    assert "html" in str(outcome.error).lower()
    assert "x" * 100 not in str(outcome.error)
    assert (await rig.generate("chain")).text == "spare"


async def test_f39_json_with_the_wrong_label(rig):
    rig.server.will(answer(rig.dialect.body(TEXT), headers={"Content-Type": "text/plain"}))
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert outcome.billing == ["settled"]


async def test_f40_an_error_with_a_good_status(rig):
    """Never a success without content: the inner error counts."""
    rig.server.otherwise(answer(rig.dialect.error("server busy, please try again", code="rate_limit_exceeded")))
    outcome = await rig.generate()
    assert outcome.kind[0] in {"rate_limit", "overloaded"}
    # A server of one's own says nothing about what it has worked on; a vendor does not charge for errors.
    assert set(outcome.billing) == {"none" if rig.dialect is OPENAI else "ambiguous"}
    assert rig.hits == 3


@pytest.mark.parametrize(
    "headers", [{"X-Long": "a" * 70_000}, {f"X-{number}": "a" for number in range(200)}], ids=["long", "many"]
)
async def test_f41_headers_beyond_the_limits(rig, headers):
    rig.server.otherwise(answer(rig.dialect.body(TEXT), headers=headers))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "headers")
    assert outcome.billing == ["ambiguous"]
    assert rig.hits == 1
    await rig.server.connections[0].ended.wait()
    assert (await rig.generate("chain")).text == "spare"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HULLO 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["two-lengths", "length-and-chunks", "status-line", "chunk-size"],
)
async def test_f42_not_http(rig, raw):
    """Answers that two readers could read differently are refused, and the connection is not used again."""
    rig.server.otherwise(script(Send(raw, raw=True)))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "http")
    assert outcome.billing == ["ambiguous"] * 2
    assert [request.nth for request in rig.server.requests] == [1, 1]
    assert (await rig.generate("chain")).text == "spare"


async def test_f43_smuggled_second_answer(rig):
    """Bytes behind an answer never become the next call's answer."""
    evil = rig.dialect.body("evil")
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(evil), evil)
    rig.server.otherwise(rig.dialect.answer().then(Send(smuggled, raw=True)))
    assert [(await rig.generate()).text for _ in range(3)] == [TEXT] * 3
    assert len(rig.server.connections) == 3


@pytest.mark.parametrize("ending", [Fin(), Rst()], ids=["fin", "rst"])
async def test_f44_cut_inside_the_body(rig, ending):
    whole = rig.dialect.body(TEXT)
    rig.server.otherwise(script(Head(200, {}, "length", len(whole)), Send(whole[:40]), Stall(0.01), ending))
    outcome = await rig.generate()
    assert outcome.kind == ("network_error", "body_cut")
    assert outcome.billing == ["ambiguous"] * 3
    assert rig.hits == 3
    assert (await rig.generate("chain")).text == "spare"


async def test_f45_malformed_json(rig):
    """The message says where the JSON goes wrong, and quotes none of it."""
    rig.server.otherwise(answer(rig.dialect.body("canary content")[:-9]))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "json")
    assert outcome.billing == ["ambiguous"] * 2
    assert "canary content" not in str(outcome.error)
    assert (await rig.generate("chain")).text == "spare"


async def test_f46_latin_1(rig):
    rig.server.otherwise(answer(rig.dialect.body("caf?").replace(b"caf?", b"caf\xe9")))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "encoding")
    assert outcome.billing == ["ambiguous"] * 2


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"Infinity", b"1" * 10_000, b"[" * 200_000 + b"]" * 200_000, b'"\\ud800"'],
    ids=["nan", "infinity", "long-number", "deep", "surrogate"],
)
async def test_f47_hostile_json(rig, value):
    """No exception of the parser escapes, and it takes no noticeable time."""
    body = rig.dialect.body(TEXT, extra="@").replace(b'"@"', value)
    rig.server.otherwise(answer(body))
    outcome = await rig.generate()
    if value == b"1" * 10_000 and outcome.error is None:
        assert outcome.text == TEXT
        return
    assert outcome.kind == ("protocol", "json")
    assert rig.hits <= 2
    assert outcome.seconds < SOON


@pytest.mark.parametrize("flaw", ["missing", "empty", "null"])
async def test_f48_no_message(rig, flaw):
    body = json.loads(rig.dialect.body(TEXT))
    if rig.dialect is OPENAI:
        changed = {"missing": {}, "empty": {"choices": []}, "null": {"choices": [{"index": 0, "message": None}]}}[flaw]
        del body["choices"]
    else:
        changed = {"missing": {}, "empty": {"message": []}, "null": {"message": None}}[flaw]
        del body["message"]
    rig.server.otherwise(answer(json_bytes({**body, **changed})))
    outcome = await rig.generate()
    assert outcome.kind[0] == "protocol"
    assert outcome.kind[1] in {"schema", "empty"}
    assert rig.hits == 2
    assert set(outcome.billing) <= {"settled", "ambiguous"}
    assert (await rig.generate("chain")).text == "spare"


async def test_f49_usage_missing(rig):
    """Estimated, and marked as such."""
    body = json.loads(rig.dialect.body(TEXT))
    for name in ("usage", "prompt_eval_count", "eval_count"):
        body.pop(name, None)
    rig.server.will(answer(json_bytes(body)))
    outcome = await rig.generate()
    assert outcome.response.usage.estimated
    assert outcome.response.usage.output > 0
    assert outcome.billing == ["estimated"]


@pytest.mark.parametrize("count", [-5, 10**12])
async def test_f50_usage_absurd(rig, count):
    """Numbers that cannot be true are replaced by an estimate, with a warning."""
    fields = (
        {"usage": {**openai_usage(2), "completion_tokens": count}} if rig.dialect is OPENAI else {"eval_count": count}
    )
    rig.server.will(rig.dialect.answer(**fields))
    outcome = await rig.generate()
    usage = outcome.response.usage
    assert usage.estimated
    assert 0 < usage.total < 10_000
    assert "suspect_usage" in {warning.code for warning in outcome.response.warnings}


async def test_f51_unknown_words(rig):
    """A new finish reason or field is no reason to fail; the raw word is kept."""
    rig.server.will(rig.dialect.answer(finish="model_tired", surprise={"a": 1}))
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert (outcome.response.finish_reason.unified, outcome.response.finish_reason.raw) == ("other", "model_tired")


async def test_f52_blocked_by_the_provider(make_rig):
    """A block is an error that is not routed around."""
    rig = await make_rig(OPENAI)
    body = json.loads(OPENAI.body(""))
    body["choices"][0].update(finish_reason="content_filter", message={"role": "assistant", "content": None})
    rig.server.otherwise(answer(json_bytes(body)))
    outcome = await rig.generate("chain")
    assert outcome.kind[0] == "content_filter"
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


@pytest.mark.parametrize("packed", [True, False], ids=["bomb", "plain"])
async def test_f53_too_large(make_rig, dialect, packed):
    """Stopped at the limit, not after it; what is still on its way is cut off."""
    rig = await make_rig(dialect, provider={"max_response_bytes": 1_000_000})
    huge = dialect.body("0" * 20_000_000)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    rig.server.otherwise(answer(gzip.compress(huge) if packed else huge, headers=headers))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "too_large")
    assert outcome.billing == ["ambiguous"]
    assert rig.hits == 1
    if not packed:
        await rig.server.connections[0].ended.wait()


async def test_f54_a_body_that_drips_for_ever(make_rig, dialect):
    """Ends at the deadline, and is not tried again."""
    clock, begun = FakeClock(), asyncio.Event()
    rig = await make_rig(dialect, clock=clock)
    whole = dialect.body(TEXT)
    head = Head(200, {}, "length", len(whole))
    rig.server.otherwise(script(head, Send(whole[:1]), Announce(begun), Send(whole[1:], slice=1, gap=0.05)))
    call = asyncio.create_task(rig.generate(timeout=20))
    await begun.wait()
    await clock.advance(19)
    assert not call.done()
    await clock.advance(2)
    outcome = await call
    assert outcome.kind == ("timeout", "deadline_exceeded")
    assert outcome.billing == ["ambiguous"]
    assert rig.hits == 1


@pytest.mark.parametrize("cut", [True, False], ids=["truncated", "corrupt"])
async def test_f55_broken_compression(rig, cut):
    """A prefix that can be unpacked is not an answer."""
    packed = gzip.compress(rig.dialect.body(TEXT * 50))
    packed = packed[:-12] if cut else packed[:30] + b"\xff\xff\xff" + packed[33:]
    rig.server.otherwise(answer(packed, headers={"Content-Encoding": "gzip"}))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "encoding")
    assert outcome.billing == ["ambiguous"] * 2


async def test_f56_tool_arguments_that_are_not_json(rig):
    """Data for the caller to judge; nothing is run."""
    call = {"function": {"name": "delete_all", "arguments": '{"now": tru'}}
    call = {"id": "c1", "type": "function", **call} if rig.dialect is OPENAI else call
    rig.server.will(answer(with_message(rig.dialect, content="", tool_calls=[call])))
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    outcome = await rig.generate(tools=[tool])
    (made,) = outcome.response.tool_calls
    assert (made.name, made.arguments, made.raw_arguments) == ("delete_all", {}, '{"now": tru')
    assert made.arguments_error


async def test_f57_structured_output_that_does_not_fit(rig):
    """The raw text is on the error, and not in its message."""

    class Invoice(BaseModel):
        total: int

    rig.server.otherwise(rig.dialect.answer('{"total": "canary"}'))
    with pytest.raises(StructuredOutputError) as caught:
        await rig.llm.generate_object("read it", Invoice, model="only")
    assert caught.value.text == '{"total": "canary"}'
    assert "canary" not in str(caught.value)
    assert rig.hits <= 2


async def test_f58_a_huge_error_body(rig):
    """Classified by its status; most of it is never fetched."""
    rig.server.otherwise(answer(b"e" * 25_000_000, 400))
    outcome = await rig.generate()
    assert outcome.kind[0] == "invalid_request"
    assert len(str(outcome.error)) < 1000
    await rig.server.connections[0].ended.wait()
    assert rig.hits == 1
