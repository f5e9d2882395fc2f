"""From the text of an answer to the object that was asked for, or to the reasons why it is none. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from core.llm.common.exceptions import OutputFailure, StructuredOutputError
from core.llm.providers.base.request import ResponseFormat
from core.llm.providers.base.response import LLMResponse
from core.llm.structured.form import WRAPPER, wrapper_of
from core.llm.structured.repair import Reading, readings

_MAX_PROBLEMS: Final = 8
_MAX_PROBLEM: Final = 240


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer is a valid object."""

    object: Any
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Misfit:
    """The answer is none. `problems` names places and rules; it is fit for the model to read, and for people."""

    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.problems)


def read_text(text: str, model: type[BaseModel], *, complete: bool = True) -> Fit | Misfit:
    """*text* as a *model*, validated by the model itself; mended where nothing has to be made up for it."""
    found = readings(text, complete=complete)
    if not found:
        return Misfit(("the answer holds no JSON" if text.strip() else "the answer is empty: it holds no JSON",))
    fits: list[tuple[Reading, Any]] = []
    problems: tuple[str, ...] = ()
    for reading in found:
        outcome = _validated(reading, model)
        if isinstance(outcome, Fit):
            fits.append((reading, outcome.object))
        else:
            problems = problems or outcome.problems
    if len(fits) > 1:
        return Misfit((f"the answer holds {len(fits)} different objects that fit: one is wanted",))
    if not fits:
        return Misfit(problems)
    return Fit(fits[0][1], fits[0][0].repairs)


def read_response(response: LLMResponse, wanted: ResponseFormat) -> Fit | Misfit | None:
    """The object in *response*; `None` where it calls tools instead of answering.

    Raises:
        StructuredOutputError: the model refused, or was stopped before the object was complete; asking again for a
            correction would be of no use.
    """
    model = wanted.model
    if model is None or (response.tool_calls and response.finish_reason.unified == "tool_calls"):
        return None
    finish = response.finish_reason.unified
    text = response.content
    if finish in {"refusal", "content_filter"} or response.refusal:
        raw = response.finish_reason.raw
        raise failure(
            response, "refused", f"refused to give {_a(model)}" + (f" (finish reason {raw!r})" if raw else "")
        )
    if finish == "length":
        # Some models fill the space after a complete object with blanks until they are stopped.
        outcome = read_text(text, model, complete=False) if text.rstrip().endswith(("}", "]")) else None
        if isinstance(outcome, Fit) and not outcome.repairs:
            return outcome
        raise failure(
            response,
            "truncated",
            f"reached the limit of tokens before {_a(model)} was complete: raise max_tokens, or ask for less",
        )
    return read_text(text, model)


def failure(response: LLMResponse, reason: OutputFailure, what: str) -> StructuredOutputError:
    """The error that says *what* the model did instead of giving the object."""
    return StructuredOutputError(
        f"{response.provider}/{response.model} {what}",
        text=response.content or response.refusal or "",
        reason=reason,
        usage=response.usage,
        cost=response.cost,
    )


def no_fit(response: LLMResponse, model: type[BaseModel], misfit: Misfit) -> StructuredOutputError:
    """The error for an answer that is no *model*."""
    return failure(response, "invalid", f"answered with something that is no {model.__name__}: {misfit}")


def _validated(reading: Reading, model: type[BaseModel]) -> Fit | Misfit:
    wrapper = wrapper_of(model)
    if wrapper is not None and isinstance(reading.value, dict) and list(reading.value) == [WRAPPER]:
        outcome = _by(reading, wrapper)
        if isinstance(outcome, Fit):
            return Fit(getattr(outcome.object, WRAPPER), outcome.repairs)
        direct = _by(reading, model)
        return direct if isinstance(direct, Fit) else outcome
    return _by(reading, model)


def _by(reading: Reading, model: type[BaseModel]) -> Fit | Misfit:
    try:
        return Fit(model.model_validate_json(reading.text), reading.repairs)
    except ValidationError as error:
        return Misfit(tuple(_problems(error.errors(include_input=False, include_url=False))))
    except Exception as error:  # noqa: BLE001 - a validator of the caller's own may raise anything
        return Misfit((f"a validator of {model.__name__} raised {type(error).__name__}",))


def _problems(errors: Iterable[Any]) -> Iterable[str]:
    listed = list(errors)
    for item in listed[:_MAX_PROBLEMS]:
        place = ".".join(map(str, item["loc"])) or "the whole answer"
        # This one message quotes the answer, which must not get into messages.
        tag = item["type"] == "union_tag_invalid"
        said = f"the tag is none of {item['ctx']['expected_tags']}" if tag else item["msg"]
        yield f"{place}: {said}"[:_MAX_PROBLEM]
    if len(listed) > _MAX_PROBLEMS:
        yield f"and {len(listed) - _MAX_PROBLEMS} more"


def _a(model: type[BaseModel]) -> str:
    return f"an {model.__name__}" if model.__name__[:1] in "AEIOUaeiou" else f"a {model.__name__}"
