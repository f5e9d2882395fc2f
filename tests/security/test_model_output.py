"""What a model says is data: S44, S45. Nothing in it is run, imported, fetched or evaluated."""

import json
import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from core.container import Container
from core.llm import LLMService, ProviderModule, StructuredOutputError, ToolDefinition
from core.llm.testing import SCRIPTED
from tests.architecture.rules import unsafe_formats
from tests.architecture.source import sources


class Answer(BaseModel):
    """What is asked for."""

    value: int
    note: str = ""


def module(*answers: object) -> ProviderModule:
    """A model that says *answers*, one after the other."""
    provider = {"type": "scripted", "answers": list(answers), "then": "fail"}
    return ProviderModule(
        {"llm_service": {"default_model": "demo/m", "providers": {"demo": provider}}}, plugins=[SCRIPTED]
    )


async def test_S44_a_tool_call_is_handed_over_and_never_run(tmp_path: Path):
    """Also where the tool has the name of a function that exists here."""
    victim = tmp_path / "victim"
    victim.write_text("still here")
    calls = [
        {"id": "1", "name": "os.remove", "arguments": {"path": str(victim)}},
        {"id": "2", "name": "exec", "arguments": {"code": f"import os; os.remove({str(victim)!r})"}},
    ]
    async with Container([module({"tool_calls": calls})]) as container:
        response = await container.get(LLMService).generate(
            "tidy up", tools=[ToolDefinition("os.remove"), ToolDefinition("exec")]
        )
    assert [call.name for call in response.tool_calls] == ["os.remove", "exec"]
    assert victim.read_text() == "still here"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').environ.__setitem__('CORE_LLM_OWNED', '1')",
        "{'value': __import__('os').environ.setdefault('CORE_LLM_OWNED', '1')}",
        "{'value': 1}",
        "Answer(value=1)",
        "!!python/object/apply:os.putenv [CORE_LLM_OWNED, '1']",
        '{"value": "1; import os"}',
    ],
)
async def test_S45_text_that_is_no_json_is_no_object(text: str):
    """Python, YAML tags and other notations are refused as text; nothing in them happens."""
    async with Container([module(text, text)]) as container:
        with pytest.raises(StructuredOutputError):
            await container.get(LLMService).generate_object("a number", Answer)
    assert "CORE_LLM_OWNED" not in os.environ


async def test_S45_an_object_holds_what_its_class_allows_and_nothing_else():
    text = json.dumps({"value": 3, "note": "__import__('os')", "__class__": "x", "extra": 1})
    async with Container([module(text)]) as container:
        found = (await container.get(LLMService).generate_object("a number", Answer)).object
    assert found == Answer(value=3, note="__import__('os')")
    assert type(found) is Answer


def test_S37_S45_no_line_of_code_evaluates_or_unpickles_text():
    """No `eval`, `exec`, `literal_eval`, `pickle`, `yaml.load` in any source."""
    found = [source.at(line) for source in sources() for line, _ in unsafe_formats(source.tree, source.module)]
    assert found == []
