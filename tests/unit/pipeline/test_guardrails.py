"""Guardrails: what they stop in requests and answers, streamed or not."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.decisions import GuardrailBlocked
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ProviderError
from core.llm.common.guardrail import (
    Allow,
    Block,
    GuardedRequest,
    Guardrail,
    InputVerdict,
    OutputVerdict,
    Replace,
)
from core.llm.common.messages import Message, ToolCall
from core.llm.common.types import ModelRef, Usage
from core.llm.pipeline.guardrails import guardrails
from core.llm.pipeline.handler import Call, Reply, compose
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamFinish,
    StreamReset,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from core.llm.testing import EventRecorder
from tests.unit.pipeline.guarding import NoWord, behind, shown, texts
from tests.unit.pipeline.support import Scripted, a_call, answered

PHRASE = "blocked phrase"


async def stopped(handler: Any, call: Call) -> ProviderError:
    """The error that a call ends with."""
    with pytest.raises(ProviderError) as caught:
        await answered(handler, call)
    return caught.value


def test_without_guardrails_there_is_no_layer() -> None:
    """A guardrail that overrides nothing leaves the handler as it was."""

    class Idle(Guardrail):
        pass

    inner = Scripted()
    assert compose(guardrails([]), inner) is inner
    assert compose(guardrails([Idle()]), inner) is inner


async def test_a_blocked_request_is_not_sent() -> None:
    """The error says who stopped it and why, and quotes nothing; an event goes to whoever keeps the audit."""
    handler, provider = behind(NoWord("secret"))
    events = EventBus()
    with EventRecorder(events) as recorder:
        call = a_call(events=events, messages="the secret plan")
        error = await stopped(handler, call)
    assert (error.type, error.code, error.retryable, error.billing) == ("content_filter", "guardrail", False, "none")
    assert "no_word" in str(error)
    assert "it was asked for" in str(error)
    assert "plan" not in str(error)
    assert provider.requests == []
    assert recorder.of(GuardrailBlocked) == [GuardrailBlocked(call.id, "no_word", "input")]
    assert call.trace.notes == ["guardrail no_word stopped the request"]


@pytest.mark.parametrize("field", ["text", "thinking", "tool_arguments", "tool_name", "refusal"])
async def test_a_blocked_answer_is_not_shown_in_whatever_part_it_stands(field: str) -> None:
    """Text, thinking, refusals, and the arguments of tools, whole and streamed."""
    said = f"well, the {PHRASE} it is"
    steps: dict[str, list[Any]] = {
        "text": [TextDelta(said)],
        "thinking": [ThinkingDelta(said), TextDelta("fine")],
        "tool_arguments": [ToolCallReady(0, ToolCall("1", "find", {"deep": [{"query": said}]}))],
        "tool_name": [ToolCallReady(0, ToolCall("1", PHRASE, {}))],
        "refusal": [RefusalDelta(said)],
    }
    for mode in ("generate", "stream"):
        handler, provider = behind(NoWord(PHRASE))
        provider.will_stream(*steps[field])
        call = a_call("stream" if mode == "stream" else "generate")
        if mode == "generate" and field == "refusal":
            continue  # a scripted provider has no refusal that is not streamed
        if mode == "generate":
            error: ProviderError | None = await stopped(handler, call)
        else:
            events, error = await shown(handler, call)
            assert PHRASE not in texts(events) + repr(events)
        assert error is not None
        assert error.code == "guardrail"
        assert PHRASE not in str(error)


@settings(max_examples=150, deadline=None)
@given(st.data())
async def test_g32_a_blocked_phrase_is_never_shown_at_any_split(data: st.DataObject) -> None:
    """Nothing of it, and nothing behind it, reaches the reader, however the answer is cut."""
    before = data.draw(st.text("abcdehloprs k", max_size=60))
    after = data.draw(st.text("abcdehloprs k", max_size=60))
    answer = before + PHRASE + after
    places = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=12)))
    edges = [0, *places, len(answer)]
    handler, provider = behind(NoWord(PHRASE, window=data.draw(st.integers(len(PHRASE), 50))))
    provider.will_stream(*(answer[a:b] for a, b in pairwise(edges)))
    events, error = await shown(handler, a_call("stream"))
    assert error is not None
    assert error.code == "guardrail"
    assert answer.startswith(texts(events))
    assert len(texts(events)) <= answer.index(PHRASE)
    assert error.partial is not None
    assert error.partial.text == texts(events)
    assert provider.script.active == 0, "the provider was cut"


@settings(max_examples=80, deadline=None)
@given(st.text("abc d", max_size=150), st.lists(st.integers(0, 150), max_size=10), st.integers(1, 40))
async def test_g32_what_is_allowed_arrives_whole(answer: str, places: list[int], window: int) -> None:
    """What was held back is handed out in the end, in its order."""
    edges = [0, *sorted(place % (len(answer) + 1) for place in places), len(answer)]
    handler, provider = behind(NoWord("not in it", window=window))
    provider.will_stream(*(answer[a:b] for a, b in pairwise(edges)))
    events, error = await shown(handler, a_call("stream"))
    assert error is None
    assert texts(events) == answer
    assert isinstance(events[-1], StreamFinish)


async def test_streamed_or_not_the_same_pieces_are_judged() -> None:
    """No answer passes in one form and is stopped in the other."""
    answer = "one two three four five six seven eight nine ten " * 5
    seen = []
    for mode in ("generate", "stream"):
        rail = NoWord("zebra", window=20)
        handler, provider = behind(rail)
        provider.will_stream(*answer.split(" ")) if mode == "stream" else provider.will_answer(answer.replace(" ", ""))
        if mode == "stream":
            await shown(handler, a_call("stream"))
        else:
            await answered(handler, a_call())
        seen.append(rail.seen)
    assert seen[0] == seen[1]


async def test_a_phrase_around_a_tool_call_is_seen() -> None:
    """Text before and behind a tool call is one text in the answer."""
    handler, provider = behind(NoWord(PHRASE))
    call = ToolCall("1", "find", {})
    provider.will_stream(PHRASE[:5], ToolCallDelta(0, "1", "find"), ToolCallReady(0, call), PHRASE[5:])
    events, error = await shown(handler, a_call("stream"))
    assert error is not None
    assert texts(events) == ""


async def test_the_pieces_of_a_tool_call_wait_for_the_whole() -> None:
    """An escape in the JSON does not hide a word from the check."""
    handler, provider = behind(NoWord("bomb"))
    hidden = '{"q": "bo\\u006db"}'
    ready = ToolCallReady(0, ToolCall.from_text("1", "find", hidden))
    provider.will_stream(ToolCallDelta(0, "1", "find", hidden[:9]), ToolCallDelta(0, arguments=hidden[9:]), ready)
    events, error = await shown(handler, a_call("stream"))
    assert error is not None
    assert not [event for event in events if isinstance(event, ToolCallDelta)]


async def test_a_word_in_an_object_is_found_however_json_writes_it() -> None:
    """The strings that come out of the JSON count."""
    handler, provider = behind(NoWord("bomb"))
    provider.will_answer('{"q": "bo\\u006db"}')
    error = await stopped(handler, a_call(response_format="json"))
    assert error.code == "guardrail"


async def test_g32_a_streamed_object_is_read_as_json() -> None:
    """An escape hides nothing there either, wherever the network cuts it."""
    answer = '{"q": "bo\\u006db"}'
    for cut in range(1, len(answer)):
        handler, provider = behind(NoWord("bomb"))
        provider.will_stream(answer[:cut], answer[cut:])
        events, error = await shown(handler, a_call("stream", response_format="json"))
        assert error is not None
        assert answer.startswith(texts(events))
        assert len(texts(events)) <= answer.index("bo")


@pytest.mark.parametrize("mode", ["generate", "stream"])
async def test_a_caller_who_is_cancelled_during_a_check_leaves_nothing_open(mode: Any) -> None:
    """The reply has ended, and the provider is free."""

    class Slow(Guardrail):
        async def check_output(self, text: str) -> OutputVerdict:
            await asyncio.Event().wait()
            return Allow()

    outcomes: list[str] = []

    async def noted(call: Call) -> Reply:
        reply = await inner(call)
        reply.on_end(lambda reply, _: outcomes.append(reply.outcome))
        return reply

    inner, provider = behind()
    provider.will_stream("x" * 500, "y")
    task = asyncio.create_task(shown(compose(guardrails([Slow()]), noted), a_call(mode)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == ["cancelled"]
    assert provider.script.active == 0


async def test_after_a_reset_only_the_new_answer_counts() -> None:
    """What was held back of a broken stream is void."""
    handler, provider = behind(NoWord(PHRASE))
    provider.will_stream(
        PHRASE[:7], StreamReset("broken", ModelRef("b", "m")), PHRASE[7:], UsageReport(Usage(1, output=1))
    )
    events, error = await shown(handler, a_call("stream"))
    assert error is None
    after = events[[isinstance(event, StreamReset) for event in events].index(True) :]
    assert texts(after) == PHRASE[7:]


class Raises(Guardrail):
    """A guardrail with a defect."""

    def check_input(self, request: GuardedRequest) -> InputVerdict:
        raise ValueError(f"cannot read {request.messages[0].text}")

    async def check_output(self, text: str) -> OutputVerdict:
        raise ValueError(text)


class SaysNothing(Guardrail):
    """A guardrail that forgets to return something."""

    def check_output(self, text: str) -> OutputVerdict:
        return None  # type: ignore[return-value]  # the defect in question


@pytest.mark.parametrize("rail", [Raises(), SaysNothing()], ids=["raises", "says-nothing"])
async def test_a_guardrail_that_fails_stops_the_call(rail: Guardrail) -> None:
    """It fails closed, and what it raised does not get into the message."""
    handler, _ = behind(rail)
    error = await stopped(handler, a_call(messages="my words"))
    assert error.code == "guardrail"
    assert "my words" not in str(error)
    assert "ValueError" in str(error) or "TypeError" in str(error)
    assert error.__cause__ is None
    assert "my words" not in str(error.__context__)


async def test_a_guardrail_may_choose_to_be_passed_over_where_it_fails() -> None:
    """`on_error: allow` goes on, and the trace says so."""
    rail = Raises()
    rail.on_error = "allow"
    handler, provider = behind(rail)
    provider.will_answer("fine")
    call = a_call()
    assert (await answered(handler, call)).content == "fine"
    assert call.trace.notes == [
        "guardrail Raises was passed over: the check itself failed with ValueError",
        "guardrail Raises was passed over: the check itself failed with ValueError",
    ]


async def test_the_first_guardrail_is_the_outermost() -> None:
    """Requests pass them in order, answers in the opposite order."""
    log: list[str] = []

    class Noting(Guardrail):
        def __init__(self, name: str) -> None:
            self.name = name

        def check_input(self, request: GuardedRequest) -> InputVerdict:
            log.append(f"{self.name} in")
            return Replace((Message("user", request.messages[0].text + self.name),))

        def check_output(self, text: str) -> OutputVerdict:
            log.append(f"{self.name} out: {text}")
            return Allow()

    handler, provider = behind(Noting("A"), Noting("B"))
    await answered(handler, a_call(messages="x"))
    assert log == ["A in", "B in", "B out: xAB", "A out: xAB"]
    assert provider.requests[0].messages[0].text == "xAB"


async def test_the_texts_of_embeddings_are_checked_and_replaced() -> None:
    """Each text to embed is one message to the guardrail."""

    class Upper(Guardrail):
        def check_input(self, request: GuardedRequest) -> InputVerdict:
            if request.mode != "embed" or any("secret" in one.text for one in request.messages):
                return Block("no")
            return Replace(tuple(Message("user", one.text.upper()) for one in request.messages))

    handler, provider = behind(Upper())
    await handler(a_call("embed", inputs=("a", "b")))
    assert provider.script.embeddings[0].inputs == ("A", "B")
    with pytest.raises(ProviderError, match="guardrail Upper stopped the request"):
        await handler(a_call("embed", inputs=("a", "secret")))


async def test_replacing_one_text_too_few_is_a_failure_of_the_guardrail() -> None:
    """Vectors would come back for the wrong texts."""

    class Loses(Guardrail):
        def check_input(self, request: GuardedRequest) -> InputVerdict:
            return Replace(request.messages[1:])

    handler, provider = behind(Loses())
    with pytest.raises(ProviderError, match="TypeError"):
        await handler(a_call("embed", inputs=("a", "b")))
    assert provider.script.embeddings == []


async def test_a_stopped_answer_has_been_paid_for() -> None:
    """Its reply ends as answered, so that it is counted."""
    ended: list[str] = []

    async def inner(call: Call) -> Reply:
        reply = await Scripted(PHRASE)(call)
        reply.on_end(lambda reply, _: ended.append(reply.outcome))
        return reply

    await stopped(compose(guardrails([NoWord(PHRASE)]), inner), a_call())
    assert ended == ["answered"]


@pytest.mark.parametrize(("field", "value"), [("window", 0), ("on_error", "shrug")])
def test_a_setting_that_makes_no_sense_is_refused_at_once(field: str, value: Any) -> None:
    """Not with the first call."""
    rail = NoWord("x")
    setattr(rail, field, value)
    with pytest.raises(ValueError, match="guardrail no_word"):
        guardrails([rail])
