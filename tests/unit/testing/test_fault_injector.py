"""Faults by plan: what is drawn, what is sent in each dialect, and the same without a network."""

import pytest

from core.container import Container
from core.llm import LLMError, LLMService, ProviderModule
from core.llm.testing import SCRIPTED, FakeClock, FaultInjector, FaultPlan, Rule, ScriptedProvider, WireServer
from core.llm.testing.fault_dialects import WIRE_DIALECTS, usage_of
from core.llm.testing.fault_plan import (
    Asked,
    cut,
    garbled,
    page,
    refuse,
    reset,
    silence,
    slow,
    stall,
    unfinished,
)
from core.llm.testing.services import provider_services
from tests.unit.testing.requests import chat

FAULTS = {
    "refuse": (refuse(503), "overloaded"),
    "limited": (refuse(429, retry_after=0.01), "rate_limit"),
    "reset": (reset(), "network_error"),
    "page": (page(), "protocol"),
    "cut": (cut(after=2), "network_error"),
    "reset after": (reset(after=2), "network_error"),
    "garbled": (garbled(after=2), "protocol"),
    "unfinished": (unfinished(after=2), "protocol"),
    "silence": (silence(), "timeout"),
    "stall": (stall(after=2), "timeout"),
}


def config_of(dialect: str, url: str, *, hurried: bool) -> dict:
    """Limits that a fault reaches soon; where it shows without them, such that a busy machine does not."""
    patience = 0.2 if hurried else 20
    provider = {
        **WIRE_DIALECTS[dialect].provider,
        "base_url": url,
        "models": {"m": {"context_window": 9000, "max_output_tokens": 100}},
        "timeouts": {"first_token": patience, "idle": patience, "total": 1.5 * patience},
    }
    return {
        "default_model": "p/m",
        "providers": {"p": provider},
        "retry": {"max_retries": 0},
        "health_check": {"enabled": False},
    }


async def outcome(llm: LLMService, *, stream: bool) -> tuple[str, LLMError | None, object]:
    text, response = "", None
    try:
        if stream:
            async with llm.stream("hi [call 3]") as events:
                async for event in events:
                    text += event.text
                response = await events.response()
        else:
            response = await llm.generate("hi [call 3]")
            text = response.content
    except LLMError as error:
        return text, error, None
    return text, None, response


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("dialect", WIRE_DIALECTS)
async def test_every_dialect_is_answered_and_fails_as_planned(dialect: str, stream: bool) -> None:
    """A request without a fault is answered whole, with the tokens that the truth counts; each fault is an error."""
    async with WireServer() as server:
        for name, (fault, kind) in {"none": (None, None), **FAULTS}.items():
            for _ in range(5):
                # A service of its own for each: what one failure teaches about a provider must not touch the next.
                config = config_of(dialect, server.url, hurried=kind == "timeout")
                module = ProviderModule({"llm_service": config}, watch=False, env={})
                async with Container([module]) as container:
                    faults = FaultInjector(FaultPlan(Rule(fault)) if fault else None)
                    faults.attach(server, WIRE_DIALECTS[dialect], name=dialect)
                    text, error, response = await outcome(container.get(LLMService), stream=stream)
                if faults.timeline:
                    break  # else the machine stood still until the hurried call was over
            (entry,) = faults.timeline
            assert (entry.upstream, entry.model, entry.stream, entry.call) == (dialect, "m", stream, 3), name
            assert entry.answered == (fault is None)
            assert entry.text.startswith(text)
            if fault is None:
                assert (text, response.usage) == (entry.text, usage_of(entry.text))
                continue
            assert error is not None, name
            # Where a body breaks off, what had come decides how that looks.
            alike = {"protocol", "network_error"} if kind in {"protocol", "network_error"} else {kind}
            assert error.type in alike, name


def test_a_plan_draws_the_same_for_the_same_seed_whatever_was_drawn_before() -> None:
    """A request's fate depends on the seed and its number only."""
    plan = FaultPlan.random(7, rate=0.4)
    forwards = [plan.decide(Asked(number)) for number in range(1, 200)]
    backwards = [plan.decide(Asked(number)) for number in range(199, 0, -1)]
    assert forwards == backwards[::-1]
    assert 40 < sum(fault is not None for fault in forwards) < 120
    assert forwards != [FaultPlan.random(8, rate=0.4).decide(Asked(number)) for number in range(1, 200)]


def test_every_condition_of_a_rule_must_hold_and_the_first_rule_wins() -> None:
    fault, other = refuse(500), reset()
    plan = FaultPlan(
        Rule(fault, ordinals=[2], model="m", stream=True, key="sk-a", between=(1.0, 2.0)), Rule(other, every=2)
    )
    good = {"ordinal": 2, "model": "m", "stream": True, "key": "sk-a", "elapsed": 1.5}
    assert plan.decide(Asked(**good)) == fault
    for name, value in {"model": "n", "stream": False, "key": "sk-b", "elapsed": 2.0}.items():
        assert plan.decide(Asked(**{**good, name: value})) == other
    assert plan.decide(Asked(**{**good, "ordinal": 3})) is None


def test_a_report_shows_seed_plan_and_requests_but_no_key() -> None:
    faults = FaultInjector(FaultPlan(Rule(refuse(503), key="sk-secret-1234"), seed=11), clock=FakeClock())
    faults.next("up", "m", key="Bearer sk-secret-1234", prompt="hello [call 9]")
    faults.next("up", "m", key="sk-other")
    report = faults.report()
    assert "seed 11" in report
    assert "status 503" in report
    assert "[call 9] up #1" in report
    assert "secret" not in report + repr(faults.timeline) + repr(faults.plan)
    assert faults.timeline[0].key_id != faults.timeline[1].key_id


@pytest.mark.parametrize("name", FAULTS)
async def test_the_same_faults_befall_any_provider_without_a_network(name: str) -> None:
    """What was said before is delivered; the error is of the same type as over the wire."""
    clock = FakeClock(auto_advance=True)
    inner = ScriptedProvider(services=provider_services("s", clock=clock), name="s")
    fault, kind = FAULTS[name]
    faults = FaultInjector(FaultPlan(Rule(fault)), clock=clock)
    provider = faults.wrap(inner)
    inner.will_stream("one ", "two ", "three", usage=None)
    got, error = [], None
    try:
        async for event in provider.stream_generate(chat()):
            got.append(event.text)
    except LLMError as raised:
        error = raised
    expected = "one two " if "after" in fault.name else ""
    assert "".join(got) == faults.timeline[0].text == expected
    assert error.type == kind if name != "refuse" else error.type in {"overloaded", "server_error"}
    assert inner.script.active == 0
    with pytest.raises(LLMError):
        await provider.generate(chat())


async def test_a_delay_delivers_everything() -> None:
    clock = FakeClock(auto_advance=True)
    inner = ScriptedProvider(services=provider_services("s", clock=clock), name="s")
    provider = FaultInjector(FaultPlan(Rule(slow(3, after=9))), clock=clock).wrap(inner)
    inner.will_stream("one ", "two")
    events = [event async for event in provider.stream_generate(chat())]
    assert [type(event).__name__ for event in events][-2:] == ["UsageReport", "StreamFinish"]
    assert clock.elapsed() == 3
    assert (await provider.generate(chat())).content
    assert (await provider.count_tokens(chat())) > 0


async def test_a_container_can_be_given_providers_that_fail() -> None:
    """One line in a host's test: its own configuration, with faults around a kind of provider."""
    faults = FaultInjector(FaultPlan(Rule(refuse(503), ordinals=[1])))
    config = {
        "llm_service": {
            "default_model": "s/m",
            "providers": {"s": {"type": "scripted"}},
            "retry": {"initial_delay": "1ms"},
        }
    }
    container = Container([ProviderModule(config, watch=False, env={}, plugins=[faults.around(SCRIPTED)])])
    async with container:
        llm = container.get(LLMService)
        response = await llm.generate("hello")
        assert (await llm.embed(["x"])).vectors
    assert response.content == "hello"
    assert [entry.answered for entry in faults.timeline] == [False, True, True]
    assert [attempt.decision for attempt in response.trace.attempts] == ["retry", "answered"]
