"""Objects through the whole service: how they are asked for, held to their model, asked for again, and paid for."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, Field

from core.llm.common.exceptions import ProviderError, StructuredOutputError, UnsupportedFeature
from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage
from core.llm.providers.base.request import LLMRequest, NamedTool
from core.llm.providers.base.response import ToolCallDelta, ToolCallReady
from tests.unit.llm.support import serving


class Invoice(BaseModel):
    """What is wanted."""

    number: str
    total: float = Field(ge=0)


class Names(BaseModel):
    names: list[str]


GOOD = '{"number": "A1", "total": 9.5}'
BAD = '{"number": "A1", "total": -1}'
TOOLS: dict[str, Any] = {"providers": {"alpha": {"models": {"m": {"capabilities": ["chat", "stream", "tools"]}}}}}
WORDS: dict[str, Any] = {"providers": {"alpha": {"models": {"m": {"capabilities": ["chat", "stream"]}}}}}
PRICED: dict[str, Any] = {"providers": {"alpha": {"models": {"m": {"price": {"input": 1, "output": 10}}}}}}


def call(arguments: str, name: str = "Invoice") -> ToolCall:
    """A call of the tool that carries the answer."""
    return ToolCall.from_text("c1", name, arguments)


@pytest.mark.parametrize(
    ("config", "text", "calls"), [({}, GOOD, []), (TOOLS, "I will.", [call(GOOD)]), (WORDS, f"```\n{GOOD}\n```", [])]
)
async def test_the_same_object_comes_out_of_every_way(config: dict[str, Any], text: str, calls: list[ToolCall]) -> None:
    """A native schema, the arguments of a tool, or words."""
    async with serving(**config) as world:
        world.alpha.will_answer(text, tool_calls=calls)
        response = await world.service.generate_object("read it", Invoice)
        assert response.object == Invoice(number="A1", total=9.5)
        assert response.finish_reason.unified == "stop"
        assert response.tool_calls == ()
        sent = world.alpha.last_request.params
        assert (sent.response_format is not None) == (config == {})
        assert (sent.tool_choice == NamedTool("Invoice")) == (config == TOOLS)
        assert [one.code for one in response.warnings][:1] == ([] if config == {} else ["emulated"])


async def test_an_answer_that_does_not_fit_is_asked_for_once_more_and_both_are_paid() -> None:
    """The model reads what was wrong; usage, cost and trace are those of both."""
    async with serving(**PRICED) as world:
        world.alpha.will_answer(BAD, usage=Usage(input=100, output=10, cache_read=5))
        world.alpha.will_answer(GOOD, usage=Usage(input=200, output=20, reasoning=7))
        response = await world.service.generate_object("read it", Invoice)
        assert response.object == Invoice(number="A1", total=9.5)
        assert response.usage == Usage(input=300, output=30, cache_read=5, reasoning=7)
        assert response.cost is not None
        assert response.cost.amount == Decimal("0.000675")
        assert response.trace is not None
        assert [one.decision for one in response.trace.attempts] == ["answered", "answered"]
        assert response.trace.notes == ["the answer was no Invoice: asked once more"]
        assert "asked once more" in response.warnings[-1].message
        asked = world.alpha.last_request.messages
        assert [message.role for message in asked] == ["user", "assistant", "user"]
        assert asked[1].text == BAD
        assert "total: Input should be greater than or equal to 0" in asked[2].text
        assert world.leases() == 0


async def test_it_is_asked_for_once_more_and_never_twice() -> None:
    """The error has the last answer, its reason, and the price of both."""
    async with serving(**PRICED) as world:
        for text in (GOOD.replace("9.5", "-1"), GOOD.replace("9.5", '"canary"'), GOOD):
            world.alpha.will_answer(text, usage=Usage(input=100, output=10))
        with pytest.raises(StructuredOutputError) as caught:
            await world.service.generate_object("read it", Invoice)
        error = caught.value
        assert len(world.alpha.requests) == 2
        assert (error.reason, error.text) == ("invalid", '{"number": "A1", "total": "canary"}')
        assert "canary" not in str(error)
        assert error.usage == Usage(input=200, output=20)
        assert error.cost is not None
        assert error.cost.amount == Decimal("0.0004")
        assert error.trace is not None
        assert len(error.trace.attempts) == 2
        assert world.leases() == 0


async def test_no_second_question_is_asked_where_no_attempt_is_left() -> None:
    """`retry.max_attempts` holds for these too."""
    async with serving(retry={"max_attempts": 1, "max_retries": 0}) as world:
        world.alpha.will_answer(BAD)
        with pytest.raises(StructuredOutputError, match="total"):
            await world.service.generate_object("read it", Invoice)
        assert len(world.alpha.requests) == 1


async def test_a_mended_answer_says_that_it_was_mended() -> None:
    """And is not asked for again."""
    async with serving() as world:
        world.alpha.will_answer('{"number": "A1", "total": 9.5,}')
        response = await world.service.generate_object("read it", Invoice)
        assert response.object == Invoice(number="A1", total=9.5)
        assert response.content == '{"number": "A1", "total": 9.5,}'
        assert [one.message for one in response.warnings] == ["the answer was mended: a comma was too many"]
        assert len(world.alpha.requests) == 1


@pytest.mark.parametrize(
    ("finish", "reason"), [("refusal", "refused"), ("content_filter", "refused"), ("length", "truncated")]
)
async def test_refusals_and_cut_answers_are_never_asked_again(finish: Any, reason: str) -> None:
    """Nor routed around; what they cost is on the error."""
    async with serving(models={"a": {"use": "alpha/m", "fallback": ["beta/m"]}}) as world:
        world.alpha.will_answer('{"number": "A1', finish=finish, usage=Usage(input=3, output=4))
        with pytest.raises(StructuredOutputError) as caught:
            await world.service.generate_object("read it", Invoice, model="a")
        assert (caught.value.reason, caught.value.usage) == (reason, Usage(input=3, output=4))
        assert (len(world.alpha.requests), len(world.beta.requests)) == (1, 0)
        assert world.leases() == 0


async def test_a_request_that_names_the_model_class_is_held_to_it_as_well() -> None:
    """`generate` with a response format is the same thing."""
    async with serving() as world:
        world.alpha.will_answer(GOOD)
        response = await world.service.generate(LLMRequest(messages="read it", response_format=Invoice))
        assert response.object == Invoice(number="A1", total=9.5)
        world.alpha.will_answer("no JSON at all")
        plain = await world.service.generate("read it", response_format={"type": "object", "properties": {}})
        assert (plain.object, plain.content) == (None, "no JSON at all")


async def test_tools_of_the_caller_come_first() -> None:
    """A call of one of them is no answer yet: the object is None, the call is there."""
    async with serving(**TOOLS) as world:
        world.alpha.will_answer(tool_calls=[{"id": "1", "name": "look", "arguments": {}}])
        response = await world.service.generate_object("read it", Invoice, tools=[{"name": "look"}])
        assert response.object is None
        assert [one.name for one in response.tool_calls] == ["look"]
        assert world.alpha.last_request.params.tool_choice == "required"


async def test_a_mode_that_a_model_lacks_leads_to_the_next_candidate() -> None:
    """As anything does that a model cannot do."""
    config: dict[str, Any] = {**TOOLS, "models": {"a": {"use": "alpha/m", "fallback": ["beta/m"]}}}
    async with serving(**config) as world:
        world.beta.will_answer(GOOD)
        response = await world.service.generate_object("read it", Invoice, model="a", mode="native")
        assert response.provider == "beta"
        with pytest.raises(UnsupportedFeature, match="mode 'auto'"):
            await world.service.generate_object("read it", Invoice, model="alpha/m", mode="native")


async def test_each_candidate_is_asked_in_its_own_way() -> None:
    """The way of the first is not sent to the second."""
    config: dict[str, Any] = {**TOOLS, "models": {"a": {"use": "alpha/m", "fallback": ["beta/m"]}}}
    async with serving(**config) as world:
        world.alpha.will_raise(ProviderError("server_error", "down", retryable=False))
        world.beta.will_answer(GOOD)
        response = await world.service.generate_object("read it", Invoice, model="a")
        assert response.object == Invoice(number="A1", total=9.5)
        assert world.alpha.last_request.params.tools
        assert world.beta.last_request.params.tools is None
        assert world.beta.last_request.params.response_format is not None


async def test_an_object_grows_while_it_is_streamed() -> None:
    """Partial objects first, the whole at the end."""
    async with serving() as world:
        world.alpha.will_stream('{"names": ["An', 'n", "Bob', '"]', "}")
        async with world.service.stream_object("who", Names) as stream:
            with pytest.raises(RuntimeError, match="not complete"):
                _ = stream.object
            seen = [partial.names async for partial in stream]
        assert seen == [["An"], ["Ann", "Bob"]]
        assert stream.object == Names(names=["Ann", "Bob"])
        assert (await stream.response()).object is stream.object
        assert world.leases() == 0


@pytest.mark.parametrize("deltas", [True, False])
async def test_the_arguments_of_the_tool_are_streamed_as_the_object(deltas: bool) -> None:
    """Whether the provider streams them or gives them at once."""
    ready = ToolCallReady(0, call(GOOD))
    steps = [
        ToolCallDelta(0, "c1", "Invoice"),
        ToolCallDelta(0, arguments=GOOD[:18]),
        ToolCallDelta(0, arguments=GOOD[18:]),
    ]
    async with serving(**TOOLS) as world:
        world.alpha.will_stream(*(steps if deltas else []), ready)
        async with world.service.stream_object("read it", Invoice) as stream:
            seen = [partial.model_fields_set async for partial in stream]
        assert seen[-1] == {"number", "total"}
        assert stream.object == Invoice(number="A1", total=9.5)
        response = await stream.response()
        assert (response.finish_reason.unified, response.tool_calls) == ("stop", ())
        assert Invoice.model_validate_json(response.content) == stream.object
        assert response.warnings[0].code == "emulated"


async def test_G13_an_object_grows_anew_after_a_reset() -> None:
    """Where the route restarts broken streams, nothing of the void beginning is in the object."""
    broken = ProviderError("network_error", "cut", code="body_cut")
    async with serving(models={"a": {"use": "alpha/m", "fallback": ["beta/m"], "mid_stream": "restart"}}) as world:
        world.alpha.will_stream('{"names": ["An', 'n", "Bob', broken)
        world.beta.will_stream('{"names": ["C', 'id"]}')
        async with world.service.stream_object("who", Names, model="a") as stream:
            seen = [partial.names async for partial in stream]
        assert seen[-1] == ["Cid"]
        assert stream.object == Names(names=["Cid"])


async def test_a_streamed_object_that_does_not_fit_is_an_error_and_not_asked_again() -> None:
    """What has been seen cannot be taken back."""
    async with serving() as world:
        world.alpha.will_answer(BAD)
        with pytest.raises(StructuredOutputError, match="total"):
            async with world.service.stream_object("read it", Invoice) as stream:
                async for _ in stream:
                    pass
        assert len(world.alpha.requests) == 1
        assert world.leases() == 0


async def test_leaving_an_object_stream_early_closes_it() -> None:
    """As with any stream."""
    async with serving(**TOOLS) as world:
        world.alpha.will_stream(ToolCallDelta(0, "c1", "Invoice", '{"number": "A'), ToolCallDelta(0, arguments='1"'))
        async with world.service.stream_object("read it", Invoice) as stream:
            async for partial in stream:
                assert partial.number == "A"
                break
        assert world.alpha.outcomes["cut"] == 1
        assert world.leases() == 0
