"""Every recorded exchange is read by some decoder, and says to us what it said to the vendor's own SDK.

The tests of each provider look closer; this one sees to it that nothing lies there unread, and holds all wires to the
same rules.
"""

import json
from collections import Counter
from typing import Any

import pytest

from core.llm.common.types import Usage
from tests.matrix.recorded import READERS, Recording, read, recordings

ALL = recordings()

UNREAD = {
    "gemini.cached_contents": "creating a cache is not a chat: its name goes into `extra` as `cachedContent`",
    "bedrock.invoke": "chat by InvokeModel is each model's own format; Converse is spoken instead. Its embeddings are read",
}
"""Wires of which something is not read, and why."""

GROK = "Grok on Azure counts more cached tokens than prompt tokens: the dearer reading is used, with a warning"
WITHHELD = "the SDK hands over an answer without content; for us that is none"
TOOL_PROMPT = "what a tool of Google's brought into the prompt is billed as input, and stands beside it"
PIECES = "the arguments come in pieces, which the SDK does not join"
THOUGHTS = "its thinking is counted in the total only"
SHORTENED = "the vector of the recording was cut together with its list"

DEVIATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic.messages.cache_usage_stream.1213d75e": (
        "what a compaction used is billed, and stands beside the totals",
        {"input": 281 + 55096, "cached": 55096, "output": 91},
    ),
    "azure.openai.chat.cache_usage.7929796c": (GROK, {"cached": 0}),
    "azure.openai.chat.cache_usage_stream.a68a3229": (GROK, {"cached": 0}),
    "azure.openai.chat.structured.174c1304": (GROK, {"cached": 0}),
    "azure.openai.chat.structured.c22f8c0a": (GROK, {"cached": 0}),
    "bedrock.invoke.embeddings.c1e3df46": (SHORTENED, {"embeddings_shape": [1, 256]}),
    "gemini.generate.content_filter.4a398ef6": (WITHHELD, {"error": "content_filter"}),
    "gemini.generate.content_filter_stream.d37f73c8": (WITHHELD, {"error": "content_filter"}),
    "gemini.generate.server_tools.bc224b88": (TOOL_PROMPT, {"input": 85 + 149}),
    "gemini.generate.server_tools_stream.65026cc5": (TOOL_PROMPT, {"input": 15 + 770}),
    "gemini.generate.server_tools_stream.c233d8c4": (TOOL_PROMPT, {"input": 147 + 360}),
    "gemini.generate.tools_stream.3ea45760": (
        PIECES,
        {
            "tool_calls": [
                {"name": "getWeather", "arguments": {"location": "Boston"}},
                {"name": "getWeather", "arguments": {"location": "San Francisco"}},
            ]
        },
    ),
    "gemini.generate.tools_stream.41ef8b63": (
        PIECES,
        {
            "tool_calls": [
                {"name": "read_theme", "arguments": {}},
                *({"name": "read_screen", "arguments": {"id": name}} for name in "ABC"),
            ]
        },
    ),
    "openai_compatible-gemini.openai.chat.chat.3686ad75": (THOUGHTS, {"output": 6 + 28}),
    "openai_compatible-gemini.openai.chat.tools.f3c44b81": (THOUGHTS, {"output": 12 + 62}),
    "openai_compatible-mistral.openai.chat.audio_input.92785fee": (
        "Mistral counts sound in the total only",
        {"input": 384},
    ),
    "openai_compatible-mistral.openai.chat.chat.143e78bc": (
        "the cached tokens stand in `num_cached_tokens`, which the SDK does not read",
        {"cached": 976},
    ),
    "openai_compatible-perplexity.openai.embeddings.embeddings.34f533ce": (
        "packed as one signed byte per number, which the SDK takes for floats",
        {"embeddings_shape": [1, 1024], "embedding_head": [-10.0, -58.0, 0.0, 3.0]},
    ),
    "vertex.gemini.generate.content_filter.65692db7": (WITHHELD, {"error": "content_filter"}),
    "vertex.gemini.generate.odd_finish.4a1e480b": (WITHHELD, {"error": "protocol"}),
    "vertex.gemini.generate.server_tools.2b96e2fb": (TOOL_PROMPT, {"input": 9 + 61}),
}
"""By recording: why we read something else than the SDK, and what."""

_ANSWER = ("text", "thinking_text", "refusal", "tool_calls")
"""What the SDK would have told: where it did not, it is not there."""
_TOLD = (*_ANSWER, "finish_reason_raw", "model", "done", "embeddings_shape",
         "embedding_head", "models_count", "model_ids", "has_more", "model_details", "capabilities", "pull_statuses",
         "pull_complete")  # fmt: skip


def is_read(recording: Recording) -> bool:
    """Whether anything of ours takes it."""
    if recording.wire == "bedrock.invoke":
        return recording.status >= 300 or ".embeddings." in recording.id
    return recording.wire in READERS


def differences(recording: Recording) -> dict[str, Any]:
    """Where we read something else than the SDK, and what."""
    said, wanted = read(recording), recording.expected or {}
    if bool(said.get("error")) != bool(wanted.get("error")):
        return {"error": (said.get("error") or {}).get("type")}
    found = {
        name: said[name]
        for name in _TOLD
        if name in said and recording.expected and (name in wanted or name in _ANSWER)
        if (said[name] or None) != (wanted.get(name) or None)
    }
    for known, identifier in zip(wanted.get("tool_call_ids") or (), said.get("tool_call_ids") or (), strict=False):
        # An id that is missing is made up.
        if identifier != known and (known or not identifier):
            found["tool_call_ids"] = said["tool_call_ids"]
    if isinstance(said.get("usage"), Usage) and wanted.get("usage"):
        found |= _counted(recording, said["usage"], wanted["usage"])
    return found


def _counted(recording: Recording, usage: Usage, told: dict[str, Any]) -> dict[str, int]:
    count = {name: told.get(name) or 0 for name in ("input", "cached", "cache_write", "output", "reasoning", "total")}
    beside = recording.wire.startswith(("anthropic.", "bedrock."))
    prompt = count["input"] + (count["cached"] + count["cache_write"] if beside else 0)
    found = {}
    if usage.input_total != prompt and told.get("input") is not None:
        found["input"] = usage.input_total
    if usage.cache_read != count["cached"]:
        found["cached"] = usage.cache_read
    if usage.output_total not in {count["output"], count["output"] + count["reasoning"]}:
        found["output"] = usage.output_total
    return found


@pytest.mark.parametrize("recording", [pytest.param(one, id=one.id) for one in ALL if is_read(one)])
def test_a_recording_says_what_the_sdk_read(recording):
    """Text, thinking, refusal, calls, ids, finish, vectors, lists, counts, and whether it is an error at all."""
    _, expected = DEVIATIONS.get(recording.id, ("", {}))
    assert differences(recording) == expected


@pytest.mark.parametrize("recording", [pytest.param(one, id=one.id) for one in ALL if is_read(one)])
def test_the_buckets_are_disjoint_and_sum_to_the_providers_total(recording):
    """Wherever the provider names one."""
    usage = read(recording).get("usage")
    if not isinstance(usage, Usage):
        return
    assert min(usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning) >= 0
    told = (recording.expected or {}).get("usage") or {}
    assert usage.total == told.get("total") or not told.get("total")


def test_every_file_is_read_or_its_wire_says_why_not():
    """A new kind of recording must not lie there unread."""
    unread = {one.wire for one in ALL if not is_read(one)}
    assert unread == UNREAD.keys()
    assert len(ALL) >= 614
    assert len({one.id for one in ALL}) == len(ALL)


def test_every_wire_of_the_providers_is_here():
    """Nobody takes recordings away without noticing."""
    assert {one.wire for one in ALL} == READERS.keys() | UNREAD.keys()
    providers = Counter(one.provider.partition(":")[0] for one in ALL)
    assert providers.keys() == {
        "anthropic", "azure", "bedrock", "gemini", "lmstudio", "ollama", "openai", "openai_compatible", "vertex",
    }  # fmt: skip


def test_every_deviation_is_of_a_recording():
    """The table has no rows of the past."""
    assert DEVIATIONS.keys() <= {one.id for one in ALL}
    assert all(reason for reason, _ in DEVIATIONS.values())
    assert json.dumps(sorted(DEVIATIONS)) == json.dumps(list(DEVIATIONS))
