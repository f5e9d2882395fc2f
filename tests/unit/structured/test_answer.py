"""Reading the text of an answer as the object that was asked for."""

import pytest
from pydantic import BaseModel

from core.llm.common.exceptions import StructuredOutputError
from core.llm.common.messages import TextPart, ToolCall
from core.llm.common.types import FinishReason, UnifiedFinish
from core.llm.providers.base.response import LLMResponse
from core.llm.structured.answer import Fit, Misfit, read_response, read_text
from core.llm.structured.form import WRAPPER, answer_format, in_an_object, is_object
from tests.unit.structured.models import TABLE, Discriminated, Flat, Names, Pet, Score, Scores, Tree

NAMED = [pytest.param(*row, id=row[0].__name__) for row in TABLE]


def test_there_are_enough_models() -> None:
    """Forty at least, all different."""
    assert len({model for model, _, _ in TABLE}) >= 40


@pytest.mark.parametrize(("model", "good", "bad"), NAMED)
def test_what_fits_is_an_object_and_what_does_not_is_a_reason(model: type[BaseModel], good: str, bad: str) -> None:
    """The model itself decides, by every rule it has."""
    fit = read_text(good, model)
    assert isinstance(fit, Fit)
    assert fit == Fit(model.model_validate_json(good))
    misfit = read_text(bad, model)
    assert isinstance(misfit, Misfit)
    assert str(misfit)


@pytest.mark.parametrize(("model", "good", "bad"), NAMED)
def test_what_is_no_object_is_asked_for_inside_of_one(model: type[BaseModel], good: str, bad: str) -> None:
    """And is taken out of it again, with or without the wrapping; what is an object stays as it is."""
    wanted = answer_format(model)
    sent = in_an_object(wanted)
    assert sent.schema is not None
    assert is_object(sent.schema)
    assert in_an_object(sent) is sent
    if sent is not wanted:
        fit = read_text(f'{{"{WRAPPER}": {good}}}', model)
        assert isinstance(fit, Fit)
        assert fit.object == model.model_validate_json(good)
        assert isinstance(read_text(f'{{"{WRAPPER}": {bad}}}', model), Misfit)


def test_only_what_is_no_object_is_put_into_one() -> None:
    """Lists, unions and numbers are; objects with free keys, and objects that refer to themselves, are not."""
    wrapped = {model for model in (Names, Pet, Score, Scores, Tree, Flat) if not is_object(model.model_json_schema())}
    assert wrapped == {Names, Pet, Score}


def test_reasons_name_places_and_rules_and_never_quote_the_answer() -> None:
    """They get into messages; the text of an answer does not."""
    for text, model in (
        ('{"pet": {"kind": "canary", "lives": 9}}', Discriminated),
        ('{"name": "canary", "age": "canary"}', Flat),
        ("canary", Flat),
    ):
        misfit = read_text(text, model)
        assert isinstance(misfit, Misfit)
        assert "canary" not in str(misfit)
    misfit = read_text('{"name": "A"}', Flat)
    assert isinstance(misfit, Misfit)
    assert misfit.problems == ("age: Field required",)


def test_a_validator_that_fails_in_its_own_way_is_a_reason_too() -> None:
    """Nothing foreign gets out."""

    class Odd(BaseModel):
        value: int

        def model_post_init(self, _: object) -> None:
            raise KeyError("canary")

    misfit = read_text('{"value": 1}', Odd)
    assert misfit == Misfit(("a validator of Odd raised KeyError",))


def answered(text: str, finish: UnifiedFinish, refusal: str | None = None, **more: ToolCall) -> LLMResponse:
    """A response that says *text*."""
    return LLMResponse((TextPart(text), *more.values()), FinishReason(finish, finish), "m", "p", refusal=refusal)


@pytest.mark.parametrize(
    ("response", "reason", "word"),
    [
        (answered("I cannot", "refusal"), "refused", "refused to give a Flat"),
        (answered("", "content_filter"), "refused", "refused"),
        (answered("", "stop", refusal="No."), "refused", "refused"),
        (answered('{"name": "A", "ag', "length"), "truncated", "raise max_tokens"),
        (answered('{"name": "A"}', "length"), "truncated", "raise max_tokens"),
    ],
)
def test_refusals_and_cut_answers_are_errors_of_their_own(response: LLMResponse, reason: str, word: str) -> None:
    """They say what to do; the text is an attribute."""
    with pytest.raises(StructuredOutputError, match=word) as caught:
        read_response(response, answer_format(Flat))
    assert caught.value.reason == reason
    assert caught.value.text == (response.content or response.refusal or "")


def test_a_complete_object_followed_by_blanks_until_the_limit_is_whole() -> None:
    """Some models do that; nothing of the object is missing."""
    outcome = read_response(answered('{"name": "A", "age": 1}   \n\n', "length"), answer_format(Flat))
    assert outcome == Fit(Flat(name="A", age=1))
    with pytest.raises(StructuredOutputError):
        read_response(answered("12", "length"), answer_format(Score))


def test_a_call_of_another_tool_is_no_answer_yet() -> None:
    """The caller runs it and asks again."""
    response = answered("", "tool_calls", call=ToolCall("1", "look", {}))
    assert read_response(response, answer_format(Flat)) is None
