"""Packaged facts: dated, exact to the cent, matched to the longest name."""

from decimal import Decimal
from typing import get_args

import pytest

from core.llm.common.types import Capability, ModelFacts
from core.llm.data.facts import model_facts, table

ROWS = table("openai")["models"]


@pytest.mark.parametrize(
    ("model", "window", "shut_down"),
    [
        ("gpt-4.1-mini", 1050000, None),
        ("gpt-4.1-mini-2025-04-14", 1050000, "2027-01-14"),
        ("gpt-4.1-mini-something", 1050000, None),
        ("gpt-4.1-minister", None, None),
        ("gpt-5.4-mini:ft-1", 272000, None),
        ("gpt-5-2025-08-07", None, "2026-12-11"),
    ],
)
def test_a_variant_takes_the_facts_of_its_model(model: str, window: int | None, shut_down: str | None) -> None:
    """The exact name first, then the longest one that ends before a separator."""
    facts = model_facts("openai", model)
    assert (facts.context_window, facts.quirks.get("shut_down")) == (window, shut_down)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai", "gpt-5.5-2026-04-01"),
        ("openai", "gpt-6-luna-latest"),
        ("anthropic", "claude-opus-5-5-20261001"),
        ("anthropic", "claude-haiku-4-5@20251001"),
        ("gemini", "gemini-3.8-flash-preview-09-2026"),
        ("gemini", "gemini-3.5-flash-lite-001"),
    ],
)
def test_a_dated_model_costs_what_its_model_costs(name: str, model: str) -> None:
    """A date, a number of a version, a preview: the same model."""
    assert model_facts(name, model).price is not None


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai", "gpt-5.5-pro"),
        ("openai", "gpt-6-luna-pro-2026-10-01"),
        ("openai", "gpt-5.4-mini:ft-1"),
        ("anthropic", "claude-opus-5-5-fast"),
        ("gemini", "gemini-3.8-flash-lite"),
        ("gemini", "gemini-3.8-flash-image-preview"),
    ],
)
def test_another_kind_of_a_model_has_no_price_rather_than_a_wrong_one(name: str, model: str) -> None:
    """A `pro` costs many times as much; budgets that counted it as its sister would not hold."""
    facts = model_facts(name, model)
    assert facts.price is None
    assert facts.context_window is not None


@pytest.mark.parametrize(
    "model",
    ["gpt-3.5-turbo", "gpt-4", "gpt-4-0613", "gpt-4-turbo", "gpt-4.1-nano", "o1", "o3-mini", "o4-mini-2025-04-16"],
)
def test_models_that_are_gone_say_so(model: str) -> None:
    """Old material is full of them."""
    assert model_facts("openai", model).quirks["shut_down"] == "2026-10-23"


def test_an_unknown_model_has_no_facts() -> None:
    """Nothing is refused on its account."""
    assert model_facts("openai", "gpt-99") == ModelFacts()
    assert model_facts("openai", "") == ModelFacts()


def test_prices_are_exact_and_name_their_source() -> None:
    """Decimals from strings, never through binary fractions."""
    price = model_facts("openai", "gpt-6-luna").price
    assert price is not None
    assert (price.input, price.output, price.cache_read) == (Decimal("0.10"), Decimal("0.50"), Decimal("0.01"))
    assert "2026" in price.source


@pytest.mark.parametrize("name", list(ROWS))
def test_every_row_is_consistent(name: str) -> None:
    """Known capabilities and quirks only; what a model cannot do is not promised."""
    facts = model_facts("openai", name)
    assert facts.capabilities <= set(get_args(Capability))
    assert facts.quirks.keys() <= {
        "token_cap",
        "system_role",
        "effort",
        "default_effort",
        "endpoint",
        "rejects",
        "replaced_by",
        "sampling",
        "tools",
        "shut_down",
    }
    efforts = facts.quirks.get("effort", [])
    if facts.quirks.get("tools") == "without_thinking" and "none" not in efforts:
        # It cannot stop thinking: only Responses takes its tools, so it must not be held to Chat Completions.
        assert facts.lacks("tools") or facts.quirks.get("endpoint") != "chat"
    if efforts:
        assert facts.quirks["default_effort"] in efforts
        assert not facts.lacks("thinking")
