"""Personal data: masked on the way out, restored on the way back."""

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.guardrail import ALLOW, GuardedRequest, Replace
from core.llm.common.messages import Message, TextPart, ToolCall, ToolResultPart
from core.llm.pipeline.pii_masking import PiiMasking
from core.llm.providers.base.response import ToolCallDelta, ToolCallReady
from tests.unit.pipeline.guarding import NoWord, behind, shown, texts
from tests.unit.pipeline.support import a_call, answered

EMAIL = "ada.lovelace+x@mail.example.org"
IBAN = "DE89 3704 0044 0532 0130 00"
CARD = "4111 1111 1111 1111"
PHONE = "+49 30 1234567"


def masked(*texts: str, **options: Any) -> tuple[str, dict[str, str]]:
    """What becomes of *texts*, joined, and the values behind the placeholders."""
    verdict = PiiMasking(**options).check_input(
        GuardedRequest(tuple(Message("user", text) for text in texts), "generate")
    )
    if verdict is ALLOW:
        return "|".join(texts), {}
    assert isinstance(verdict, Replace)
    return "|".join(message.text for message in verdict.messages), dict(verdict.restore)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"mail {EMAIL}.", "mail [EMAIL_1]."),
        (f"<{EMAIL}>, {EMAIL} and b@c.de", "<[EMAIL_1]>, [EMAIL_1] and [EMAIL_2]"),
        (f"pay to {IBAN} BIC COBADEFF", "pay to [IBAN_1] BIC COBADEFF"),
        ("pay to GB29NWBK60161331926819", "pay to [IBAN_1]"),
        (f"card {CARD} 12/27", "card [CARD_1] 12/27"),
        ("card 4111-1111-1111-1111", "card [CARD_1]"),
        ("card 378282246310005.", "card [CARD_1]."),
        (f"call {PHONE} or (030) 123-4567", "call [PHONE_1] or [PHONE_2]"),
        ("call 0301234567", "call [PHONE_1]"),
        # What only looks like it stays.
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("DE00 3704 0044 0532 0130 00", "DE00 3704 0044 0532 0130 00"),
        ("on 2026-11-20, 3.14159265 of 12345678", "on 2026-11-20, 3.14159265 of 12345678"),
        ("id 550e8400-e29b-41d4-a716-446655440000 @here", "id 550e8400-e29b-41d4-a716-446655440000 @here"),
        ("a@b", "a@b"),
    ],
)
def test_what_is_masked_and_what_is_not(text: str, expected: str) -> None:
    """Numbers count where their check digits do."""
    assert masked(text, kinds=_kinds_of(text))[0] == expected


def _kinds_of(text: str) -> tuple[Any, ...]:
    # A card number with a wrong digit is still written like a phone number.
    return ("email", "iban", "card") if "1112" in text or "DE00" in text else ("email", "iban", "card", "phone")


def test_a_value_keeps_its_placeholder_as_the_conversation_grows() -> None:
    """The prefix of a prompt stays the same from turn to turn, and so does what the model has read."""
    first, _ = masked(f"I am {EMAIL}")
    second, _ = masked(f"I am {EMAIL}", "you are [EMAIL_2]?", f"yes, {EMAIL}; not b@c.de")
    assert second.startswith(first)
    assert second.endswith("yes, [EMAIL_1]; not [EMAIL_3]"), "a placeholder that the user wrote is not given out"


def test_only_the_kinds_that_were_asked_for_are_masked() -> None:
    """An unknown kind is refused."""
    assert masked(f"{EMAIL} {PHONE}", kinds=["phone"])[0] == f"{EMAIL} [PHONE_1]"
    with pytest.raises(ValueError, match="nothing is known about 'passport'"):
        PiiMasking(["passport"])  # type: ignore[list-item]  # the mistake in question


async def test_history_and_tool_results_are_masked_too() -> None:
    """Every text of the conversation, whoever said it."""
    handler, provider = behind(PiiMasking())
    call = ToolCall("1", "find", {"who": EMAIL, "n": [1, EMAIL]}, raw_arguments=f'{{"who": "{EMAIL}"}}')
    messages = [
        Message("system", f"You serve {EMAIL}"),
        Message("user", (TextPart(f"ask {EMAIL}"),)),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", (ToolResultPart("1", f"found {EMAIL}"),)),
    ]
    await answered(handler, a_call(messages=messages))
    assert EMAIL not in repr(provider.requests[0].messages)
    assert "[EMAIL_1]" in repr(provider.requests[0].messages[2])


async def test_the_caller_reads_the_values() -> None:
    """In text and in the arguments of tools, which are read as JSON."""
    handler, provider = behind(PiiMasking())
    provider.will_answer("I wrote to [EMAIL_1]", tool_calls=[ToolCall("1", "send", {"to": ["[EMAIL_1]"]})])
    response = await answered(handler, a_call(messages=f"write to {EMAIL}"))
    assert response.content == f"I wrote to {EMAIL}"
    assert response.tool_calls[0].arguments == {"to": [EMAIL]}
    assert "[EMAIL_1]" in provider.requests[0].messages[0].text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=12))
async def test_g32_values_come_back_at_any_split(places: list[int]) -> None:
    """A placeholder that arrives in pieces is restored, and what only looks like the beginning of one is kept."""
    said = "Dear [EMAIL_1], [EMAIL or [CARD_1]: see [IBAN_1][PHONE_1]. [EM"
    edges = [0, *sorted(place % (len(said) + 1) for place in places), len(said)]
    handler, provider = behind(PiiMasking())
    provider.will_stream(*(said[a:b] for a, b in pairwise(edges)))
    events, error = await shown(handler, a_call("stream", messages=f"{EMAIL} {CARD}, {IBAN}; {PHONE}"))
    assert error is None
    assert texts(events) == f"Dear {EMAIL}, [EMAIL or {CARD}: see {IBAN}{PHONE}. [EM"


async def test_tool_calls_are_restored_in_streams() -> None:
    """Both in their pieces and as a whole."""
    handler, provider = behind(PiiMasking())
    call = ToolCall("1", "send", {"to": "[EMAIL_1]"})
    provider.will_stream(
        ToolCallDelta(0, "1", "send", '{"to": "[EM'), ToolCallDelta(0, arguments='AIL_1]"}'), ToolCallReady(0, call)
    )
    events, _ = await shown(handler, a_call("stream", messages=EMAIL))
    pieces = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    ready = next(event for event in events if isinstance(event, ToolCallReady))
    assert pieces == f'{{"to": "{EMAIL}"}}'
    assert ready.call.arguments == {"to": EMAIL}


async def test_a_guardrail_inside_sees_what_the_model_said_one_outside_what_the_caller_reads() -> None:
    """The order of the list decides."""
    inside, outside = NoWord("zebra", window=200), NoWord("zebra", window=200)
    handler, provider = behind(outside, PiiMasking(), inside)
    provider.will_answer("to [EMAIL_1]")
    await answered(handler, a_call(messages=EMAIL))
    assert inside.seen == ["to [EMAIL_1]"]
    assert outside.seen == [f"to {EMAIL}"]
    assert inside.requests[0].messages[0].text == "[EMAIL_1]"


@pytest.mark.parametrize(
    "text",
    ["1" * 60_000, "1 " * 30_000, "1-(" * 20_000, "a" * 60_000, "a.b@" * 15_000, "A1" * 30_000, "12345x" * 10_000],
)
def test_s66_no_text_makes_it_slow(text: str) -> None:
    """The patterns look at hostile text in time that grows with its length only."""
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 5.0
