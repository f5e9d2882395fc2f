"""Fallback through the whole service: reasons, attempts, deadlines, breakers, and what `explain` says before."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from core.llm.common.clock import SystemClock
from core.llm.common.exceptions import AllAttemptsFailed, ProviderError
from core.llm.common.types import ModelRef
from core.llm.observability.audit import AuditLog
from core.llm.providers.config.models.service import AuditOptions
from core.llm.testing import FakeClock
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from tests.unit.llm.support import World, serving

FOUR = ("alpha", "beta", "gamma", "delta")


def chain(*names: str, **options: Any) -> dict[str, Any]:
    """An alias over those providers."""
    return {"models": {"a": {"use": [f"{names[0]}/m"], "fallback": [f"{name}/m" for name in names[1:]], **options}}}


def failing(world: World, name: str, kind: Any = "server_error", times: int = 1, **fields: Any) -> None:
    """Let that provider fail so often."""
    for _ in range(times):
        getattr(world, name).will_raise(ProviderError(kind, f"{name} failed", **fields))


async def test_F104_G07_a_chain_of_four_that_all_fail_makes_five_attempts_and_names_them_in_order() -> None:
    """With the configured retries, and within the deadline."""
    async with serving(*FOUR, retries=2, **chain(*FOUR)) as world:
        for name in FOUR:
            failing(world, name, times=3)
        began = time.monotonic()
        with pytest.raises(AllAttemptsFailed) as caught:
            await world.service.generate("hi", model="a", timeout=30)
        assert time.monotonic() - began < 30.2
        assert caught.value.trace is not None
        assert len(caught.value.trace.attempts) <= 5
        order = [attempt.target.provider for attempt in caught.value.trace.attempts]
        assert order == sorted(order, key=FOUR.index)
        assert [str(error).split("/", 1)[0] for error in caught.value.errors] == list(dict.fromkeys(order))


async def test_F92_all_upstreams_open_is_known_at_once_and_ends_without_a_restart() -> None:
    """The error says when the first probe is due, and then calls are answered again."""
    clock = FakeClock(auto_advance=True)
    async with serving("alpha", "beta", clock=clock, **chain("alpha", "beta")) as world:
        for name in ("alpha", "beta"):
            failing(world, name, "network_error", times=6, code="connect")
        for _ in range(6):
            with pytest.raises((AllAttemptsFailed, ProviderError)):
                await world.service.generate("hi", model="a")
        sent = len(world.alpha.requests), len(world.beta.requests)
        before = clock.monotonic()
        with pytest.raises(ProviderError) as caught:
            await world.service.generate("hi", model="a")
        assert clock.monotonic() - before < 0.005
        assert (caught.value.type, caught.value.code) == ("overloaded", "all_open")
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 7
        assert (len(world.alpha.requests), len(world.beta.requests)) == sent
        assert world.service.explain("hi", model="a").first is None
        await clock.advance(caught.value.retry_after + 0.01)
        for script in (world.alpha, world.beta):
            script.will_answer("back")
        answered = False
        for _ in range(10):
            try:
                answered = bool((await world.service.generate("hi", model="a")).content)
            except (AllAttemptsFailed, ProviderError):
                await clock.advance(31.0)
        assert answered


async def test_G04_a_candidate_that_rests_is_skipped_without_an_attempt_and_explained_so() -> None:
    """The trace of the call and the explanation before it say the same."""
    async with serving("alpha", "beta", **chain("alpha", "beta")) as world:
        failing(world, "alpha", "rate_limit", retry_after=60.0)
        await world.service.generate("hi", model="a")
        explained = world.service.explain("hi", model="a")
        assert explained.first == ModelRef("beta", "m")
        assert "the provider asked to wait" in str(explained)
        response = await world.service.generate("hi", model="a")
        assert response.trace is not None
        assert len(response.trace.attempts) == 1
        assert "the provider asked to wait" in response.trace.candidates[0].reason
        assert len(world.alpha.requests) == 1


async def test_F91_a_model_behind_an_alias_with_conditions_is_left_alone_like_any_other() -> None:
    """Conditions are looked at before the configuration goes live; what is learnt later counts all the same."""
    facts = {name: {"models": {"m": {"context_window": 1000}}} for name in ("alpha", "beta")}
    config = chain("alpha", "beta", where={"min_context_window": 10})
    async with serving("alpha", "beta", providers=facts, **config) as world:
        failing(world, "alpha", "overloaded", times=3, scope="model")
        for _ in range(3):
            await world.service.generate("hi", model="a")
        assert world.service.explain("hi", model="a").first == ModelRef("beta", "m")
        response = await world.service.generate("hi", model="a")
        assert response.trace is not None
        assert [attempt.target.provider for attempt in response.trace.attempts] == ["beta"]
        (part,) = world.service.get_provider_status()["alpha"].parts
        assert part.startswith("model m: left alone")


async def test_a_slow_model_gives_way_and_the_status_says_why() -> None:
    """To the next candidate, without a failure; with nobody else it is asked all the same."""
    clock = FakeClock(auto_advance=True)
    slow = {"slow_calls": {"answer": "10s", "calls": 4}}
    async with serving("alpha", "beta", clock=clock, providers={"alpha": slow}, **chain("alpha", "beta")) as world:
        for _ in range(5):
            world.alpha.will_answer("late", delay=11.0)
        for _ in range(4):
            assert (await world.service.generate("hi", model="a")).provider == "alpha"
        assert world.service.explain("hi", model="a").first == ModelRef("beta", "m")
        response = await world.service.generate("hi", model="a")
        assert response.provider == "beta"
        assert response.trace is not None
        assert "it is too slow: 4 of 4 answers took longer than 10 s" in response.trace.candidates[0].reason
        status = world.service.get_provider_status()["alpha"]
        assert (status.state, status.consecutive_failures) == ("degraded", 0)
        assert "4 of 4 answers took longer than 10 s" in status.reason
        assert (await world.service.generate("hi", model="alpha/m")).content == "late"


async def test_F16_F52_reasons_of_an_alias_hold_for_streams_too() -> None:
    """One code path for both."""
    options = {"fallback_on": {"context_length": ["gamma/m"], "content_filter": ["delta/m"]}}
    async with serving(*FOUR, **chain("alpha", "beta", **options)) as world:
        for kind, name in (("context_length", "gamma"), ("content_filter", "delta")):
            failing(world, "alpha", kind, times=2)
            response = await world.service.generate("hi", model="a")
            streamed = await world.service.stream("hi", model="a").response()
            assert (response.provider, streamed.provider) == (name, name)
        assert world.beta.requests == []


async def test_F52_G15_a_refusal_is_not_routed_around_by_default() -> None:
    """Nobody else hears of the prompt."""
    async with serving(*FOUR, **chain(*FOUR)) as world:
        failing(world, "alpha", "content_filter")
        with pytest.raises(ProviderError):
            await world.service.generate("hi", model="a")
        assert not any(getattr(world, name).requests for name in FOUR[1:])


async def test_F105_each_candidate_starts_from_what_was_asked() -> None:
    """Tools, limits and parameters are the same at every hop, whatever one candidate needed."""
    providers = {"alpha": {"models": {"m": {"defaults": {"temperature": 0.1}, "max_output_tokens": 10}}}}
    async with serving("alpha", "beta", providers=providers, **chain("alpha", "beta")) as world:
        failing(world, "alpha")
        await world.service.generate("hi", model="a", max_tokens=50, tools=[{"name": "f"}], seed=3)
        first, second = world.alpha.last_request.params, world.beta.last_request.params
        assert (first.temperature, first.max_tokens) == (0.1, 10)
        assert (second.temperature, second.max_tokens, second.seed) == (None, 50, 3)
        assert second.tools == first.tools


async def test_a_parameter_that_a_model_refuses_leads_to_one_that_takes_it_before_anything_is_sent() -> None:
    """With the policy `error`; `explain` knows it in advance, by the encoder that would write the request."""
    config: dict[str, Any] = {"parameter_policy": "error", "models": {"a": {"use": ["ollama/tiny", "alpha/m"]}}}
    async with OllamaServer(OllamaModelSpec("tiny")) as server:
        server.script(OllamaAnswer("hello"))
        async with serving(
            "alpha", providers={"ollama": {"type": "ollama", "base_url": server.url}}, **config
        ) as world:
            explained = world.service.explain("hi", model="a", user="u")
            assert explained.first == ModelRef("alpha", "m")
            response = await world.service.generate("hi", model="a", user="u")
            assert response.provider == "alpha"
            assert response.trace is not None
            assert [entry.outcome for entry in response.trace.candidates] == ["skipped", "answered"]
            assert response.trace.candidates[0].reason == explained.candidates[0].reason
            assert len(response.trace.attempts) == 1
            assert server.calls_to("/api/chat") == []
            assert (await world.service.generate("hi", model="a")).provider == "ollama"


async def test_a_model_that_is_too_slow_for_the_time_left_is_passed_over() -> None:
    """How long it takes to begin is learnt from its streams."""
    clock = FakeClock(auto_advance=True)
    async with serving("alpha", "beta", clock=clock, **chain("alpha", "beta")) as world:
        for _ in range(4):
            world.alpha.will_stream("slow", delay=3.0)
            await world.service.stream("hi", model="a").response()
        response = await world.service.generate("hi", model="a", timeout=2)
        assert response.provider == "beta"
        assert world.service.explain("hi", model="a", timeout=2).first == ModelRef("beta", "m")
        assert world.service.explain("hi", model="a", timeout=20).first == ModelRef("alpha", "m")
        await clock.advance(61.0)
        assert world.service.explain("hi", model="a", timeout=2).first == ModelRef("alpha", "m")


async def test_F52_G15_a_refusal_that_is_routed_around_is_in_the_audit_log(tmp_path: Path) -> None:
    """Who would not answer, and who was asked instead; nothing of what was asked."""
    options = AuditOptions(path=str(tmp_path / "audit.jsonl"))
    async with serving("alpha", "beta", **chain("alpha", fallback_on={"content_filter": "beta"})) as world:
        audit = AuditLog(world.events, lambda: options, SystemClock())
        await audit.start()
        failing(world, "alpha", "content_filter")
        await world.service.generate("a delicate question", model="a")
        await audit.stop()
    records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    (refusal,) = [record for record in records if record.get("kind") == "refusal"]
    assert (refusal["refused_by"], refusal["asked_instead"]) == ("alpha/m", "beta/m")
    assert "delicate" not in json.dumps(refusal)


async def test_a_provider_that_is_named_without_a_model_is_not_tried_twice_either() -> None:
    """Its default model is the one that failed."""
    async with serving(*FOUR, **chain("alpha", "gamma", fallback_on={"outage": ["alpha", "beta"]})) as world:
        failing(world, "alpha")
        response = await world.service.generate("hi", model="a")
        assert response.provider == "beta"
        assert len(world.alpha.requests) == 1
