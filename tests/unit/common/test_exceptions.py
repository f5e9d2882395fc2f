"""Everything that can go wrong, as one tree."""

import copy
import inspect
import pickle
from typing import get_args

import pytest

from core.llm.common import exceptions
from core.llm.common.exceptions import (
    AllAttemptsFailed,
    BudgetExceeded,
    ConfigError,
    ConfigIssue,
    ErrorType,
    LLMError,
    ModelLoadError,
    ProviderError,
    RateLimited,
    RequestError,
    StructuredOutputError,
    UnsupportedFeature,
    WorkerCrashed,
)
from core.llm.common.trace import CallTrace
from core.llm.common.types import ModelRef, PartialOutput, Usage
from core.llm.factory.exceptions import MissingExtra

EVERY = [
    ProviderError("timeout", "too slow", provider="alpha", model="m"),
    AllAttemptsFailed("nobody", [ProviderError("timeout", "too slow")], [(ModelRef("a", "m"), "off")]),
    RequestError("wrong"),
    UnsupportedFeature("no tools"),
    StructuredOutputError("no Invoice", text="raw"),
    RateLimited("too fast", retry_after=3.0),
    BudgetExceeded("too dear"),
    ConfigError([ConfigIssue("is unknown", "retry.x", "llm.yaml", 3, 5, "did you mean `y`?")]),
    ConfigError([ConfigIssue("one"), ConfigIssue("two")]),
    ModelLoadError("no file", model="m", output="tail"),
    WorkerCrashed("killed", pid=7, exit_code=-9, model="m", output="tail"),
    MissingExtra("llama_cpp", "local", "xllamacpp"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes_and_are_copied(error: LLMError) -> None:
    """Type, text and fields arrive as they were sent."""
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert {name: str(value) for name, value in vars(again).items()} == {
            name: str(value) for name, value in vars(error).items()
        }


def test_a_provider_error_travels_with_everything_it_knows() -> None:
    """Partial output and trace included."""
    error = ProviderError(
        "rate_limit",
        "slow down",
        code="c",
        status_code=429,
        retry_after=7.2,
        provider="alpha",
        model="m",
        request_id="r",
        partial=PartialOutput("Hel", usage=Usage(1, output=2)),
        billing="estimated",
    )
    error.trace = CallTrace("c1", 1, "fast")
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_every_type_of_provider_error_reads_well_without_a_text(kind: ErrorType) -> None:
    """A provider that says nothing still gives an error that says something."""
    assert str(ProviderError(kind, ""))
    assert str(ProviderError(kind, "it failed")) == "it failed"
    assert ProviderError(kind, "x").scope in {"request", "key", "model", "provider"}


def test_a_provider_error_says_what_where_and_when_to_come_back() -> None:
    """Place, status and wait are part of the text."""
    error = ProviderError("rate_limit", "rate limited", status_code=429, retry_after=7.25)
    assert str(error.at("openai", "gpt-6-luna")) == "openai/gpt-6-luna: rate limited (HTTP 429) Retry after 7.25 s."
    assert error.at("other", "else").provider == "openai"


def test_a_configuration_error_lists_every_issue_with_its_place() -> None:
    """One issue is one line; several are a list."""
    first = ConfigIssue("is unknown", "retry.x", "llm.yaml", 3, 5, "did you mean `y`?")
    assert str(ConfigError([first])) == "llm.yaml:3:5: retry.x: is unknown (did you mean `y`?)"
    assert str(ConfigError([first, ConfigIssue("two")])).splitlines() == [
        "2 problems in the configuration:",
        "  llm.yaml:3:5: retry.x: is unknown (did you mean `y`?)",
        "  two",
    ]


def test_the_tree_is_as_it_is_drawn() -> None:
    """Every error stands in the drawing of the module, and all come from one root."""
    drawing = inspect.getdoc(exceptions) or ""
    for name, found in inspect.getmembers(exceptions, inspect.isclass):
        if issubclass(found, BaseException):
            assert issubclass(found, LLMError)
            assert name in drawing
