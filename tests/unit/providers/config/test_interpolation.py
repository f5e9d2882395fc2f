"""`${…}` the way Compose files write it."""

import pytest

from core.llm.providers.config.interpolation import BadSubstitution, UnsetVariable, substitute
from core.llm.providers.config.scalars import retyped

VARIABLES = {"V": "value", "EMPTY": "", "N": "5", "EVIL": "${V} $$ ${V:-x}\nproviders: {a: b}", "_X1": "under"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"), ("${V}", "value"), ("a ${V} b ${N}", "a value b 5"), ("${_X1}", "under"),
        ("${V:-d}", "value"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""), ("${NO-d}", "d"), ("${NO:-}", ""),
        ("${V:+x}", "x"), ("${EMPTY:+x}", ""), ("${EMPTY+x}", "x"), ("${NO+x}", ""),
        ("${NO:-${V}}", "value"), ("${NO:-${NO:-${N}}}", "5"), ("${NO:-a${V}b}", "avalueb"),
        ("$$", "$"), ("$${V}", "${V}"), ("$V", "$V"), ("cost $5", "cost $5"), ("pa$$word", "pa$word"), ("a$", "a$"),
        ("${EVIL}", VARIABLES["EVIL"]), ("${NO:-a:b}", "a:b"), ("${V:?said}", "value"), ("${EMPTY?said}", ""),
        ("${V:-${NO}}", "value"),
    ],
)  # fmt: skip
def test_cf_05_s34_substitution(text: str, result: str) -> None:
    """CF-05, S34: one pass, and what a variable holds stays as it is."""
    assert substitute(text, VARIABLES).text == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NO}", "environment variable NO is not set"),
        ("${NO:?choose one}", "NO is not set: choose one"),
        ("${EMPTY:?choose one}", "EMPTY is not set: choose one"),
        ("${NO:-${ALSO}}", "ALSO is not set"),
    ],
)
def test_f112_unset_variables_are_named(text: str, said: str) -> None:
    """F112, M16: never left in place."""
    with pytest.raises(UnsetVariable, match=said.replace("?", r"\?")):
        substitute(text, VARIABLES)


@pytest.mark.parametrize(
    "text", ["${", "${V", "${}", "${1X}", "${V:}", "${V!x}", "${V:-d", "${a b}", "${" + "V:-${" * 40]
)
def test_cf_05_unreadable_substitutions_are_refused(text: str) -> None:
    """CF-05: with what to write instead."""
    with pytest.raises(BadSubstitution):
        substitute(text, {})


def test_only_a_whole_substitution_is_whole() -> None:
    """A text with a number in it stays a text."""
    assert substitute("${N}", VARIABLES).whole
    assert not substitute("a${N}", VARIABLES).whole
    assert not substitute("${N}b", VARIABLES).whole
    assert not substitute("${N}${N}", VARIABLES).whole


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("0.5", 0.5), ("true", True), ("FALSE", False), ("no", "no"), ("012", "012"), ("", ""), ("null", "null"), ("5m", "5m")],
)  # fmt: skip
def test_cf_05_substituted_values_take_the_type_they_look_like(text: str, value: object) -> None:
    """CF-05: numbers and booleans, and nothing by surprise."""
    assert retyped(text) == value
    assert type(retyped(text)) is type(value)
