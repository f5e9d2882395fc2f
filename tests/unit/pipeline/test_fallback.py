"""Trying the candidates of a plan in order until one of them commits."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.llm.common.exceptions import (
    AllAttemptsFailed,
    ErrorType,
    LLMError,
    ModelLoadError,
    ProviderError,
    RequestError,
    UnknownProvider,
    UnsupportedFeature,
)
from core.llm.common.types import ModelFacts, ModelRef
from core.llm.pipeline.candidates import Candidates, Resting
from core.llm.pipeline.fallback import fallback
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.pipeline.retry import retry
from core.llm.pipeline.target import Target
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.service import RetryOptions
from core.llm.routing.plan import Plan
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import Scripted, a_call, a_target, an_error, answered


class World(Candidates):
    """Candidates p1/m, p2/m … each with a scripted handler behind a retry layer that never retries."""

    def __init__(self, *scripts: Scripted, defaults: Mapping[str, Any] | None = None, attempts: int = 5) -> None:
        self.refs = [ModelRef(f"p{number}", "m") for number in range(1, len(scripts) + 1)]
        self.scripts = scripts
        self.defaults = defaults or {}
        self.off: dict[str, str] = {}
        self.rest: dict[str, Resting] = {}
        self.wakes: set[str] = set()
        self.slow: dict[str, float] = {}
        self.kept: dict[str, tuple[ModelRef, ...]] = {}
        self.seen: list[Call] = []
        self.targets = {
            ref: a_target(ref=ref, handler=self._attempts(script))
            for ref, script in zip(self.refs, scripts, strict=True)
        }
        self.handler: Handler = fallback(self, attempts)

    def _attempts(self, script: Scripted, retries: int = 0) -> Handler:
        options = RetryOptions(initial_delay=0.001)
        return retry(options, retries, ModelRef("p", "m"), Upstream(0.0))(script)

    def know(self, number: int, **facts: Any) -> None:
        """Give the model of candidate *number* these facts."""
        known = ModelFacts(**facts)
        self.targets[self.refs[number - 1]].provider.facts = lambda model: known  # type: ignore[method-assign]  # the facts are all that is asked

    def set_model(self, number: int, **options: Any) -> None:
        """Give the model of candidate *number* a YAML entry."""
        ref = self.refs[number - 1]
        self.targets[ref] = a_target(ref=ref, handler=self.targets[ref].handler, models={"m": options})

    def plan(self, call: Call) -> Plan:
        call.reserves = self.kept
        return Plan(tuple(self.refs), "as listed", self.defaults)

    def unavailable(self, ref: ModelRef) -> str | None:
        return self.off.get(ref.provider)

    def resting(self, ref: ModelRef, now: float) -> Resting | None:
        return self.rest.get(ref.provider)

    def wake(self, ref: ModelRef, now: float) -> bool:
        return ref.provider in self.wakes

    def least_time(self, target: Target, call: Call) -> float:
        return self.slow.get(target.ref.provider, 0.5 if call.trace.attempts else 0.0)

    def target_now(self, ref: ModelRef) -> Target | None:
        return self.targets.get(ref)

    def may_repeat(self, ref: ModelRef) -> bool:
        return True

    async def target(self, ref: ModelRef) -> Target:
        return self.targets[ref]

    async def failure(self, call: Call | None = None) -> LLMError:
        with pytest.raises(LLMError) as caught:
            await self.handler(call or a_call())
        return caught.value


def failing(kind: ErrorType = "server_error", **fields: Any) -> Scripted:
    """A candidate that fails once, and answers afterwards."""
    return Scripted(an_error(kind, **fields))


@pytest.mark.parametrize(
    ("kind", "moves_on"),
    [
        pytest.param("server_error", True, id="F33"),
        ("overloaded", True),
        ("network_error", True),
        ("timeout", True),
        ("protocol", True),
        pytest.param("rate_limit", True, id="F27"),
        pytest.param("quota_exceeded", True, id="F20"),
        pytest.param("authentication", True, id="F17"),
        pytest.param("permission", True, id="F18"),
        pytest.param("model_not_found", True, id="F19"),
        ("unknown", True),
        pytest.param("invalid_request", False, id="F15"),
        pytest.param("content_filter", False, id="F52"),
        ("cancelled", False),
    ],
)
async def test_each_class_of_error_leads_to_the_next_candidate_or_to_the_caller(
    kind: ErrorType, moves_on: bool
) -> None:
    """A refused request or a safety block is never routed around."""
    world = World(failing(kind), Scripted("second"))
    if moves_on:
        assert (await answered(world.handler, a_call())).content == "second"
    else:
        error = await world.failure()
        assert isinstance(error, ProviderError)
        assert error.type == kind
        assert world.scripts[1].calls == 0


async def test_a_local_model_that_cannot_be_loaded_leads_to_the_next_candidate() -> None:
    """Out of memory here does not mean out of service."""
    world = World(Scripted(ModelLoadError("out of memory")), Scripted("remote"))
    assert (await answered(world.handler, a_call())).content == "remote"


async def test_F126_a_deadline_that_has_passed_ends_the_call() -> None:
    """Nobody else is asked once the time is over."""
    world = World(failing("timeout", code="deadline_exceeded"), Scripted("second"))
    assert getattr(await world.failure(), "code", None) == "deadline_exceeded"
    assert world.scripts[1].calls == 0


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [(1000, 8000, True), (1000, 1000, False), (8000, 1000, False), (1000, None, False), (None, 8000, True)],
)
async def test_F16_too_long_a_prompt_goes_to_a_larger_model_only(
    first: int | None, second: int | None, asked: bool
) -> None:
    """A model that is not known to be larger would only refuse it again."""
    world = World(failing("context_length"), Scripted("second"))
    world.know(1, context_window=first)
    world.know(2, context_window=second)
    if asked:
        assert (await answered(world.handler, a_call())).content == "second"
    else:
        error = await world.failure()
        assert isinstance(error, AllAttemptsFailed)
        assert "too long" in error.skipped[0][1]
    assert world.scripts[1].calls == int(asked)


async def test_F104_the_error_of_a_whole_chain_carries_every_failure_in_order() -> None:
    """Nothing that was tried is lost, and the message reads as a list."""
    world = World(*[failing(message=f"failure {number}") for number in (1, 2, 3, 4)])
    call = a_call(model="smart")
    error = await world.failure(call)
    assert isinstance(error, AllAttemptsFailed)
    assert [getattr(one, "message", "") for one in error.errors] == [f"failure {number}" for number in (1, 2, 3, 4)]
    assert "smart" in str(error)
    assert [entry.outcome for entry in call.trace.candidates] == ["failed"] * 4


async def test_F104_all_candidates_together_make_at_most_max_attempts() -> None:
    """The rest of the chain is skipped, and says why."""
    world = World(*[failing() for _ in range(4)], attempts=2)
    error = await world.failure()
    assert isinstance(error, AllAttemptsFailed)
    assert sum(script.calls for script in world.scripts) == 2
    assert [reason for _, reason in error.skipped] == ["retry.max_attempts (2) is used up"] * 2


async def test_a_single_candidate_raises_its_own_error() -> None:
    """Without a choice there is no summary around the error."""
    world = World(failing("rate_limit", retry_after=5.0))
    error = await world.failure()
    assert isinstance(error, ProviderError)
    assert error.retry_after == 5.0


async def test_the_shortest_wait_of_all_candidates_is_the_wait_of_the_chain() -> None:
    """A caller that wants to try again knows when the first of them is back."""
    world = World(failing("rate_limit", retry_after=9.0), failing("rate_limit", retry_after=4.0), failing())
    assert getattr(await world.failure(), "retry_after", None) == 4.0


async def test_a_provider_that_is_off_is_skipped_with_its_reason() -> None:
    """Nothing is sent to it, and the trace says why."""
    world = World(Scripted("first"), Scripted("second"))
    world.off["p1"] = "api_key is not set"
    call = a_call()
    assert (await answered(world.handler, call)).content == "second"
    first, second = call.trace.candidates
    assert (first.outcome, first.reason) == ("skipped", "api_key is not set")
    assert second.outcome == "answered"


async def test_the_only_candidate_being_off_is_reported_as_that() -> None:
    """The caller reads what is missing, not that the model lacks a feature."""
    world = World(Scripted("first"))
    world.off["p1"] = "api_key is not set"
    error = await world.failure()
    assert type(error) is UnknownProvider
    assert str(error) == "provider 'p1' is off: api_key is not set"


async def test_F105_a_candidate_that_lacks_a_feature_is_skipped_never_sent_less() -> None:
    """Tools are not dropped silently on the way to a weaker model."""
    world = World(failing(), Scripted("second"), Scripted("third"))
    world.know(2, capabilities=frozenset({"chat"}))
    call = a_call(tools=[{"name": "look_up"}])
    assert (await answered(world.handler, call)).content == "third"
    assert world.scripts[1].calls == 0
    assert call.trace.candidates[1].reason == "the model does not support tools"


async def test_the_only_candidate_lacking_a_feature_is_an_unsupported_feature() -> None:
    """It is raised before anything is sent."""
    world = World(Scripted("first"))
    world.know(1, capabilities=frozenset({"chat"}))
    error = await world.failure(a_call(tools=[{"name": "look_up"}]))
    assert isinstance(error, UnsupportedFeature)
    assert "tools" in str(error)
    assert world.scripts[0].calls == 0


async def test_a_prompt_that_cannot_fit_is_never_sent() -> None:
    """The window is known, so the provider need not be asked."""
    world = World(Scripted("first"))
    world.know(1, context_window=10)
    error = await world.failure(a_call(messages="word " * 1000))
    assert "context window is 10" in str(error)
    assert world.scripts[0].calls == 0


async def test_defaults_of_the_alias_fill_what_the_caller_left_open() -> None:
    """The caller's own values win."""
    sent: list[Call] = []
    world = World(Scripted(lambda call: _remember(call, sent)), defaults={"temperature": 0.2, "max_tokens": 10})
    await world.handler(a_call(max_tokens=99))
    assert (sent[0].request.temperature, sent[0].request.max_tokens) == (0.2, 99)


async def test_defaults_of_one_model_are_not_sent_to_the_next_one() -> None:
    """What the YAML says about the first candidate's model says nothing about the second's."""
    sent: list[Call] = []
    world = World(failing(), Scripted(lambda call: _remember(call, sent)))
    world.set_model(1, defaults={"temperature": 0.2})
    world.set_model(2, defaults={"top_p": 0.5})
    await world.handler(a_call())
    assert (sent[0].request.temperature, sent[0].request.top_p) == (None, 0.5)


@pytest.mark.parametrize(
    ("defaults", "named"), [({"temprature": 0.2}, "temprature"), ({"temperature": "warm"}, "temperature")]
)
async def test_defaults_that_cannot_be_sent_are_an_error_of_ours_that_names_the_field(
    defaults: dict[str, Any], named: str
) -> None:
    """No `AttributeError` or `ValidationError` reaches the caller."""
    world = World(Scripted("first"), defaults=defaults)
    error = await world.failure()
    assert isinstance(error, RequestError)
    assert named in str(error)


async def test_a_candidate_that_cannot_take_the_request_is_no_alternative_worth_giving_up_for() -> None:
    """A hint is waited out when the rest of the chain would be skipped anyway."""
    clock = FakeClock(auto_advance=True)
    world = World(Scripted(an_error("rate_limit", retry_after=3.0), "after the wait"), Scripted("second"))
    patient = world._attempts(world.scripts[0], retries=1)
    world.targets[world.refs[0]] = a_target(ref=world.refs[0], handler=patient)
    world.know(2, capabilities=frozenset({"chat"}))
    call = a_call(clock=clock, tools=[{"name": "look_up"}])
    assert (await answered(world.handler, call)).content == "after the wait"


def _remember(call: Call, sent: list[Call]) -> Reply:
    sent.append(call)
    return Reply(call)
