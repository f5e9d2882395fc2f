"""Keep personal data away from the model, and give it back to the caller. Pure.

E-mail addresses, phone numbers, card numbers and IBANs are replaced by numbered placeholders before anything is sent;
wherever the model writes a placeholder, the caller reads the value. The same value has the same placeholder in the
whole call, and in the next turn of the same conversation, because numbers are given in the order of the messages.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from core.llm.common.guardrail import ALLOW, GuardedRequest, Guardrail, InputVerdict, Replace
from core.llm.common.messages import Message, Part, TextPart, ThinkingPart, ToolCall, ToolResultPart

PiiKind = Literal["email", "iban", "card", "phone"]

_PATTERNS: Final[Mapping[PiiKind, re.Pattern[str]]] = {
    # Bounded or possessive repetitions everywhere: no text makes these slow.
    "email": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"),
    "iban": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "card": re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w])"),
    "phone": re.compile(r"(?<![\w.+])\+?\(?\d++\)?(?:[ ./-]{1,2}+\(?\d++\)?){0,7}+(?!\w)"),
}
_PHONE_DIGITS: Final = range(8, 16)
_CARD_DIGITS: Final = range(13, 20)


class PiiMasking(Guardrail):
    """A guardrail that masks personal data on its way out and restores it on its way back.

    Args:
        kinds: what to mask; everything it knows, in this order, unless fewer are named.
    """

    name = "pii_masking"

    def __init__(self, kinds: Sequence[PiiKind] = ("email", "iban", "card", "phone")) -> None:
        unknown = set(kinds) - _PATTERNS.keys()
        if unknown:
            raise ValueError(f"nothing is known about {min(unknown)!r}: choose from {', '.join(_PATTERNS)}")
        self._kinds = tuple(kind for kind in _PATTERNS if kind in kinds)

    def check_input(self, request: GuardedRequest) -> InputVerdict:
        """The messages with placeholders in them; untouched where there is nothing to mask."""
        mask = _Mask(self._kinds, request.messages)
        messages = tuple(_message(message, mask) for message in request.messages)
        return Replace(messages, mask.values) if mask.values else ALLOW


class _Mask:
    """The placeholders of one call."""

    __slots__ = ("_by_value", "_counts", "_kinds", "_taken", "values")

    def __init__(self, kinds: tuple[PiiKind, ...], messages: tuple[Message, ...]) -> None:
        self._kinds = kinds
        self._by_value: dict[str, str] = {}
        self._counts = dict.fromkeys(kinds, 0)
        # What looks like a placeholder already must not be mistaken for one of ours.
        self._taken = {word for message in messages for text in _texts(message) for word in _LIKE_OURS.findall(text)}
        self.values: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        for kind in self._kinds:
            text = _PATTERNS[kind].sub(lambda match, kind=kind: self._masked(kind, match[0]), text)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        return text

    def _masked(self, kind: PiiKind, value: str) -> str:
        is_one = _IS_ONE[kind]
        # A pattern may take in a number that only stands behind.
        ends = (end for end in range(len(value), 0, -1) if end == len(value) or not value[end].isalnum())
        end = next((end for end in ends if is_one(value[:end])), None)
        return value if end is None else self._placeholder(kind, value[:end]) + value[end:]

    def _placeholder(self, kind: PiiKind, value: str) -> str:
        known = self._by_value.get(value)
        if known is not None:
            return known
        while True:
            self._counts[kind] += 1
            placeholder = f"[{kind.upper()}_{self._counts[kind]}]"
            if placeholder not in self._taken:
                break
        self._by_value[value] = placeholder
        self.values[placeholder] = value
        return placeholder


_LIKE_OURS: Final = re.compile(r"\[(?:EMAIL|IBAN|CARD|PHONE)_\d{1,9}\]")


def _message(message: Message, mask: Callable[[str], str]) -> Message:
    content: str | tuple[Part, ...]
    if isinstance(message.content, str):
        content = mask(message.content)
    else:
        content = tuple(_part(part, mask) for part in message.content)
    calls = tuple(_call(call, mask) for call in message.tool_calls)
    return replace(message, content=content, tool_calls=calls)


def _part(part: Part, mask: Callable[[str], str]) -> Part:
    if isinstance(part, TextPart | ThinkingPart):
        return replace(part, text=mask(part.text))
    if isinstance(part, ToolResultPart):
        return replace(part, content=mask(part.content))
    return _call(part, mask) if isinstance(part, ToolCall) else part


def _call(call: ToolCall, mask: Callable[[str], str]) -> ToolCall:
    raw = call.raw_arguments
    return replace(call, arguments=_value(call.arguments, mask), raw_arguments=None if raw is None else mask(raw))


def _value(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: _value(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, mask) for item in value]
    return value


def _texts(message: Message) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _message(message, note)
    return found


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _is_card(text: str) -> bool:
    """Whether the last digit is the check digit of the others (Luhn)."""
    digits = [int(letter) for letter in reversed(_digits(text))]
    if len(digits) not in _CARD_DIGITS:
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """Whether the two check digits fit the rest (ISO 13616)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    """Whether it has as many digits as a phone number, and is written like one: not a date, not a number."""
    digits = _digits(text)
    if len(digits) not in _PHONE_DIGITS or _DATE.search(text) or _DECIMAL.fullmatch(text):
        return False
    return text.startswith(("+", "00", "0", "(")) or any(mark in text for mark in " -/.")


_DATE: Final = re.compile(r"\b(?:19|20)\d\d[-./]\d{1,2}[-./]\d{1,2}\b|\b\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d\b")

_DECIMAL: Final = re.compile(r"\d+\.\d+")

_IS_ONE: Final[Mapping[PiiKind, Callable[[str], bool]]] = {
    "email": lambda _: True,
    "iban": _is_iban,
    "card": _is_card,
    "phone": _is_phone,
}
