"""The strict server is as strict as the real one was: what was accepted passes, what was refused does not."""

import pytest

from core.llm.common.types import ModelFacts
from core.llm.testing.anthropic_content import BadRequest
from core.llm.testing.anthropic_rules import check_request
from tests.wire.anthropic.recordings import Recording, recordings
from tests.wire.recorded import params

ALL = [one for one in recordings("messages") if one.request_body and not one.is_cut]
ACCEPTED = [one for one in ALL if one.status == 200 and "output_format" not in one.request_body]
"""`output_format` was the name of a beta, before `output_config.format`."""


@pytest.mark.parametrize("recording", params(ACCEPTED))
def test_requests_that_were_accepted_pass(recording: Recording) -> None:
    """Whoever wrote them."""
    body = {**recording.request_body}
    body.setdefault("model", "claude")
    check_request(body, ModelFacts())


@pytest.mark.parametrize("recording", params(one for one in recordings("count_tokens") if one.status == 200))
def test_counted_requests_pass(recording: Recording) -> None:
    """The endpoint that counts takes fewer fields."""
    if not recording.is_cut:
        check_request(recording.request_body, ModelFacts(), counting=True)


def test_an_empty_message_is_refused_in_the_same_words() -> None:
    """The recorded one."""
    recording = next(one for one in ALL if one.id == "messages.error.5dd42042")
    with pytest.raises(BadRequest) as caught:
        check_request(recording.request_body, ModelFacts())
    assert str(caught.value) == recording.expected["error"]["message"]


def _with(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "model": "claude",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Hi"}],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "4"}
TEXT = {"type": "text", "text": "x"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
USER = {"role": "user", "content": "Hi"}


def turns(*blocks: object) -> list[object]:
    return [USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_with(max_tokens=None), "max_tokens: Field required"),
        (_with(seed=1), "seed: Extra inputs"),
        (_with(messages=[]), "at least one"),
        (_with(messages=[USER, USER]), "alternate"),
        (_with(messages=[{"role": "user", "content": [{"type": "text", "text": " "}]}]), "non-whitespace"),
        (_with(messages=[{"role": "system", "content": "x"}]), "role 'system'"),
        (_with(messages=[{"role": "user", "content": "x", "name": "Bo"}]), "nothing else"),
        (_with(messages=turns(TEXT)), "without `tool_result`"),
        (_with(messages=turns(TEXT, RESULT)), "must come first"),
        (_with(messages=turns(RESULT, {**RESULT, "tool_use_id": "t2"})), "unexpected `tool_use_id`"),
        (_with(messages=[{"role": "user", "content": [RESULT]}]), "unexpected `tool_use_id`"),
        (_with(messages=turns(RESULT)[:2]), "without `tool_result`"),
        (_with(thinking={"type": "enabled", "budget_tokens": 1000}), "greater than or equal to 1024"),
        (_with(thinking={"type": "enabled", "budget_tokens": 2000}), "must be greater than"),
        (_with(thinking={"type": "enabled", "budget_tokens": 1024}, temperature=0.5), "only be set to 1"),
        (_with(thinking={"type": "enabled", "budget_tokens": 1024}, messages=turns(RESULT)), "Expected `thinking`"),
        (_with(thinking={"display": "omitted"}), "Input tag"),
        (_with(temperature=1.5), "range: 0..1"),
        (_with(stop_sequences=["\n"]), "non-whitespace"),
        (_with(tools=[{"name": "a.b", "input_schema": {"type": "object"}}]), "String should match"),
        (_with(tools=[{"name": "f", "input_schema": {}}]), "Input should be 'object'"),
        (_with(tools=[{**TOOL, "strict": True}]), "additionalProperties"),
        (_with(tool_choice={"type": "any"}), "only be specified while providing tools"),
        (_with(tools=[TOOL], tool_choice={"type": "tool", "name": "g"}), "not found"),
        (_with(system=""), ""),
        (_with(messages=[USER, {"role": "assistant", "content": "So "}]), "trailing whitespace"),
    ],
)
def test_what_the_api_refuses_is_refused(body: dict[str, object], words: str) -> None:
    """Each rule of its own."""
    if not words:
        check_request(body, ModelFacts())
        return
    with pytest.raises(BadRequest, match=words.replace("(", r"\(")):
        check_request(body, ModelFacts())
