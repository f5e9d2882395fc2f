"""Two hundred pairs of a request and a model with known answers: nothing wrong is sent, and nothing wrong is skipped.

The answers are written down by hand in the table below; the facts of each model and each request stand beside it.
"""

from contextlib import suppress
from typing import Any, Final

import pytest

from core.llm.common.exceptions import StructuredOutputError, UnsupportedFeature
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, TextPart
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.base.request import AnswerMode, LLMRequest, ResponseFormat
from core.llm.routing.fit import misfit
from tests.unit.llm.support import serving

ALL: Final[tuple[Capability, ...]] = (
    "chat", "stream", "tools", "parallel_tools", "json", "json_schema", "vision", "documents", "audio", "thinking",
)  # fmt: skip

MODELS: Final[dict[str, dict[str, Any]]] = {
    # What is known about each.
    "unknown": {},
    "large": {"context_window": 1_000_000, "max_output_tokens": 64_000, "capabilities": list(ALL)},
    "small": {"context_window": 1_000, "max_output_tokens": 500, "capabilities": list(ALL)},
    "plain": {"context_window": 100_000, "capabilities": ["chat", "stream"]},
    "tools": {"context_window": 100_000, "capabilities": ["chat", "stream", "tools", "json"]},
    "seeing": {"context_window": 100_000, "capabilities": ["chat", "stream", "vision", "json", "json_schema"]},
    "reading": {"context_window": 100_000, "capabilities": ["chat", "stream", "documents", "audio"]},
    "whole": {"context_window": 100_000, "capabilities": ["chat", "tools"]},
    "vectors": {"context_window": 500, "capabilities": ["embeddings"], "quirks": {"dimensions": [256, 512]}},
    "fixed": {"capabilities": ["embeddings"], "quirks": {"dimensions": False}},
}

SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "string"}}}
PICTURE: Final = ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PAPER: Final = DocumentPart(data=b"%PDF-1.4", media_type="application/pdf")
SOUND: Final = AudioPart(data=b"RIFF", media_type="audio/wav")


def said(*content: Any, **options: Any) -> dict[str, Any]:
    """A request with that content."""
    return {"messages": [{"role": "user", "content": list(content)}], **options}


def wanting(mode: AnswerMode) -> dict[str, Any]:
    """A request for an object in that way."""
    return said(TextPart("hi"), response_format=ResponseFormat(SCHEMA, mode=mode))


REQUESTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    # Mode and fields, by a name for people.
    "hello": ("generate", said(TextPart("hello"))),
    "streamed": ("stream", said(TextPart("hello"))),
    "a tool": ("generate", said(TextPart("hi"), tools=[{"name": "f"}])),
    "a forced tool": ("generate", said(TextPart("hi"), tools=[{"name": "f"}], tool_choice="required")),
    "a streamed tool": ("stream", said(TextPart("hi"), tools=[{"name": "f"}])),
    "a picture": ("generate", said(TextPart("what is it?"), PICTURE)),
    "a document": ("generate", said(PAPER)),
    "a recording": ("stream", said(SOUND)),
    "picture and tool": ("generate", said(PICTURE, tools=[{"name": "f"}])),
    "an object": ("generate", wanting("auto")),
    "a native object": ("generate", wanting("native")),
    "an object by tool": ("generate", wanting("tool")),
    "an object in words": ("generate", wanting("prompt")),
    "9 900 letters": ("generate", said(TextPart("x" * 9_900))),
    "10 010 letters": ("generate", said(TextPart("x" * 10_010))),
    "a long answer": ("generate", said(TextPart("hi"), max_tokens=999_999)),
    "a strict long answer": ("generate", said(TextPart("hi"), max_tokens=600, parameter_policy="error")),
    "a full window": ("generate", said(TextPart("x" * 6_000), max_tokens=450)),
    "vectors": ("embed", {"inputs": ("a", "b")}),
    "short vectors": ("embed", {"inputs": ("a",), "dimensions": 256}),
}

# The columns are the models in their order above: s is sent, a dot is skipped.
#                         unknown large small plain tools seeing reading whole vectors fixed
TABLE: Final[dict[str, str]] = {
    "hello":                "s     s     s     s     s     s      s       s     .       .",
    "streamed":             "s     s     s     s     s     s      s       .     .       .",
    "a tool":               "s     s     s     .     s     .      .       s     .       .",
    "a forced tool":        "s     s     s     .     s     .      .       s     .       .",
    "a streamed tool":      "s     s     s     .     s     .      .       .     .       .",
    "a picture":            "s     s     s     .     .     s      .       .     .       .",
    "a document":           "s     s     s     .     .     .      s       .     .       .",
    "a recording":          "s     s     s     .     .     .      s       .     .       .",
    "picture and tool":     "s     s     s     .     .     .      .       .     .       .",
    "an object":            "s     s     s     s     s     s      s       s     .       .",
    "a native object":      "s     s     s     .     .     s      .       .     .       .",
    "an object by tool":    "s     s     s     .     s     .      .       s     .       .",
    "an object in words":   "s     s     s     s     s     s      s       s     .       .",
    "9 900 letters":        "s     s     s     s     s     s      s       s     .       .",
    "10 010 letters":       "s     s     .     s     s     s      s       s     .       .",
    "a long answer":        "s     s     s     .     .     .      .       .     .       .",
    "a strict long answer": "s     s     .     s     s     s      s       s     .       .",
    "a full window":        "s     s     .     s     s     s      s       s     .       .",
    "vectors":              "s     .     .     .     .     .      .       .     s       s",
    "short vectors":        "s     .     .     .     .     .      .       .     s       .",
}  # fmt: skip


def test_the_table_has_two_hundred_answers() -> None:
    """None of them is missing, and each model is both sent and not sent something."""
    rows = {name: row.split() for name, row in TABLE.items()}
    assert rows.keys() == REQUESTS.keys()
    assert sum(map(len, rows.values())) == 200
    assert all(len(row) == len(MODELS) for row in rows.values())
    columns = list(zip(*rows.values(), strict=True))
    assert all("s" in column for column in columns)


@pytest.mark.parametrize("name", REQUESTS)
def test_G05_each_request_fits_the_models_that_can_take_it_and_no_other(name: str) -> None:
    """By the facts alone."""
    mode, fields = REQUESTS[name]
    found = []
    for model in MODELS.values():
        facts = ModelFacts(
            model.get("context_window"),
            model.get("max_output_tokens"),
            frozenset(model.get("capabilities", ())),
            quirks=model.get("quirks", {}),
        )
        if mode == "embed":
            reason = misfit(LLMRequest(messages=""), mode, facts, **fields)
        else:
            request = LLMRequest(**fields)
            reason = misfit(request, mode, facts, policy=request.parameter_policy or "warn")
        found.append("." if reason else "s")
    assert "".join(found) == "".join(TABLE[name].split())


@pytest.mark.parametrize("name", [name for name, (mode, _) in REQUESTS.items() if mode != "embed"])
async def test_G04_G05_each_request_is_sent_where_it_fits_and_explained_as_it_is_sent(name: str) -> None:
    """Through the whole service: what really happens, and what `explain` says, are the same."""
    mode, fields = REQUESTS[name]
    providers = {"alpha": {"models": MODELS}}
    async with serving("alpha", providers=providers) as world:
        found = explained = ""
        for model in MODELS:
            request = LLMRequest(**{**fields, "model": f"alpha/{model}"})
            explained += "." if world.service.explain(request, stream=mode == "stream").first is None else "s"
            before = len(world.alpha.requests)
            if mode == "stream":
                with suppress(UnsupportedFeature, StructuredOutputError):
                    async with world.service.stream(request) as stream:
                        await stream.response()
            else:
                with suppress(UnsupportedFeature, StructuredOutputError):
                    await world.service.generate(request)
            found += "." if len(world.alpha.requests) == before else "s"
    assert (found, explained) == ("".join(TABLE[name].split()),) * 2
