"""Every two features of an alias on one call: the answer is right, the accounts agree, and nothing is left."""

from itertools import count
from typing import Final

import pytest

from core.llm.common.events import CallFinished
from core.llm.common.exceptions import LLMError
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse
from core.llm.testing import EventRecorder, FakeClock
from tests.composition.everything import (
    FAULTS,
    MODES,
    TOOLS,
    WORDS,
    accounts,
    arrange,
    ask,
    at_rest,
    begin_anew,
    left_behind,
    pairs,
    world,
)
from tests.unit.llm.support import World

MUST_BE_ANSWERED: Final = {"none", "fails_once", "fails_twice", "slow", "limited"}
_NUMBERS = count(1)


@pytest.mark.leakcheck
@pytest.mark.parametrize("everywhere", [False, True], ids=["alone", "with-cache-guardrails-limits"])
@pytest.mark.parametrize("mode", MODES)
async def test_every_pair_of_features_under_every_fault(mode: str, everywhere: bool) -> None:
    """Each alias meets each fault; a fault in one feature must not show in what the other one does."""
    clock = FakeClock(auto_advance=True)
    aliases = pairs()
    async with world(aliases, clock, everywhere=everywhere) as running:
        recorder = EventRecorder(running.events, CallFinished)
        timers = clock.pending
        wrong = []
        for alias in aliases:
            for fault in FAULTS:
                recorder.clear()
                problems = await _problems(running, mode, fault, alias, masked=everywhere)
                if (ends := len(recorder)) != 1:
                    problems.append(f"the call has ended {ends} times")
                if clock.pending != timers:
                    problems.append("a timer is left")
                wrong += [f"{alias}, {fault}: {problem}" for problem in problems]
        assert wrong == []


async def _problems(running: World, mode: str, fault: str, alias: str, *, masked: bool) -> list[str]:
    begin_anew(running)
    arrange(running, mode, fault)
    number = next(_NUMBERS)
    address = f"a{number}@example.com"
    prompt = f"Write letter {number} to {address}"
    told = running.service.explain(
        prompt, model=alias, stream="stream" in mode, **({"tools": TOOLS} if "tools" in mode else {})
    )
    first = next(one.target for one in told.candidates if one.verdict == "first")
    problems: list[str] = []
    answered: LLMResponse | EmbeddingResponse | None = None
    try:
        answered = await ask(running, mode, alias, prompt)
        trace = answered.trace
        problems += _about_answer(answered, mode, address if masked else "[EMAIL_1]")
    except LLMError as error:
        trace = error.trace
        if fault in MUST_BE_ANSWERED or (fault == "breaks" and not mode.startswith("stream")):
            problems.append(f"failed with {error!r}")
    await at_rest(running)
    assert trace is not None
    disagreements, cost = await accounts(running, trace)
    problems += disagreements + left_behind(running)
    if mode != "embed" and trace.attempts[0].target != first:
        problems.append(f"explain() said {first}, it was {trace.attempts[0].target}")
    if answered is not None and mode != "embed" and (answered.cost is None or answered.cost.amount != cost):
        problems.append(f"the answer cost {answered.cost}, its rows {cost}")
    return problems


def _about_answer(answered: LLMResponse | EmbeddingResponse, mode: str, address: str) -> list[str]:
    if isinstance(answered, EmbeddingResponse):
        return [] if len(answered.vectors) == 2 else [f"{len(answered.vectors)} vectors for two texts"]
    if "object" in mode:
        return [] if getattr(answered.object, "word", None) == "blue" else [f"the object is {answered.object!r}"]
    if "tools" in mode:
        return [] if [one.name for one in answered.tool_calls] == ["look"] else [f"called {answered.tool_calls}"]
    said = "".join(WORDS).replace("[EMAIL_1]", address)
    # Who takes a text up says the whole of it in these scripts.
    return [] if answered.content in (said, "".join(WORDS[:3]) + said) else [f"said {answered.content!r}"]
