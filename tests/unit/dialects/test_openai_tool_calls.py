"""Tool calls in pieces: however a server numbers and names them, two calls are never mixed."""

from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.providers.base.response import ToolCallDelta, ToolCallReady
from tests.unit.dialects.chat import answer, chunk, collected, decoded, events, sse

END = chunk(finish="tool_calls")


def piece(
    arguments: str = "",
    *,
    name: str | None = None,
    id: str | None = None,  # noqa: A002 - as on the wire
    index: int | str | None = None,
) -> dict[str, Any]:
    """One piece, with only the fields that are given."""
    out: dict[str, Any] = {"function": {"arguments": arguments}}
    if name is not None:
        out["function"]["name"] = name
    if id is not None:
        out["id"] = id
    if index is not None:
        out["index"] = index
    return out


def calls(*pieces: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls that pieces amount to, each piece in a chunk of its own."""
    found = collected(sse(*(chunk({"tool_calls": [one]}) for one in pieces), END)).tool_calls
    return [(call.id, call.name, call.arguments_json()) for call in found]


TWO = [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(
            [piece(name="f", id="a", index=0), piece('{"x":', index=0), piece("1}", index=0), piece('{"y":2}', name="g", id="b", index=1)],
            id="one after the other",
        ),
        pytest.param(
            [piece(name="f", id="a", index=0), piece(name="g", id="b", index=1), piece('{"y":', index=1), piece('{"x":', index=0), piece("2}", index=1), piece("1}", index=0)],
            id="interleaved",
        ),
        pytest.param(
            [piece(name="f", id="a", index=0), piece('{"x":1}', id="", index=0), piece('{"y":2}', name="g", id="b", index=4)],
            id="empty ids and a gap in the numbers",
        ),
        pytest.param([piece('{"x":1}', name="f", id="a"), piece('{"y":2}', name="g", id="b")], id="no index"),
        pytest.param(
            [piece(name="f", id="a"), piece('{"x":'), piece("1}"), piece(name="g", id="b"), piece('{"y":2}')],
            id="no index, in pieces",
        ),
        pytest.param(
            [piece(name="f", id="a"), piece(name="g", id="b"), piece('{"x":', id="a"), piece('{"y":2}', id="b"), piece("1}", id="a")],
            id="told apart by id alone",
        ),
        pytest.param(
            [piece('{"x":1}', name="f", id="a", index=0), piece('{"y":2}', name="g", id="b", index=0)],
            id="one index for all",
        ),
        pytest.param(
            [piece('{"x":', name="f", id="a", index=0), piece("1}", name="f", id="a", index=0), piece('{"y":2}', name="g", id="b", index=1)],
            id="everything repeated",
        ),
        pytest.param(
            [piece('{"x":', name="f", id="a", index=0), piece("1}", id="another", index=0), piece('{"y":2}', name="g", id="b", index=1)],
            id="a new id on every piece",
        ),
        pytest.param(
            [piece('{"x":', name="f", id="a", index=0), piece("1", name="f", id="r1", index=0), piece("}", name="f", id="r2", index=0), piece("", name="f", id="r3", index=0), piece('{"y":2}', name="g", id="b", index=1)],
            id="a new id and the name on every piece",
        ),
        pytest.param(
            [piece('{"x":', name="f", id="a"), piece("1}", id="r1"), piece('{"y":2}', name="g", id="b")],
            id="a new id on every piece, no index",
        ),
        pytest.param(
            [piece(name="f", id="a", index="0"), piece(name="g", id="b", index="1"), piece('{"x":', index="0"), piece('{"y":', index="1"), piece("1}", index="0"), piece("2}", index="1")],
            id="interleaved, with numbers written as text",
        ),
    ],
)  # fmt: skip
def test_f82_two_calls_are_never_mixed(pieces: list[dict[str, Any]]) -> None:
    """F82: interleaved, without index, with gaps, with empty or repeated ids."""
    assert calls(*pieces) == TWO


def test_two_calls_of_one_tool_without_index_and_id() -> None:
    """Complete arguments followed by a name: another call, with an id of its own."""
    found = calls(piece('{"x":1}', name="f"), piece('{"x":2}', name="f"))
    assert [(name, arguments) for _, name, arguments in found] == [("f", '{"x":1}'), ("f", '{"x":2}')]
    assert len({identifier for identifier, _, _ in found}) == 2


def test_a_name_may_come_in_pieces_too() -> None:
    """OpenAI's own SDK joins them; a call without an id of its own is another one, as ever."""
    assert calls(piece(name="get_", id="a", index=0), piece(name="time", index=0), piece("{}", index=0)) == [
        ("a", "get_time", "{}")
    ]
    assert [name for _, name, _ in calls(piece(name="f", index=0), piece("{}", name="g", index=0))] == ["f", "g"]


@pytest.mark.parametrize("names", [["find<|channel|>json"], ["find", "<|channel|>", "json"], ["fi", "nd<|constrain|>"]])
def test_a_mark_of_the_models_own_format_is_no_part_of_a_name(names: list[str]) -> None:
    """gpt-oss writes the channel behind the name now and then, and servers pass it on."""
    pieces = [piece(name=name, id="" if n else "a", index=0) for n, name in enumerate(names)]
    assert calls(*pieces, piece("{}", index=0)) == [("a", "find", "{}")]


def test_calls_of_free_text_are_kept_and_flagged() -> None:
    """What OpenAI calls a custom tool: its input is no JSON, and must not be lost."""
    call = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "grep", "input": "-r foo"}}
    first = {**call, "custom": {"name": "grep", "input": "-r "}}
    later = {"index": 0, "custom": {"input": "foo"}}
    streamed = collected(sse(chunk({"tool_calls": [first]}), chunk({"tool_calls": [later]}), END))
    for found in (decoded(answer({"tool_calls": [call]}, "tool_calls")), streamed):
        (one,) = found.tool_calls
        assert (one.id, one.name, one.raw_arguments) == ("a", "grep", "-r foo")
        assert one.arguments_error


def test_missing_ids_are_made_up_and_always_the_same() -> None:
    """The same answer gives the same ids, whole or streamed; another answer gives others."""
    streamed = calls(piece("{}", name="f"))
    assert streamed == calls(piece("{}", name="f"))
    whole = decoded(answer({"tool_calls": [{"id": "", "function": {"name": "f", "arguments": "{}"}}]}, "tool_calls"))
    assert whole.tool_calls[0].id == streamed[0][0]
    assert streamed[0][0].startswith("call_")


def test_pieces_are_reported_as_they_come_and_calls_when_they_are_whole() -> None:
    """A null name or id is an empty one."""
    null: dict[str, Any] = {"index": 0, "id": None, "function": {"name": None, "arguments": "{} "}}
    found = events(sse(chunk({"tool_calls": [piece(name="f", id="a", index=0)]}), chunk({"tool_calls": [null]}), END))
    assert found[1:-1] == [
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(0, "", "", "{} "),
        ToolCallReady(0, ToolCall("a", "f", {})),
    ]


def test_f56_arguments_that_are_no_json_are_kept_and_flagged() -> None:
    """F56: as the model wrote them, never executed, never lost."""
    for text in ('{"x": 1', "[1]", "hello", '{"x": NaN}'):
        call = collected(sse(chunk({"tool_calls": [piece(text, name="f", id="a")]}), END)).tool_calls[0]
        assert (call.raw_arguments, dict(call.arguments)) == (text, {})
        assert call.arguments_error


def test_arguments_may_be_an_object() -> None:
    """As some servers send them against the format."""
    body = answer({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}, "tool_calls")
    assert dict(decoded(body).tool_calls[0].arguments) == {"x": 1}


def test_the_old_function_call_is_a_tool_call() -> None:
    """Whole and streamed."""
    whole = decoded(answer({"function_call": {"name": "f", "arguments": '{"x":1}'}}, "function_call"))
    streamed = collected(
        sse(
            chunk({"function_call": {"name": "f"}}),
            chunk({"function_call": {"arguments": '{"x":1}'}}),
            chunk(finish="function_call"),
        )
    )
    assert whole.tool_calls == streamed.tool_calls
    assert whole.finish_reason.unified == streamed.finish_reason.unified == "tool_calls"


@pytest.mark.parametrize("bad", [[piece('{"x":1}')], ["text"], "text", [piece("{}", id="a")]])
def test_f82_pieces_that_belong_to_no_call_are_an_error(bad: Any) -> None:
    """F82: rather than a call that nobody made."""
    with pytest.raises(ProviderError) as caught:
        collected(sse(chunk({"tool_calls": bad}), END))
    assert (caught.value.type, caught.value.code) == ("protocol", "tool_delta")


def test_a_stop_with_tool_calls_is_a_turn_for_the_caller() -> None:
    """Some servers say `stop`; the raw word is kept."""
    found = collected(sse(chunk({"tool_calls": [piece("{}", name="f", id="a")]}), chunk(finish="stop")))
    assert (found.finish_reason.unified, found.finish_reason.raw) == ("tool_calls", "stop")


def test_googles_signature_is_kept() -> None:
    """It has to come back with the call."""
    call = {**piece("{}", name="f", id="a"), "extra_content": {"google": {"thought_signature": "sig"}}}
    assert decoded(answer({"tool_calls": [call]}, "tool_calls")).tool_calls[0].signature == "sig"
