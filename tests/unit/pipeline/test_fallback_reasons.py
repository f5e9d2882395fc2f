"""What comes next depends on why a candidate failed."""

from typing import Any

import pytest

from core.llm.common.decisions import RefusalRoutedAround
from core.llm.common.events import Event, EventBus
from core.llm.common.exceptions import (
    AllAttemptsFailed,
    BudgetExceeded,
    ErrorType,
    ModelLoadError,
    ProviderError,
    RateLimited,
    StructuredOutputError,
)
from core.llm.common.types import FinishReason, ModelRef, PartialOutput
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.reasons import ends_the_call, reasons_of
from core.llm.providers.base.response import RefusalDelta, StreamStart, TextDelta
from tests.unit.pipeline.support import Scripted, a_call, a_target, an_answer, an_error, answered
from tests.unit.pipeline.test_fallback import World, failing

P = [ModelRef(f"p{number}", "m") for number in range(6)]


def keeping(world: World, **kept: list[int]) -> World:
    """*world* with candidates (by number) that are kept for reasons; those beyond the plan are added."""
    world.kept = {reason: tuple(P[number] for number in numbers) for reason, numbers in kept.items()}
    return world


def plus(world: World, *scripts: Scripted) -> World:
    """*world* with further models that are in no plan."""
    for number, script in enumerate(scripts, len(world.refs) + 1):
        world.targets[P[number]] = a_target(ref=P[number], handler=world._attempts(script))
    return world


def order(call: Call) -> list[str]:
    """The candidates in the order in which they were tried."""
    return [attempt.target.provider for attempt in call.trace.attempts]


def tried(call: Call) -> list[tuple[str, str]]:
    """Provider and outcome of each candidate, in the order of the trace."""
    return [(entry.target.provider, entry.outcome) for entry in call.trace.candidates]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("context_length", "context_length"),
        ("content_filter", "content_filter"),
        ("quota_exceeded", "quota_exceeded"),
        ("rate_limit", "rate_limit"),
        ("authentication", "authentication"),
        ("permission", "authentication"),
        ("model_not_found", "model_not_found"),
        ("timeout", "timeout"),
        ("timeout", "outage"),
        ("server_error", "outage"),
        ("overloaded", "outage"),
        ("network_error", "outage"),
        ("protocol", "outage"),
    ],
)
async def test_what_an_alias_keeps_for_a_reason_comes_next(kind: ErrorType, reason: str) -> None:
    """Before the rest of the chain, whatever place it has there."""
    third = Scripted("third")
    world = keeping(World(failing(kind), Scripted("second"), third), **{reason: [3]})
    world.know(1, context_window=100)
    world.know(3, context_window=1000)
    call = a_call()
    assert (await answered(world.handler, call)).content == "third"
    second = "skipped" if reason == "content_filter" else "untried"
    assert tried(call) == [("p1", "failed"), ("p2", second), ("p3", "answered")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ModelLoadError("out of memory"), "outage"), (RateLimited("our own limit"), "rate_limit")],
)
async def test_errors_of_local_models_and_own_limits_have_reasons_too(error: Exception, reason: str) -> None:
    """They lead on like those of a provider."""
    world = keeping(World(Scripted(error), Scripted("second"), Scripted("third")), **{reason: [3]})
    assert (await answered(world.handler, a_call())).content == "third"


async def test_what_is_kept_for_another_reason_is_not_tried() -> None:
    """It is no part of the chain."""
    world = plus(keeping(World(failing(), Scripted("second")), context_length=[3]), Scripted("third"))
    call = a_call()
    assert (await answered(world.handler, call)).content == "second"
    assert len(call.trace.candidates) == 2


async def test_what_was_tried_is_not_tried_again_for_a_reason() -> None:
    """Twice the same answer helps nobody."""
    world = keeping(World(failing(), failing("rate_limit"), failing()), rate_limit=[1, 3], outage=[2])
    call = a_call()
    error = await world.failure(call)
    assert isinstance(error, AllAttemptsFailed)
    assert len(error.errors) == 3
    assert [script.calls for script in world.scripts] == [1, 1, 1]


async def test_after_those_kept_for_the_reason_the_chain_goes_on() -> None:
    """The list comes first; it does not replace what is configured."""
    world = plus(keeping(World(failing(), Scripted("second")), outage=[3, 4]), failing(), failing())
    call = a_call()
    assert (await answered(world.handler, call)).content == "second"
    assert order(call) == ["p"] * 4  # each handler of the rig writes the same name down
    assert tried(call) == [("p1", "failed"), ("p3", "failed"), ("p4", "failed"), ("p2", "answered")]


async def test_F16_a_model_named_for_too_long_prompts_is_tried_where_its_window_is_not_known() -> None:
    """Somebody says that it is larger; one that is known to be no larger is left out all the same."""
    world = keeping(World(failing("context_length"), Scripted("second"), Scripted("third")), context_length=[2, 3])
    world.know(1, context_window=1000)
    world.know(2, context_window=1000)
    call = a_call()
    assert (await answered(world.handler, call)).content == "third"
    assert tried(call) == [("p1", "failed"), ("p2", "skipped"), ("p3", "answered")]


async def test_F52_a_refusal_is_not_routed_around_unless_the_alias_says_so() -> None:
    """Also not by what is kept for other reasons."""
    world = keeping(World(failing("content_filter"), Scripted("second")), outage=[2])
    error = await world.failure()
    assert isinstance(error, ProviderError)
    assert error.type == "content_filter"
    assert world.scripts[1].calls == 0


async def test_F52_a_refusal_that_may_be_routed_around_goes_only_where_it_may_and_is_audited() -> None:
    """An event and a note say who refused and who was asked instead; nobody else of the chain is."""
    seen: list[Event] = []
    events = EventBus()
    events.subscribe(seen.append, RefusalRoutedAround)
    world = plus(
        keeping(World(failing("content_filter"), Scripted("second")), content_filter=[3], outage=[2]), failing()
    )
    call = a_call(events=events)
    error = await world.failure(call)
    assert isinstance(error, AllAttemptsFailed)
    assert [getattr(one, "type", "") for one in error.errors] == ["content_filter", "server_error"]
    assert tried(call) == [("p1", "failed"), ("p3", "failed"), ("p2", "skipped")]
    assert seen == [RefusalRoutedAround("c1", P[1], P[3])]
    assert call.trace.notes == ["p1/m would not answer; fallback_on.content_filter leads to p3/m"]
    assert call.trace.attempts[0].decision == "next_candidate"


def _declining(call: Call) -> Reply:
    answer = an_answer("I will not.")
    answer.finish_reason, answer.refusal = FinishReason("refusal"), "I will not."
    return Reply(call, response=answer)


async def _refusal_stream() -> Any:
    yield TextDelta("")


def _declining_stream(call: Call) -> Reply:
    return Reply(call, head=[StreamStart("m"), RefusalDelta("no")], tail=_refusal_stream())


def _refused_object(_: Call) -> Reply:
    raise StructuredOutputError("refused", text="no", reason="refused")


@pytest.mark.parametrize(
    ("mode", "refusing"), [("generate", _declining), ("stream", _declining_stream), ("generate", _refused_object)]
)
async def test_F52_an_answer_that_is_a_refusal_counts_as_one(mode: Any, refusing: Any) -> None:
    """Whatever form it has: a finish reason, the first piece of a stream, or an object that is missing."""
    kept = keeping(World(Scripted(refusing), Scripted("second")), content_filter=[2])
    call = a_call(mode)
    reply = await kept.handler(call)
    await reply.end("answered")
    assert tried(call) == [("p1", "failed"), ("p2", "answered")]
    assert [attempt.decision for attempt in call.trace.attempts] == ["next_candidate", "answered"]
    assert kept.scripts[1].calls == 1


@pytest.mark.parametrize("mode", ["generate", "stream"])
async def test_F52_an_answer_that_is_a_refusal_reaches_the_caller_otherwise(mode: Any) -> None:
    """As the model gave it."""
    world = World(Scripted(_declining if mode == "generate" else _declining_stream), Scripted("second"))
    reply = await world.handler(a_call(mode))
    assert reply.declined
    await reply.end("answered")
    assert world.scripts[1].calls == 0


@pytest.mark.parametrize("kind", ["server_error", "overloaded", "network_error", "timeout", "quota_exceeded"])
async def test_F20_an_outage_or_a_used_up_quota_leads_to_another_provider_first(kind: ErrorType) -> None:
    """Other models of the one that failed come last."""
    world = World(failing(kind), Scripted("same provider"), Scripted("other provider"))
    same = ModelRef("p1", "other")
    world.targets[same] = world.targets.pop(P[2])
    world.refs[1] = same
    assert (await answered(world.handler, a_call())).content == "other provider"


@pytest.mark.parametrize("kind", ["model_not_found", "rate_limit"])
async def test_what_one_model_says_leads_to_the_next_one_in_order(kind: ErrorType) -> None:
    """Its provider is well."""
    world = World(failing(kind), Scripted("same provider"), Scripted("other provider"))
    same = ModelRef("p1", "other")
    world.targets[same] = world.targets.pop(P[2])
    world.refs[1] = same
    assert (await answered(world.handler, a_call())).content == "same provider"


def test_errors_of_the_caller_have_no_reason() -> None:
    """What another model would only repeat goes back, whatever is configured."""
    call = a_call()
    call.reserves = {"outage": (P[1],)}
    for error in (an_error("invalid_request"), an_error("cancelled"), an_error("timeout", code="deadline_exceeded")):
        assert ends_the_call(error, call)
    assert reasons_of(an_error("invalid_request")) == ()
    assert reasons_of(BudgetExceeded("too dear")) == ()
    broken = an_error("protocol", partial=PartialOutput("half"))
    assert reasons_of(broken) == ("outage",)


async def test_a_model_that_is_named_for_an_outage_is_next_also_at_the_same_provider() -> None:
    """Somebody has said so."""
    world = World(failing(), Scripted("other provider"))
    same = ModelRef("p1", "other")
    world.targets[same] = a_target(ref=same, handler=world._attempts(Scripted("same provider")))
    world.kept = {"outage": (same,)}
    call = a_call()
    assert (await answered(world.handler, call)).content == "same provider"
    assert call.trace.attempts[0].decision == "next_candidate"


async def test_the_only_candidate_of_the_chain_does_not_wait_long_where_another_is_kept_for_the_reason() -> None:
    """A hint is not waited out, and the trace says what comes next."""
    world = World(failing("rate_limit", retry_after=30.0))
    world.targets[P[2]] = a_target(ref=P[2], handler=world._attempts(Scripted("second")))
    world.targets[P[1]] = a_target(ref=P[1], handler=world._attempts(world.scripts[0], retries=2))
    world.kept = {"rate_limit": (P[2],)}
    call = a_call()
    assert (await answered(world.handler, call)).content == "second"
    assert [attempt.decision for attempt in call.trace.attempts] == ["next_candidate", "answered"]
