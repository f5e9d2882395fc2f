"""The scripted provider: says what it was told, remembers what it was asked, waits where it was told to."""

import asyncio

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage
from core.llm.providers.base.provider import Embedder, HealthReport, ModelHost
from core.llm.providers.base.response import StreamFinish, StreamStart, TextDelta, UsageReport
from core.llm.testing import (
    SCRIPTED,
    SCRIPTED_HOST,
    FakeClock,
    Gate,
    Pause,
    Script,
    ScriptedConfig,
    ScriptedModelHost,
    ScriptedProvider,
    provider_services,
)
from tests.unit.testing.requests import chat, embedding


async def test_it_echoes_by_default():
    """A test that does not care about the answer needs no script."""
    response = await ScriptedProvider().generate(chat("hello there"))

    assert response.content == "hello there"
    assert response.finish_reason.unified == "stop"
    assert response.usage == Usage(input=2, output=2)
    assert (response.provider, response.model) == ("scripted", "tiny")


async def test_it_answers_in_the_order_of_its_script():
    """One queued reply per call, then the echo again."""
    provider = ScriptedProvider(name="alpha")
    provider.will_answer("first", usage=Usage(input=3, output=4))
    provider.will_answer(thinking="hm", tool_calls=[{"id": "c1", "name": "add", "arguments": {"a": 1}}])

    first = await provider.generate(chat())
    second = await provider.generate(chat())
    third = await provider.generate(chat("bye"))

    assert (first.content, first.usage, first.provider) == ("first", Usage(input=3, output=4), "alpha")
    assert second.tool_calls == (ToolCall("c1", "add", {"a": 1}),)
    assert (second.thinking, second.finish_reason.unified) == ("hm", "tool_calls")
    assert third.content == "bye"


async def test_a_stream_has_the_shape_of_every_stream():
    """Start first, pieces as scripted, usage, finish last."""
    provider = ScriptedProvider()
    provider.will_stream("Hel", "lo")

    events = [event async for event in provider.stream_generate(chat())]

    assert [type(event) for event in events] == [StreamStart, TextDelta, TextDelta, UsageReport, StreamFinish]
    assert [event.text for event in events] == ["", "Hel", "lo", "", ""]


async def test_an_error_in_the_middle_comes_after_what_was_delivered():
    """The pieces before the error arrive, the error names the provider and the model."""
    provider = ScriptedProvider(name="alpha")
    provider.will_stream("Hel", ProviderError("network_error", "gone", code="body_cut"))
    seen = []

    with pytest.raises(ProviderError) as caught:
        async for event in provider.stream_generate(chat()):
            seen.append(event.text)

    assert "".join(seen) == "Hel"
    assert (caught.value.provider, caught.value.model) == ("alpha", "tiny")
    assert provider.script.outcomes == {"failed": 1}


async def test_will_raise_fails_before_any_output():
    """Not even the start of a stream is seen."""
    provider = ScriptedProvider()
    provider.will_raise(ProviderError("rate_limit", "slow down", retry_after=2))

    with pytest.raises(ProviderError, match="slow down"):
        await anext(aiter(provider.stream_generate(chat())))


async def test_a_gate_holds_a_call_until_the_test_opens_it():
    """A stream can be paused between two pieces without sleeping."""
    provider = ScriptedProvider()
    (gate,) = provider.will_stream("Hel", Gate(), "lo")
    seen: list[str] = []

    async def read() -> None:
        async for event in provider.stream_generate(chat()):
            seen.append(event.text)

    task = asyncio.create_task(read())
    await gate.reached()

    assert ("".join(seen), gate.waiting, provider.script.active) == ("Hel", 1, 1)

    gate.open()
    await task

    assert ("".join(seen), gate.waiting, provider.script.active) == ("Hello", 0, 0)


async def test_a_held_call_that_is_cancelled_is_counted_as_cut():
    """A test can tell that its cancellation has reached the provider."""
    provider = ScriptedProvider()
    gate = provider.will_hold("never said")
    task = asyncio.create_task(provider.generate(chat()))
    await gate.reached()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert provider.script.active == 0
    assert provider.script.outcomes["cut"] == 1


async def test_delays_pass_on_the_clock_of_the_test():
    """A slow provider takes no real time."""
    clock = FakeClock()
    provider = ScriptedProvider(services=provider_services("slow", clock=clock))
    provider.will_stream("a", Pause(10), "b", delay=5)
    task = asyncio.create_task(provider.generate(chat()))

    await clock.advance(14.9)
    assert not task.done()
    await clock.advance(0.1)

    assert (await task).content == "ab"


async def test_it_remembers_what_it_was_asked():
    """The request a provider got is what many tests are about."""
    provider = ScriptedProvider()

    await provider.generate(chat("one", temperature=0.5))
    await provider.generate(chat("two"))

    assert provider.script.prompts == ["one", "two"]
    assert provider.requests[0].params.temperature == 0.5
    assert provider.script.last_request is provider.requests[-1]


async def test_a_strict_script_fails_the_test_that_calls_too_often():
    """With `then="fail"` an unexpected call is an error that says what to do."""
    provider = ScriptedProvider(script=Script(then="fail"))

    with pytest.raises(AssertionError, match="queue one with will_answer"):
        await provider.generate(chat())


async def test_a_repeating_script_repeats_its_last_reply():
    """One reply serves any number of calls."""
    provider = ScriptedProvider(script=Script(then="repeat"))
    provider.will_answer("again")

    assert [(await provider.generate(chat())).content for _ in range(3)] == ["again"] * 3


async def test_vectors_depend_on_the_text_only():
    """Equal texts have equal vectors, in the order of the inputs."""
    provider = ScriptedProvider()
    assert isinstance(provider, Embedder)

    first = await provider.embed(embedding("a", "b", "a", dimensions=4))

    assert first[0] == first[2] != first[1]
    assert (len(first), first.dimensions, first.usage.input) == (3, 4, 3)


async def test_vectors_and_their_failure_can_be_scripted():
    """What a test needs exactly, it says exactly."""
    provider = ScriptedProvider(name="alpha")
    provider.will_embed([[1.0, 0.0]])
    provider.will_embed(ProviderError("rate_limit", "later"))

    assert (await provider.embed(embedding("a"))).vectors == ((1.0, 0.0),)
    with pytest.raises(ProviderError, match="alpha/tiny: later"):
        await provider.embed(embedding("a"))
    assert len(provider.script.embeddings) == 2


async def test_a_model_host_loads_and_unloads():
    """What residency does can be followed without a model."""
    host = ScriptedModelHost()
    assert isinstance(host, ModelHost)
    steps = []

    loaded = await host.load_model("big", steps.append)
    listed = await host.list_models()
    gone = await host.unload_model("big")

    assert (loaded.state, [model.name for model in listed], gone.state) == ("ready", ["big"], "unloaded")
    assert [step.completed for step in steps] == [0.0, 1.0]
    assert host.log == [("load", "big"), ("unload", "big")]


async def test_a_plain_scripted_provider_is_no_model_host():
    """Code that asks for the protocol takes the right branch."""
    assert not isinstance(ScriptedProvider(), ModelHost)


async def test_health_is_what_the_test_says():
    """A provider can be made unhealthy without an outage."""
    provider = ScriptedProvider()
    provider.health = HealthReport(healthy=False, detail="down")

    assert (await provider.health_check()).healthy is False


def test_the_specs_lead_to_their_classes():
    """`type: scripted` and `type: scripted_host` can be built by the factory."""
    assert SCRIPTED.config_class() is ScriptedConfig
    assert SCRIPTED.provider_class() is ScriptedProvider
    assert SCRIPTED_HOST.provider_class() is ScriptedModelHost


async def test_answers_come_from_the_configuration():
    """YAML alone can describe answers, pieces and failures."""
    config = ScriptedConfig.model_validate(
        {
            "type": "scripted",
            "then": "repeat",
            "answers": [
                "plain",
                {"pieces": ["a", "b"]},
                {"tool_calls": [{"id": "1", "name": "f", "arguments": {}}]},
                {"error": "rate_limit", "retry_after": 3},
            ],
        }
    )
    provider = ScriptedProvider(config, provider_services("yaml"))

    assert (await provider.generate(chat())).content == "plain"
    assert (await provider.generate(chat())).content == "ab"
    assert (await provider.generate(chat())).tool_calls[0].name == "f"
    for _ in range(2):
        with pytest.raises(ProviderError) as caught:
            await provider.generate(chat())
        assert (caught.value.type, caught.value.retry_after) == ("rate_limit", 3)


async def test_a_single_answer_needs_no_list():
    """`answers: hi` is enough."""
    provider = ScriptedProvider(ScriptedConfig.model_validate({"answers": "hi"}))

    assert (await provider.generate(chat())).content == "hi"


async def test_a_named_script_steers_a_provider_that_yaml_describes():
    """The test holds the script, the configuration names it."""
    script = Script.named("steered")
    script.will_answer("from the test")
    provider = ScriptedProvider(ScriptedConfig(script="steered"))

    assert (await provider.generate(chat("x"))).content == "from the test"
    assert script.prompts == ["x"]


def test_a_named_script_that_nobody_holds_is_an_error():
    """A typing mistake in the YAML of a test is found, and scripts never leak into the next test."""
    with pytest.raises(ValueError, match=r"Script\.named\('nobody'\)"):
        ScriptedProvider(ScriptedConfig(script="nobody"))
