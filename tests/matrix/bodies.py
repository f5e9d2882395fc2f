"""What a request says about tools, read out of every wire format alike."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ID_RULES = {
    "openai_chat": r"[A-Za-z0-9_.:-]{1,40}",
    "openai_responses": r"[A-Za-z0-9_.:-]{1,64}",
    "azure_openai": r"[A-Za-z0-9_.:-]{1,40}",
    "anthropic": r"[a-zA-Z0-9_-]+",
    "bedrock": r"[a-zA-Z0-9_-]{1,64}",
    "mistral": r"[a-zA-Z0-9]{9}",
}
"""What ids must look like, at the services that say so."""


@dataclass
class ToolTalk:
    """The calls and results of one body, in order."""

    calls: list[tuple[str | None, str]] = field(default_factory=list)
    """Id, and the city that was asked about."""
    results: list[tuple[str | None, str]] = field(default_factory=list)
    """Id, and what the tool returned."""

    def answers(self) -> dict[str, str]:
        """What was returned for each city, by id where there are ids and by order where there are none."""
        if any(identifier is None for identifier, _ in [*self.calls, *self.results]):
            return {city: text for (_, city), (_, text) in zip(self.calls, self.results, strict=True)}
        results = dict(self.results)
        assert len(results) == len(self.results)
        return {city: results[identifier] for identifier, city in self.calls}

    def check_ids(self, place: str) -> None:
        """Fail where an id is nothing that *place* takes."""
        rule = ID_RULES.get(place)
        for identifier, _ in [*self.calls, *self.results] if rule else ():
            assert identifier is not None
            assert re.fullmatch(rule, identifier), f"{identifier!r} is no id for {place}"


def tool_talk(node: Any, talk: ToolTalk | None = None) -> ToolTalk:
    """The calls and results anywhere in *node*."""
    talk = ToolTalk() if talk is None else talk
    if isinstance(node, Mapping):
        _look(node, talk)
        for key, value in node.items():
            if key not in {"tools", "toolConfig"}:
                tool_talk(value, talk)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for item in node:
            tool_talk(item, talk)
    return talk


def _look(node: Any, talk: ToolTalk) -> None:
    match node:
        case {"type": "function_call", "call_id": identifier, "arguments": arguments}:
            talk.calls.append((identifier, _city(arguments)))
        case {"type": "function_call_output", "call_id": identifier, "output": text}:
            talk.results.append((identifier, text))
        case {"type": "tool_use", "id": identifier, "input": arguments}:
            talk.calls.append((identifier, _city(arguments)))
        case {"type": "tool_result", "tool_use_id": identifier, "content": content}:
            talk.results.append((identifier, content if isinstance(content, str) else content[0]["text"]))
        case {"toolUseId": identifier, "input": arguments}:
            talk.calls.append((identifier, _city(arguments)))
        case {"toolUseId": identifier, "content": [{"text": text}]}:
            talk.results.append((identifier, text))
        case {"functionCall": {"args": arguments, **rest}}:
            talk.calls.append((rest.get("id"), _city(arguments)))
        case {"functionResponse": {"response": {"output": text}, **rest}}:
            talk.results.append((rest.get("id"), text))
        case {"function": {"name": _, "arguments": arguments}, **rest}:
            talk.calls.append((rest.get("id"), _city(arguments)))
        case {"role": "tool", "content": text, **rest}:
            talk.results.append((rest.get("tool_call_id"), text))


def _city(arguments: Any) -> str:
    value = json.loads(arguments) if isinstance(arguments, str) else arguments
    city: str = value["city"]
    return city


def opaque(node: Any) -> set[str]:
    """Every signature, encrypted thinking and cache mark in *node*."""
    found: set[str] = set()
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in {"signature", "thoughtSignature", "encrypted_content", "redactedContent"} or (
                key == "data" and node.get("type") == "redacted_thinking"
            ):
                found.add(value)
            else:
                found |= opaque(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for item in node:
            found |= opaque(item)
    return found
