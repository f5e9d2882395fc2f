"""G13: what decides whether a broken stream is recovered, and by whom."""

from typing import Any

import pytest

from core.llm.common.decisions import StreamRecovered
from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import ModelFacts, Usage
from core.llm.pipeline.handler import Handler
from core.llm.pipeline.mid_stream import mid_stream
from core.llm.providers.base.response import (
    LLMResponse,
    StreamEvent,
    StreamReset,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
)
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.llm.support import World, serving


def cut(kind: ErrorType = "network_error", code: str = "body_cut") -> ProviderError:
    """What breaks a stream."""
    return ProviderError(kind, "it broke", code=code)


def chain(policy: Any = "restart", *fallback: str) -> dict[str, Any]:
    """An alias with that policy, which is also the default."""
    route = {"use": "alpha/m", "fallback": list(fallback or ("beta/m",)), "mid_stream": policy}
    return {"default_model": "route", "models": {"route": route}}


async def read(world: World, **options: Any) -> tuple[list[StreamEvent], LLMResponse]:
    """A stream, read to its end."""
    async with world.service.stream("hi there", **options) as stream:
        events = [event async for event in stream]
        return events, await stream.response()


async def error_of(world: World, **options: Any) -> ProviderError:
    """What a stream ends with."""
    with pytest.raises(ProviderError) as caught:
        await read(world, **options)
    return caught.value


def resets(events: list[StreamEvent]) -> int:
    """How often the answer began again."""
    return sum(isinstance(event, StreamReset) for event in events)


def test_without_a_policy_there_is_no_layer() -> None:
    """Nothing is paid for what nobody configured."""

    async def inner(call: Any) -> Any:
        raise NotImplementedError

    handler: Handler = inner
    config = LLMServiceConfig.model_validate({"models": {"a": "p/m"}, "providers": {}})
    assert mid_stream(config, None)(handler) is handler  # type: ignore[arg-type]  # nobody is asked


async def test_a_route_without_the_policy_is_left_alone() -> None:
    """The policy belongs to the alias, not to the model behind it."""
    async with serving(**chain()) as world:
        world.alpha.will_stream("void", cut())
        assert (await error_of(world, model="alpha/m")).code == "body_cut"
        assert not world.beta.requests


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("content_filter", "blocked"),
        ("invalid_request", "bad"),
        ("cancelled", "drained"),
        ("timeout", "deadline_exceeded"),
    ],
)
async def test_a_refusal_and_the_ends_of_a_call_are_not_recovered_from(kind: ErrorType, code: str) -> None:
    """Another model is no way around them."""
    async with serving(**chain()) as world:
        world.alpha.will_stream("void", cut(kind, code))
        assert (await error_of(world)).code == code
        assert not world.beta.requests


async def test_a_tool_call_that_was_handed_out_is_never_voided() -> None:
    """Somebody may have run it."""
    async with serving(**chain()) as world:
        world.alpha.will_stream("I look", ToolCallReady(0, ToolCall("1", "look", {})), cut())
        error = await error_of(world)
        assert not world.beta.requests
        assert error.trace is not None
        assert "may have been run" in error.trace.describe()


async def test_half_a_tool_call_is_begun_again() -> None:
    """Nobody can run half of one."""
    async with serving(**chain()) as world:
        world.alpha.will_stream(ToolCallDelta(0, "1", "look", '{"wh'), cut())
        world.beta.will_stream(ToolCallReady(0, ToolCall("2", "look", {"where": "here"})))
        events, response = await read(world)
        assert resets(events) == 1
        assert [call.id for call in response.tool_calls] == ["2"]


async def test_half_a_tool_call_is_not_continued() -> None:
    """Nor is text beside it: another model would not know that it is calling."""
    async with serving(**chain("continue")) as world:
        world.provider("beta").facts = lambda _: ModelFacts(quirks={"prefill": True})  # type: ignore[method-assign]  # a model that can
        world.alpha.will_stream("I look", ToolCallDelta(0, "1", "look", '{"wh'), cut())
        error = await error_of(world)
        assert error.trace is not None
        assert "it broke in a tool call" in error.trace.describe()
        assert not world.beta.requests


async def test_thinking_is_not_continued() -> None:
    """What was thought belongs to the model that thought it."""
    async with serving(**chain("continue")) as world:
        world.provider("beta").facts = lambda _: ModelFacts(quirks={"prefill": True})  # type: ignore[method-assign]  # a model that can
        world.alpha.will_stream(ThinkingDelta("hm"), "The quick", cut())
        assert (await error_of(world)).code == "body_cut"
        assert not world.beta.requests


async def test_the_same_provider_is_asked_again_out_of_its_retry_budget() -> None:
    """Where that is empty, the error of the break stands; another provider costs nothing."""
    async with serving(**chain("restart", "alpha/m")) as world:
        budget = world.holder.current.state.upstream("alpha").budget
        world.alpha.will_stream("void", cut())
        world.alpha.will_stream("whole")
        before = budget._balance
        assert (await read(world))[1].content == "whole"
        assert budget._balance < before
        budget._balance = -1000.0
        world.alpha.will_stream("void", cut())
        error = await error_of(world)
        assert error.partial is not None
        assert error.partial.text == "void"
        assert error.trace is not None
        assert "retry budget of alpha" in error.trace.describe()


async def test_a_refusal_of_who_takes_over_ends_the_search() -> None:
    """It is not routed around; what was delivered stands."""
    async with serving("alpha", "beta", "gamma", **chain("restart", "beta/m", "gamma/m")) as world:
        world.alpha.will_stream("void", cut())
        world.beta.will_raise(ProviderError("content_filter", "blocked"))
        error = await error_of(world)
        assert error.code == "body_cut"
        assert not world.gamma.requests


async def test_who_fails_before_output_is_passed_over() -> None:
    """The next one takes over, and the consumer sees one reset."""
    async with serving("alpha", "beta", "gamma", **chain("restart", "beta/m", "gamma/m")) as world:
        seen = EventRecorder(world.events)
        world.alpha.will_stream("void", cut())
        world.beta.will_raise(ProviderError("server_error", "down"))
        world.gamma.will_stream("whole")
        events, response = await read(world)
        assert (resets(events), response.content, response.provider) == (1, "whole", "gamma")
        (recovered,) = seen.of(StreamRecovered)
        assert (recovered.broken, recovered.target, recovered.policy) == (("alpha", "m"), ("gamma", "m"), "restart")
        assert [attempt.role for attempt in response.trace.attempts] == ["first", "first", "first"]  # type: ignore[union-attr]  # answered calls have one


async def test_who_had_failed_before_is_not_asked_again() -> None:
    """The first candidate was down a moment ago."""
    async with serving(**chain()) as world:
        world.alpha.will_raise(ProviderError("server_error", "down", retryable=False))
        world.beta.will_stream("void", cut())
        world.beta.will_stream("whole")
        events, response = await read(world)
        assert (resets(events), response.content) == (1, "whole")
        assert len(world.alpha.requests) == 1


async def test_who_cannot_take_the_request_is_not_asked() -> None:
    """As everywhere: what must fail is not sent."""
    async with serving("alpha", "beta", "gamma", **chain("restart", "beta/m", "gamma/m")) as world:
        world.provider("beta").facts = lambda _: ModelFacts(capabilities=frozenset({"embeddings"}))  # type: ignore[method-assign]  # no chat
        world.alpha.will_stream("void", cut())
        world.gamma.will_stream("whole")
        assert (await read(world))[1].provider == "gamma"
        assert not world.beta.requests


async def test_the_alias_s_defaults_hold_for_who_takes_over() -> None:
    """They are part of what was asked; those of the model that broke are not."""
    config = chain()
    config["models"]["route"]["defaults"] = {"temperature": 0.25}
    config["providers"] = {"alpha": {"models": {"m": {"defaults": {"top_p": 0.5}}}}}
    async with serving(**config) as world:
        world.alpha.will_stream("void", cut())
        world.beta.will_stream("whole")
        await read(world)
        assert (world.alpha.last_request.params.temperature, world.alpha.last_request.params.top_p) == (0.25, 0.5)
        assert (world.beta.last_request.params.temperature, world.beta.last_request.params.top_p) == (0.25, None)


async def test_usage_is_that_of_all_attempts() -> None:
    """Reported or estimated, and estimated as a whole."""
    async with serving(**chain()) as world:
        world.alpha.will_stream("some void text", cut())
        world.beta.will_stream("whole", usage=Usage(10, output=20))
        _, response = await read(world)
        assert response.usage.estimated
        assert response.usage.input > 10
        assert 20 < response.usage.output < 30
        assert response.cost is None


async def test_without_a_break_nothing_is_different() -> None:
    """No warning, no estimate, the provider's own numbers."""
    async with serving(**chain()) as world:
        world.alpha.will_stream("The ", "fox", usage=Usage(10, output=20))
        events, response = await read(world)
        assert (resets(events), response.content, response.usage.estimated) == (0, "The fox", False)
        assert response.usage == Usage(10, output=20)
        assert response.warnings == ()
        assert response.trace is not None
        assert response.trace.notes == []
        assert world.leases() == 0


async def test_a_continuation_may_break_and_be_continued() -> None:
    """The second one is handed everything that was delivered, not only the last part."""
    policy = {"policy": "continue", "max_recoveries": 2}
    async with serving("alpha", "beta", "gamma", **chain(policy, "beta/m", "gamma/m")) as world:
        for name in ("beta", "gamma"):
            world.provider(name).facts = lambda _: ModelFacts(quirks={"prefill": True})  # type: ignore[method-assign]  # models that can
        world.alpha.will_stream("The ", "quick ", cut())
        world.beta.will_stream(" brown", " fox ", cut())
        world.gamma.will_stream(" jumps")
        events, response = await read(world)
        assert "".join(event.text for event in events) == response.content == "The quick brown fox jumps"
        assert world.beta.last_request.messages[-1].text == "The quick"
        assert world.gamma.last_request.messages[-1].text == "The quick brown fox"
        assert world.gamma.last_request.prefilled
        assert [attempt.role for attempt in response.trace.attempts] == ["first", "continuation", "continuation"]  # type: ignore[union-attr]  # answered calls have one


async def test_after_a_restart_the_time_to_the_first_token_is_that_of_the_answer_that_counts() -> None:
    """What was before is void, its speed as well."""
    async with serving(clock=FakeClock(auto_advance=True), **chain()) as world:
        world.alpha.will_stream("void", cut())
        world.beta.will_stream("whole", delay=5)
        _, response = await read(world)
        assert response.time_to_first_token is not None
        assert response.time_to_first_token >= 5
