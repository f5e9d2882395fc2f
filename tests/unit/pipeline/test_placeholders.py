"""Values in the place of placeholders, also where one arrives in two pieces."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.llm.pipeline.placeholders import Placeholders, Restorer

VALUES = st.dictionaries(st.text("ab[]", min_size=1, max_size=5), st.text("abx", max_size=4), min_size=1, max_size=4)


@given(VALUES, st.text("ab[]", max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_the_cut_of_a_text_changes_nothing(values: dict[str, str], text: str, places: list[int]) -> None:
    """Restored piece by piece a text is the same as restored as a whole."""
    placeholders = Placeholders(values)
    restorer = Restorer(placeholders)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    shown = [restorer.add(text[a:b]) for a, b in pairwise(edges)]
    assert "".join(shown) + restorer.end() == placeholders.restored(text)


def test_only_what_may_become_a_placeholder_is_held_back() -> None:
    """A text without placeholders is not delayed."""
    restorer = Restorer(Placeholders({"[EMAIL_1]": "a@b.cd"}))
    assert restorer.add("write to ") == "write to "
    assert restorer.add("[EMA") == ""
    assert restorer.add("IL_1]!") == "a@b.cd!"
    assert restorer.add("[EMA") == ""
    assert restorer.end() == "[EMA"


def test_a_value_is_written_as_json_where_the_text_is_json() -> None:
    """A quotation mark in a value does not end the string it is put into."""
    placeholders = Placeholders({"[X_1]": 'a "b"\n'})
    assert placeholders.quoted().restored('{"q": "[X_1]"}') == '{"q": "a \\"b\\"\\n"}'
    assert placeholders.restored_in({"[X_1]": ["[X_1]", 1, None]}) == {'a "b"\n': ['a "b"\n', 1, None]}
