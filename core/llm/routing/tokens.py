"""Estimates of token counts where nobody has counted: a likely value and a bound by the script of the text."""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from pydantic_core import to_json

from core.llm.providers.base.request import LLMRequest

# No common tokenizer packs ordinary text tighter than this on average.
_CHARACTERS_PER_TOKEN_AT_MOST = 10
_MARKS: Final = (string.punctuation + string.digits).encode()
_CJK: Final = re.compile(r"[⺀-鿿가-힯豈-﫿\uff00-\uffef\U00020000-\U0003ffff]+")


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many tokens something likely has, and between which numbers the truth lies."""

    tokens: int
    low: int
    high: int


_Three = tuple[float, float, float]
# Tokens per character: likely, at least, at most. Code differs from prose by its marks and digits.
_LETTER: Final[_Three] = (1 / 4.6, 1 / 9, 1 / 2)
_MARK: Final[_Three] = (1 / 1.6, 1 / 8, 1.1)
_CJK_CHARACTER: Final[_Three] = (0.8, 0.35, 2.0)
_OTHER_CHARACTER: Final[_Three] = (0.5, 0.15, 2.0)
# Templates around the messages; some models also come with instructions that nobody sees, up to 190 tokens at xAI.
_REQUEST: Final[_Three] = (3, 0, 200)
_MESSAGE: Final[_Three] = (4, 0, 10)
_TOOLS: Final[_Three] = (50, 0, 700)
# What vendors charge for a picture differs widely; pages and minutes cannot be seen from here.
_PICTURE: Final[_Three] = (800, 50, 5000)
_DOCUMENT: Final[_Three] = (1500, 50, 100_000)


class _Sum:
    __slots__ = ("high", "likely", "low")

    def __init__(self) -> None:
        self.likely = self.low = self.high = 0.0

    def add(self, rate: _Three, count: int = 1) -> None:
        self.likely += rate[0] * count
        self.low += rate[1] * count
        self.high += rate[2] * count

    def text(self, text: str) -> None:
        plain = text.encode("ascii", "ignore")
        letters = len(plain.translate(None, _MARKS))
        self.add(_LETTER, letters)
        self.add(_MARK, len(plain) - letters)
        foreign = len(text) - len(plain)
        if foreign:
            cjk = sum(map(len, _CJK.findall(text)))
            self.add(_CJK_CHARACTER, cjk)
            self.add(_OTHER_CHARACTER, foreign - cjk)

    def estimate(self) -> Estimate:
        return Estimate(ceil(self.likely), ceil(self.low), ceil(self.high))


def estimate_text(text: str) -> int:
    """Likely number of tokens of *text*."""
    found = _Sum()
    found.text(text)
    return ceil(found.likely)


def estimate_texts(texts: Iterable[str]) -> Estimate:
    """Tokens of *texts* one by one, as they are embedded."""
    found = _Sum()
    for text in texts:
        found.add(_MESSAGE)
        found.text(text)
    return found.estimate()


def estimate_request(request: LLMRequest) -> Estimate:
    """Prompt tokens of *request*, and the bound of that number.

    The bound is for text. A document or a recording has as many tokens as pages or minutes, which are not looked at.
    """
    found = _Sum()
    found.add(_REQUEST)
    found.add(_MESSAGE, len(request.messages))
    # Counted as one: each look at a text costs more than the text.
    found.text("".join([message.text for message in request.messages]))
    for message in request.messages:
        if not isinstance(message.content, str):
            for part in message.content:
                if part.type == "image":
                    found.add(_PICTURE)
                elif part.type in {"document", "audio"}:
                    found.add(_DOCUMENT)
                elif part.type == "tool_result":
                    found.text(part.content)
        for call in message.tool_calls:
            found.text(call.name + call.arguments_json())
    if request.tools:
        found.add(_TOOLS)
        for tool in request.tools:
            found.text(f"{tool.name} {tool.description} {_json(tool.parameters)}")
    if request.response_format is not None and request.response_format.schema is not None:
        found.add(_TOOLS)
        found.text(_json(request.response_format.schema))
    return found.estimate()


def estimate_input(request: LLMRequest) -> int:
    """Likely number of prompt tokens of *request*."""
    return estimate_request(request).tokens


def least_input(request: LLMRequest) -> int:
    """A number of prompt tokens that *request* surely has; used to refuse what cannot fit."""
    size = sum(len(message.text) for message in request.messages)
    return size // _CHARACTERS_PER_TOKEN_AT_MOST


def _json(value: Any) -> str:
    return to_json(value, fallback=str).decode()
