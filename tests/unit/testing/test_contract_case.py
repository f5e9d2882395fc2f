"""The small tools that the checks of the contract are made of."""

import pytest

from core.llm.common.types import CallWarning
from core.llm.testing.contract_case import eventually, holds_value, keys_of, needs, require, warned_about


def test_a_rule_that_holds_says_nothing_and_a_broken_one_says_what_to_do():
    """The message is the failure, without the noise of a comparison."""
    require(1, "never shown")
    with pytest.raises(AssertionError, match=r"^do this$"):
        require([], "do this")


async def test_waiting_ends_as_soon_as_the_condition_holds():
    """And fails with the rule when it never does."""
    states = iter([False, False, True])
    await eventually(lambda: next(states), "never shown")
    with pytest.raises(AssertionError, match="too late"):
        await eventually(lambda: False, "too late", timeout=0.02)


def test_values_are_found_anywhere_and_compared_with_their_type():
    """1 is not True, and 37 is not 37.0: what is sent is what was set."""
    body = {"options": {"seed": 37, "stop": ["†"]}, "list": [{"flag": True}]}

    assert holds_value(body, 37)
    assert holds_value(body, "†")
    assert holds_value(body, True)
    assert not holds_value(body, 37.0)
    assert not holds_value(body, 1)
    assert not holds_value(body, "seed")


def test_keys_are_found_at_every_depth():
    """Also inside lists."""
    assert keys_of({"a": [{"b": 1}, ({"c": {}},)]}) == {"a", "b", "c"}
    assert keys_of("text") == set()


def test_a_warning_counts_for_the_parameter_that_it_names():
    """`options.seed` is about the seed; a warning about nothing is about nothing."""
    warnings = [CallWarning("dropped", "no", "options.seed"), CallWarning("other", "hm")]

    assert warned_about(warnings, "seed")
    assert not warned_about(warnings, "stop")


def test_a_check_says_what_it_needs():
    """So that a contract can leave it out."""

    @needs("tools", "pausing")
    def check() -> None: ...

    assert check.__dict__["needs"] == {"tools", "pausing"}
