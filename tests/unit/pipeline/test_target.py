"""One model at one provider: its facts, limits and extra fields."""

from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.types import ModelFacts, Price
from core.llm.pipeline.target import merge_facts
from core.llm.providers.config.models.provider import ModelOptions
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import a_call, a_provider, a_target

PACKAGED = ModelFacts(
    100_000, 4096, frozenset({"chat", "tools"}), Price(Decimal(1), Decimal(2), source="packaged"), {"a": 1, "b": 2}
)


def test_the_yaml_wins_over_what_is_packaged_field_by_field() -> None:
    """What the YAML leaves out stays as it was known."""
    options = ModelOptions.model_validate(
        {"context_window": 8000, "price": {"input": "0.10", "output": 5}, "quirks": {"b": 3}}
    )
    facts = merge_facts(PACKAGED, options)
    assert (facts.context_window, facts.max_output_tokens) == (8000, 4096)
    assert facts.capabilities == {"chat", "tools"}
    assert facts.price == Price(Decimal("0.10"), Decimal(5), source="config")
    assert facts.quirks == {"a": 1, "b": 3}


def test_capabilities_of_the_yaml_replace_the_known_ones() -> None:
    """A local server may offer less than the model can do."""
    facts = merge_facts(PACKAGED, ModelOptions(capabilities=frozenset({"chat"}), max_output_tokens=10))
    assert facts.capabilities == {"chat"}
    assert facts.max_output_tokens == 10


def test_without_anything_in_the_yaml_the_facts_are_the_same_object() -> None:
    """The common case costs nothing."""
    assert merge_facts(PACKAGED, None) is PACKAGED
    assert merge_facts(PACKAGED, ModelOptions()) is PACKAGED


def test_facts_follow_what_the_provider_learns() -> None:
    """A discovered context window is used by the next call, with the YAML still over it."""
    provider = a_provider()
    known = [ModelFacts(context_window=100)]
    provider.facts = lambda model: known[-1]  # type: ignore[method-assign]  # a provider that learns
    target = a_target(provider, models={"m": {"max_output_tokens": 5}})
    first = target.facts
    assert target.facts is first
    known.append(ModelFacts(context_window=200))
    assert (target.facts.context_window, target.facts.max_output_tokens) == (200, 5)


def test_an_attempt_ends_at_the_earlier_of_its_own_limit_and_the_deadline_of_the_call() -> None:
    """`timeouts.total` bounds the attempt, `timeout` the call."""
    clock = FakeClock()
    target = a_target(timeouts={"total": "10s", "idle": "3s", "connect": "1s", "first_token": "4s", "progress": "5s"})
    limits = target.limits(a_call(clock=clock, seconds=60))
    assert limits.deadline_at == clock.monotonic() + 10
    assert (limits.connect, limits.first_token, limits.idle, limits.progress) == (1, 4, 3, 5)
    assert target.limits(a_call(clock=clock, seconds=2)).deadline_at == clock.monotonic() + 2


def test_extra_fields_of_the_request_win_and_go_to_their_own_provider_only() -> None:
    """Raw body fields for another provider are not sent to this one."""
    target = a_target(extra={"tier": "standard", "seed": 1})
    call = a_call(extra={"alpha": {"tier": "flex"}, "beta": {"secret": True}})
    assert target.chat_request(call, None).extra == {"tier": "flex", "seed": 1}
    assert target.chat_request(a_call(), None).extra == {"tier": "standard", "seed": 1}
    assert target.embedding_request(a_call("embed", inputs=("a",)), None).extra == {"tier": "standard", "seed": 1}


def test_a_request_says_whether_a_stream_is_wanted_and_hides_its_key() -> None:
    """The provider learns it from its request; the key shows in no repr."""
    target = a_target()
    request = target.chat_request(a_call("stream"), "sk-secret-value")
    assert request.stream
    assert not target.chat_request(a_call(), None).stream
    assert "sk-secret-value" not in repr(request)
    assert "sk-secret-value" not in repr(target.embedding_request(a_call("embed"), "sk-secret-value"))


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({"tools", "vision"}, {"chat", "stream", "tools", "vision"}),
        ({"chat", "tools"}, {"chat", "tools"}),
        ({"embeddings"}, {"embeddings"}),
    ],
)
def test_a_model_that_is_said_to_call_tools_can_be_talked_to(named: set[Any], found: set[str]) -> None:
    """`capabilities: [tools, vision]` adds to a conversation; it does not forbid one."""
    facts = merge_facts(PACKAGED, ModelOptions(capabilities=frozenset(named)))
    assert facts.capabilities == found
