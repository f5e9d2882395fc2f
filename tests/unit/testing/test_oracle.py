"""The oracle sees what is wrong: a healthy run passes, and each lie is found."""

import pytest

from core.container import Container
from core.llm import EventBus, LLMService, ProviderModule
from core.llm.common.messages import TextPart
from core.llm.common.trace import AttemptTrace, CallTrace
from core.llm.common.types import FinishReason, ModelRef
from core.llm.providers.base.response import LLMResponse
from core.llm.testing import EventRecorder, FakeClock, FaultInjector, FaultPlan, Rule, WireServer
from core.llm.testing.call_log import CallLog, CallRecord
from core.llm.testing.fault_dialects import WIRE_DIALECTS, usage_of
from core.llm.testing.fault_plan import refuse, reset, stall
from core.llm.testing.oracle import Bounds, InvariantBroken, Oracle


async def test_a_healthy_run_with_faults_passes_and_its_story_can_be_told() -> None:
    """Retries, a fallback and a stream that its reader leaves: all three accounts agree."""
    faults = FaultInjector(FaultPlan(Rule(reset(), ordinals=[1]), Rule(stall(after=2), ordinals=[4]), seed=5))
    async with WireServer() as first, WireServer() as second:
        faults.attach(first, WIRE_DIALECTS["openai"], name="first")
        faults.attach(second, WIRE_DIALECTS["ollama"], name="second", plan=FaultPlan())
        config = {
            "models": {"any": {"use": "first/m", "fallback": ["second/m"]}},
            "default_model": "any",
            "providers": {
                "first": {**WIRE_DIALECTS["openai"].provider, "base_url": first.url},
                "second": {**WIRE_DIALECTS["ollama"].provider, "base_url": second.url},
            },
            "retry": {"initial_delay": "1ms"},
            "health_check": {"enabled": False},
        }
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            calls, recorder = CallLog(container.get(LLMService)), EventRecorder(container.get(EventBus))
            await calls.generate(timeout=5)
            await calls.stream(timeout=5)
            left = await calls.stream(leave_after=2)
            oracle = Oracle(faults, calls, recorder)
            await oracle.verify()
    assert left.left
    assert [entry.call for entry in faults.timeline] == [1, 1, 2, 3]
    report = oracle.report(["I2 [call 1] an example"])
    assert "seed 5" in report
    assert "[call 1] first #1 call m: reset" in report
    assert "attempt 1" in report


class Forged:
    """The logs of one good call, to be falsified."""

    def __init__(self) -> None:
        self.faults = FaultInjector(FaultPlan(), clock=FakeClock())
        self.log = CallLog(None, clock=FakeClock())  # type: ignore[arg-type]  # no call is made
        self.entry = self.faults.next("up", "m", text="one two three", prompt="[call 1]")
        self.attempt = AttemptTrace(1, ModelRef("up", "m"), 0.0, decision="answered")
        self.trace = CallTrace("c1", 1, "", attempts=[self.attempt])
        response = LLMResponse((TextPart("one two three"),), FinishReason("stop", "stop"), trace=self.trace)
        response.usage = usage_of("one two three")
        now = self.faults.timeline[0].at
        self.call = CallRecord(
            1, True, now, now + 5, now + 1, "one two three", first_output=now + 0.5, response=response
        )
        self.log.calls.append(self.call)

    def failed(self, count: int, **fields) -> None:
        """Further attempts that failed, in both accounts."""
        for _ in range(count):
            entry = self.faults.next("up", "m", text="one two three", prompt="[call 1]")
            entry.fault = refuse(500, **fields)
            self.faults.timeline.insert(0, self.faults.timeline.pop())
            self.trace.attempts.insert(0, AttemptTrace(1, ModelRef("up", "m"), 0.0, status_code=500, error_type="x"))


def never_ends(forged: Forged) -> None:
    forged.call.ended = None


def ends_late(forged: Forged) -> None:
    forged.call.ended = forged.call.deadline + 1.5


def ends_twice(forged: Forged) -> None:
    forged.call.left = True


def wrong_text(forged: Forged) -> None:
    forged.call.text = "one three"


def truncated(forged: Forged) -> None:
    forged.call.text = "one two"


def not_answered(forged: Forged) -> None:
    forged.entry.fault = reset(after=3)


def unaccounted(forged: Forged) -> None:
    forged.trace.attempts.clear()


def invented(forged: Forged) -> None:
    forged.trace.attempts.append(AttemptTrace(2, ModelRef("up", "m"), 0.0, status_code=500, error_type="x"))


def nobodys(forged: Forged) -> None:
    forged.faults.next("up", "m", prompt="[call 99]")


def wrong_usage(forged: Forged) -> None:
    forged.call.response.usage = usage_of("one")


def too_many(forged: Forged) -> None:
    forged.failed(4)


def too_early(forged: Forged) -> None:
    forged.failed(1, retry_after=2)


def after_output(forged: Forged) -> None:
    forged.entry.at = forged.call.first_output + 1


def after_deadline(forged: Forged) -> None:
    forged.entry.at = forged.call.deadline + 0.5


@pytest.mark.parametrize(
    ("lie", "invariant"),
    [
        (never_ends, "I1"), (ends_late, "I1"), (ends_twice, "I1"), (wrong_text, "I2"), (truncated, "I2"),
        (not_answered, "I2"), (unaccounted, "I3"), (invented, "I3"), (nobodys, "I3"), (wrong_usage, "I4"),
        (too_many, "I5"), (too_early, "I5"), (after_output, "I5"), (after_deadline, "I5"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
async def test_each_lie_is_found(lie, invariant: str) -> None:
    """Without the lie there is no complaint; with it the right invariant is named, and the seed is told."""
    forged = Forged()
    oracle = Oracle(forged.faults, forged.log)
    assert list(oracle.broken()) == []
    lie(forged)
    assert any(complaint.startswith(invariant) for complaint in oracle.broken()), list(oracle.broken())
    with pytest.raises(InvariantBroken, match="seed 0"):
        await oracle.verify()


def test_what_is_left_behind_and_what_has_leaked_is_told() -> None:
    forged = Forged()
    oracle = Oracle(forged.faults, forged.log, left_behind=lambda: ["tasks: x"], leaks=lambda: ["a log line (plain)"])
    assert [complaint.split()[0] for complaint in oracle.broken()] == ["I6", "I7"]


def test_bounds_are_those_of_the_configuration() -> None:
    forged = Forged()
    forged.failed(4)
    assert list(Oracle(forged.faults, forged.log, bounds=Bounds(per_provider=5)).broken()) == []
