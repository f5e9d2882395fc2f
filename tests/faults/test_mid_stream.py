"""G13: a stream that breaks after its first output, in four ways under four policies, and nobody is told a lie."""

import asyncio

import pytest

from core.llm.providers.base.response import StreamFinish, StreamStart
from core.llm.testing.fault_dialects import OPENAI
from core.llm.testing.wire_steps import answer
from tests.faults.broken_streams import BEGUN, BREAKS, CODES, LIMITS, OTHER, REST, TEXT, broken, broken_streams, whole
from tests.faults.rig import SOON

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize("how", BREAKS)
async def test_G13_error_ends_with_what_was_delivered(how):
    """The default: a typed error, exactly the delivered text, and nobody else is asked."""
    async with broken_streams("error", limits=LIMITS.get(how)) as streams:
        streams.faulty.will(broken(OPENAI, how))
        seen = await streams.read()
        assert seen.error.code == CODES[how]
        assert seen.all_text == seen.partial
        assert TEXT.startswith(seen.partial)
        assert seen.partial.startswith(BEGUN)
        assert not seen.resets
        assert (len(streams.faulty.requests), len(streams.spare.requests)) == (1, 0)


@pytest.mark.parametrize("how", BREAKS)
async def test_G13_restart_says_so_and_begins_again_elsewhere(how):
    """One reset, then the whole answer of the spare: what is shown at the end is the answer."""
    async with broken_streams("restart", limits=LIMITS.get(how)) as streams:
        streams.faulty.will(broken(OPENAI, how))
        streams.spare.will(whole(OPENAI, OTHER))
        seen = await streams.read()
        assert seen.error is None
        (reset,) = seen.resets
        assert (reset.reason, reset.target, reset.text) == (CODES[how], ("spare", "m"), "")
        assert seen.shown == seen.response.content == OTHER
        assert seen.all_text.startswith(BEGUN)
        assert seen.response.provider == "spare"
        kinds = [type(event) for event in seen.events]
        assert kinds[0] is StreamStart
        assert kinds[kinds.index(type(reset)) + 1] is StreamStart
        assert kinds.count(StreamFinish) == 1
        assert streams.recoveries == ["restart"]


@pytest.mark.parametrize("how", BREAKS)
async def test_G13_continue_goes_on_where_it_broke(how):
    """The spare is handed the beginning as its own words and adds the rest: no character twice, none lost."""
    async with broken_streams("continue", prefill=True, limits=LIMITS.get(how)) as streams:
        streams.faulty.will(broken(OPENAI, how))

        streams.spare.otherwise(whole(OPENAI, " " + REST))
        seen = await streams.read()
        begun = streams.sent(streams.spare)["messages"][-1]
        assert begun["role"] == "assistant"
        assert TEXT.startswith(begun["content"])
        assert begun["content"] == begun["content"].rstrip()
        assert not seen.resets
        assert seen.shown == seen.response.content == f"{begun['content']} {REST}"
        if how != "slow":
            assert seen.response.content == TEXT
        assert len(seen.response.parts) == 1
        assert [type(event) for event in seen.events].count(StreamStart) == 1
        assert seen.response.provider == "spare"
        assert streams.recoveries == ["continue"]


@pytest.mark.parametrize("how", BREAKS)
async def test_G13_buffer_hides_an_early_break(how):
    """Nothing had been seen, so it is a failed attempt like any other: the caller sees the spare's answer only."""
    async with broken_streams({"policy": "buffer", "buffer_tokens": 200}, limits=LIMITS.get(how)) as streams:
        streams.faulty.otherwise(broken(OPENAI, how))
        streams.spare.will(whole(OPENAI, OTHER))
        seen = await streams.read()
        assert seen.error is None
        assert not seen.resets
        assert seen.all_text == seen.response.content == OTHER
        first = seen.trace.attempts[0]
        assert (first.decision, first.billing) in {("next_candidate", "estimated"), ("retry", "estimated")}
        assert first.time_to_first_token is not None


async def test_G13_after_the_buffer_a_break_is_an_error():
    """Nine words, four held back: the sixth is gone for good."""
    async with broken_streams({"policy": "buffer", "buffer_tokens": 4}) as streams:
        streams.faulty.will(broken(OPENAI, "cut", words=6))
        seen = await streams.read()
        assert seen.error.code == "body_cut"
        assert seen.all_text == seen.partial == "The quick brown fox jumps over "
        assert len(streams.spare.requests) == 0


async def test_G13_the_time_to_the_first_token_is_what_the_caller_waited():
    """Held back until the buffer is full; the attempt says when the model began."""
    async with broken_streams({"policy": "buffer", "buffer_tokens": 200}) as streams:
        streams.faulty.will(whole(OPENAI, TEXT, gap=0.02))
        seen = await streams.read()
        assert seen.response.content == TEXT
        (attempt,) = seen.trace.attempts
        assert attempt.time_to_first_token < seen.response.time_to_first_token - 0.1


@pytest.mark.parametrize("dialect", ["anthropic", "gemini", "ollama", "bedrock", "openai_responses"])
@pytest.mark.parametrize("policy", ["error", "restart", "continue", "buffer"])
async def test_G13_in_every_dialect(dialect, policy):
    """The same, whatever the broken upstream speaks."""
    async with broken_streams(policy, dialect=dialect, prefill=True) as streams:
        streams.faulty.otherwise(broken(streams.dialect, "cut"))
        text = " " + REST if policy == "continue" else OTHER
        streams.spare.otherwise(whole(OPENAI, text))
        seen = await streams.read(max_tokens=100)
        if policy == "error":
            assert seen.partial == seen.all_text == BEGUN
        else:
            assert seen.shown == seen.response.content == (TEXT if policy == "continue" else OTHER)
            assert len(seen.resets) == (policy == "restart")


async def test_G13_a_restart_that_finds_nobody_leaves_what_was_delivered():
    """No reset is shown for an answer that never comes: the error is that of the break."""
    async with broken_streams("restart") as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        streams.faulty.otherwise(answer('{"error": {"message": "down"}}', 500))
        streams.spare.otherwise(answer('{"error": {"message": "down"}}', 500))
        seen = await streams.read()
        assert seen.error.code == "body_cut"
        assert seen.partial == seen.all_text == BEGUN
        assert not seen.resets
        assert "no candidate was left" in seen.trace.describe()


async def test_G13_the_same_model_comes_last():
    """With nobody else, the one that broke is asked once more, out of its retry budget."""
    async with broken_streams("restart", fallback=()) as streams:
        streams.faulty.will(broken(OPENAI, "cut"), whole(OPENAI, OTHER))
        seen = await streams.read()
        assert seen.shown == seen.response.content == OTHER
        assert [attempt.role for attempt in seen.trace.attempts] == ["first", "retry"]


async def test_G13_recoveries_are_bounded():
    """A second break ends the call where one recovery is allowed, with what was delivered since the reset."""
    async with broken_streams("restart") as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        streams.spare.will(broken(OPENAI, "cut", words=3))
        seen = await streams.read()
        assert seen.error.code == "body_cut"
        assert seen.partial == seen.shown == "The quick brown "
        assert len(seen.resets) == 1
        assert "max_recoveries (1) is used up" in seen.trace.describe()


async def test_G13_attempts_are_bounded():
    """`retry.max_attempts` holds for recoveries as well."""
    async with broken_streams("restart", retry={"max_attempts": 1, "max_retries": 0}) as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        seen = await streams.read()
        assert seen.error.code == "body_cut"
        assert len(streams.spare.requests) == 0


async def test_G13_the_deadline_is_not_recovered_from():
    """The call's own time is over: nobody else is asked."""
    async with broken_streams("restart") as streams:
        streams.faulty.will(broken(OPENAI, "slow"))
        seen = await streams.read(timeout=0.15)
        assert seen.error.code == "deadline_exceeded"
        assert len(streams.spare.requests) == 0


async def test_G13_what_was_lost_is_paid_for():
    """The response holds both attempts' tokens and money, marked as estimated, and says why."""
    async with broken_streams("restart") as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        streams.spare.will(whole(OPENAI, OTHER))
        seen = await streams.read()
        first, second = seen.trace.attempts
        assert (first.billing, second.billing) == ("estimated", "settled")
        assert (first.decision, second.decision) == ("next_candidate", "answered")
        alone = 7 * 1 + 4 * 10
        assert seen.response.usage.estimated
        assert seen.response.usage.output > 4
        assert seen.response.cost.estimated
        assert seen.response.cost.amount * 1_000_000 > alone
        assert any("begun again by spare/m" in warning.message for warning in seen.response.warnings)


async def test_G13_two_breaks_two_recoveries():
    """Each is told, each is paid for, and the text is that of the last."""
    async with broken_streams({"policy": "restart", "max_recoveries": 2}) as streams:
        streams.faulty.will(broken(OPENAI, "cut"), whole(OPENAI, TEXT))
        streams.spare.will(broken(OPENAI, "cut"))
        streams.spare.otherwise(whole(OPENAI, OTHER))
        seen = await streams.read()
        assert len(seen.resets) == 2
        assert seen.shown == seen.response.content


async def test_G13_nobody_asked_for_a_whole_answer_is_bothered():
    """Answers that are not streamed pass by the policy."""
    async with broken_streams("restart") as streams:
        streams.faulty.will(answer(OPENAI.whole(TEXT, "m")))
        assert (await streams.llm.generate("hi", model="route")).content == TEXT


async def test_G13_a_consumer_that_leaves_after_a_restart_closes_the_right_connection():
    """The upstream that runs now hears of it; the broken one is gone already."""
    async with broken_streams("restart") as streams:
        streams.faulty.will(broken(OPENAI, "cut"))
        streams.spare.will(broken(OPENAI, "stall"))
        async with streams.llm.stream("hi", model="route") as events:
            async for event in events:
                if type(event).__name__ == "StreamReset":
                    break
        await asyncio.wait_for(streams.spare.connections[0].ended.wait(), SOON)
