"""Mending what stands around JSON, and leaving alone what stands in it."""

import pytest

from core.llm.structured.repair import readings


@pytest.mark.parametrize(
    ("text", "value", "repair"),
    [
        ('{"a": 1}', {"a": 1}, None),
        (" \n[1, 2]\n", [1, 2], None),
        ("\ufeff7", 7, None),
        ('```json\n{"a": 1}\n```', {"a": 1}, "code fence"),
        ('Here:\n```\n{"a": 1}\n```\nBye {x}', {"a": 1}, "code fence"),
        ('Sure! {"a": 1}', {"a": 1}, "stood around"),
        ('{"a": 1} That is all.', {"a": 1}, "stood around"),
        ('It is {"a": "}{"} you see', {"a": "}{"}, "stood around"),
        ('see [below] {"a": "\\"}"}', {"a": '"}'}, "stood around"),
        ('{"a": [1, 2,], }', {"a": [1, 2]}, "comma"),
        ('{"a": ",}",}', {"a": ",}"}, "comma"),
        ('```json\n{"a": 1,}\n```', {"a": 1}, "comma"),
        ('{"a": {"b": "c"', {"a": {"b": "c"}}, "missing"),
        ('{"a": [{"b": {}', {"a": [{"b": {}}]}, "missing"),
        ('x {"a": 1} y {"a": 1}', {"a": 1}, "stood around"),
    ],
)
def test_fences_prose_commas_and_brackets_are_mended(text: str, value: object, repair: str | None) -> None:
    """One value comes out, and what was done is said."""
    (found,) = readings(text, complete=True)
    assert found.value == value
    assert (repair in " ".join(found.repairs)) if repair else found.repairs == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "no", '{"a": ', '{"a": 1, ', '{"a": "b', '{"a": tru', '{"a": 12', '{"a"', "{'a': 1}", '{"a": NaN}', "}{",
        "{{{{", '{"a" 1}', '{"a": 1 "b": 2}',
    ],
)  # fmt: skip
def test_no_value_is_made_up(text: str) -> None:
    """Cut strings, numbers, keys and values stay what they are: no answer."""
    assert readings(text, complete=True) == []


def test_brackets_are_added_only_where_the_model_says_it_had_finished() -> None:
    """Otherwise more values may be missing than brackets."""
    assert readings('{"a": [{"b": "c"}', complete=False) == []


def test_different_values_are_all_there_for_the_reader_to_refuse() -> None:
    """Choosing one would be a guess."""
    assert [one.value for one in readings('{"a": 1} or {"a": 2}', complete=True)] == [{"a": 1}, {"a": 2}]


def test_long_texts_full_of_brackets_are_read_in_reasonable_time() -> None:
    """The work is bounded."""
    assert readings("{" * 200_000, complete=True) == []
    assert readings("[" * 5_000_000, complete=True) == []
