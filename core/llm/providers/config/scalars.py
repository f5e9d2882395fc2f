"""What a plain YAML scalar means, without the surprises of YAML 1.1.

`no` is not false, `012` is not ten, `1:30` is not ninety, and a date is not a date: each of these is refused with the
way to write what was meant. Everything else reads as YAML does.
"""

import re
from typing import Final

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_FORMER_BOOLEANS: Final = frozenset(
    word for base in ("yes", "no", "on", "off") for word in (base, base.capitalize(), base.upper())
)
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
_OCTAL: Final = re.compile(r"[-+]?0[0-9_]+|0o[0-7]+")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.?[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*\.")
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE: Final = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:(?:[Tt]|[ \t]+)\d{1,2}:\d{2}:\d{2}.*)?")

Scalar = str | int | float | bool | None


class AmbiguousScalar(ValueError):
    """A plain scalar that YAML readers disagree about; the message says what to write instead."""


def typed(text: str) -> Scalar:
    """The value of the unquoted scalar *text*.

    Raises:
        AmbiguousScalar: YAML 1.1 would turn it into something its author did not write.
    """
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _FORMER_BOOLEANS:
        raise AmbiguousScalar("quote this value if it is text, or write true or false")
    # Whatever is left and begins with a letter is text: the patterns below need not be tried.
    if text[0].isalpha():
        return text
    return _number(text)


def retyped(text: str) -> Scalar:
    """*text* as the integer, float or boolean it looks like, else unchanged."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    try:
        value = _number(text) if text else text
    except AmbiguousScalar:
        return text
    return value


def _number(text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        if len(text) > 400:
            raise AmbiguousScalar("quote this value: no number is that long")
        return int(text.replace("_", ""), 0)
    if _OCTAL.fullmatch(text):
        raise AmbiguousScalar("quote this value if it is text, or write the number without leading zeros")
    if _FLOAT.fullmatch(text) and len(text) <= 400:
        return float(text.replace("_", ""))
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    if _SEXAGESIMAL.fullmatch(text):
        raise AmbiguousScalar("quote this value: YAML reads digits with colons as a number to the base of sixty")
    if _DATE.fullmatch(text):
        raise AmbiguousScalar("quote this value: YAML reads it as a date")
    return text
