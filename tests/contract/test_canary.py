"""One unique secret through the whole service: it reaches the server it is meant for, and shows nowhere else.

Every path is taken (answers, streams, refusals, outages, edits good and bad), and afterwards everything that a host,
a log reader or a debugger could see is searched for the secret in all its forms.
"""

import asyncio
import logging

import pytest
from loguru import logger

from core.container import Container
from core.llm import (
    CallFinished,
    ConfigApplied,
    ConfigError,
    ConfigRejected,
    EventBus,
    LLMError,
    LLMProviderFactory,
    LLMService,
    ProviderConfigManager,
    ProviderModule,
)
from core.llm.testing import EventRecorder, SecretCanary, UpstreamAnswer
from tests.contract.ollama_upstream import OllamaUpstream
from tests.contract.openai_upstream import OpenAIUpstream

PROVIDERS = {"openai": OpenAIUpstream, "openai_compatible": OpenAIUpstream, "ollama": OllamaUpstream}
FAILURES = ("unauthorised", "rate_limited", "model_not_found", "invalid_request", "server_error", "not_an_answer")

CONFIG = """
llm_service:
  default_model: acme/contract-model
  retry: {{max_retries: 1, initial_delay: 1ms, max_delay: 2ms, max_retry_after: 1ms}}
  health_check: {{enabled: false}}
  reload: {{debounce: 20ms, poll_interval: 100ms}}
  providers:
    acme:
      type: {kind}
      base_url: {url}
      api_key: {key}
      models: [contract-model]
      headers:
        x-tenant: {key}
"""


@pytest.fixture
def canary():
    return SecretCanary()


@pytest.fixture
def seen(capfd):
    """Everything that is logged, in the most talkative way there is: tracebacks with the values of variables."""
    lines: list[str] = []
    sink = logger.add(lines.append, level=0, diagnose=True, backtrace=True, format="{message} {extra} {exception}")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter().format(record))

    handler, root = Handler(0), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(0)
    yield lines
    root.setLevel(level)
    root.removeHandler(handler)
    logger.remove(sink)


async def failing(call) -> LLMError:
    """The error of *call*, logged as a host would log it."""
    try:
        await call
    except LLMError as error:
        logger.opt(exception=error).error("a call failed: {}", error)
        return error
    raise AssertionError("the call should have failed")


async def read(llm: LLMService, prompt: str) -> list[object]:
    """All events of a stream."""
    async with llm.stream(prompt) as stream:
        return [event async for event in stream]


class Running:
    """A service on a configuration file, and everything that came out of it."""

    def __init__(self, kind, upstream, canary, path) -> None:
        self.kind, self.upstream, self.canary, self.path = kind, upstream, canary, path
        self.found: dict[str, object] = {}

    def write(self, url: str, key: str) -> None:
        self.path.write_text(CONFIG.format(kind=self.kind, url=url, key=key))

    async def __aenter__(self):
        self.write(self.upstream.url, "${ACME_KEY}")
        self.container = Container([ProviderModule(self.path, env={"ACME_KEY": self.canary.secret})])
        await self.container.start()
        self.llm = self.container.get(LLMService)
        self.events = EventRecorder(self.container.get(EventBus))
        return self

    async def __aexit__(self, *_):
        if self.canary.secret in self.path.read_text():
            self.path.unlink()  # the test wrote it there itself
        self.found |= {
            "explain": self.llm.explain("hi"),
            "status": self.llm.get_provider_status(),
            "models": self.llm.get_available_models(),
            "events": list(self.events),
            "traces": [event.trace.describe() for event in self.events.of(CallFinished)],
            "reprs": [repr(self.container.get(key)) for key in (LLMService, LLMProviderFactory, ProviderConfigManager)],
            "config": repr(self.container.get(ProviderConfigManager).current),
        }
        await self.container.stop()


@pytest.fixture(params=PROVIDERS)
async def running(request, canary, seen, tmp_path, capfd):
    """A running service; when the test is over, all that can be seen of it is searched."""
    async with PROVIDERS[request.param]() as upstream:
        async with Running(request.param, upstream, canary, tmp_path / "llm.yaml") as running:
            yield running
        assert upstream.received, "the test has not reached the server"
        assert not canary.find(str(upstream.received)), "a body of a request holds the credential"
    found = {**running.found, "log": seen, "output": capfd.readouterr(), "files": tmp_path}
    assert [f"{name}: {leak}" for name, thing in found.items() for leak in canary.find(thing)] == []


async def test_answers_do_not_show_the_secret(running):
    """Nor do streams, nor a call that was cancelled."""
    upstream, llm = running.upstream, running.llm
    upstream.answer(UpstreamAnswer(("fine",)))
    running.found["answer"] = await llm.generate("hi")
    upstream.answer(UpstreamAnswer(("fi", "ne")))
    running.found["stream"] = await read(llm, "hi")
    upstream.answer(UpstreamAnswer(("Hel", "lo"), hold_after=1))
    task = asyncio.create_task(llm.generate("hi"))
    while not upstream.open_calls:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    running.found["cancellation"] = cancelled.value

    assert running.found["answer"].content == "fine"


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stream", [False, True], ids=["generate", "stream"])
async def test_failures_do_not_show_the_secret(running, seen, failure, stream):
    """Not even where the provider's own error text repeats it."""
    for _ in range(4):
        running.upstream.fail(failure, secret=running.canary.secret)
    call = read(running.llm, "hi") if stream else running.llm.generate("hi")
    running.found["error"] = await failing(call)

    assert any("a call failed" in line for line in seen)


async def test_a_cut_stream_does_not_show_the_secret(running):
    """Nor does what had been delivered before."""
    running.upstream.answer(UpstreamAnswer(("Hel", "lo"), cut_after=1))
    running.found["error"] = await failing(read(running.llm, "hi"))

    assert running.found["error"].partial.text == "Hel"


async def test_an_outage_does_not_show_the_secret(running):
    """Network errors carry addresses and headers in many libraries; not here."""
    running.upstream.answer(UpstreamAnswer())
    await running.llm.generate("hi")
    running.upstream.fail("unreachable", secret=running.canary.secret)
    running.found["error"] = await failing(running.llm.generate("hi"))

    assert running.found["error"].type == "network_error"


async def test_edits_do_not_show_the_secret(running):
    """A good edit reports that the key changed, a bad one where it is wrong; neither says the key."""
    running.upstream.answer(UpstreamAnswer())
    await running.llm.generate("hi")
    secret = running.canary.secret
    running.write("https://user:pass", f"'{secret}'\n  {secret}")
    running.found["refused"] = await running.events.wait_for(ConfigRejected)
    running.write(running.upstream.url, SecretCanary().secret)
    running.found["applied"] = await running.events.wait_for(ConfigApplied)

    assert running.found["refused"].issues


@pytest.mark.parametrize(
    "broken",
    [
        "llm_service: {{providers: {{acme: {{type: openai, api_key: {key}, api_kee: {key}}}}}}}",
        "llm_service: {{providers: {{acme: {{type: openai, api_key: [{key}]}}}}}}",
        "llm_service: {{providers: {{acme: {{type: openai, api_key: x, timeouts: {key}}}}}}}",
        "llm_service: {{providers: {{acme: {{type: {key}}}}}}}",
        "llm_service: {{providers: {{acme: {{type: openai, api_key: x, base_url: 'http://u:{key}@host/'}}}}}}",
        "llm_service: {{providers: {{acme: {{type: openai, api_key: x, headers: {{a: ['{key}']}}}}}}}}",
        "llm_service: {{state: {{backend: redis, url: {{a: '{key}'}}}}}}",
        "llm_service: {{providers: {{acme: {{type: openai, api_key: '{key}'",
    ],
)
async def test_a_refused_configuration_does_not_repeat_the_secret(broken, canary, seen, tmp_path):
    """The error names the place and the rule, never the value."""
    path = tmp_path / "llm.yaml"
    path.write_text(broken.format(key=canary.secret))

    with pytest.raises((ConfigError, ExceptionGroup)) as caught:
        async with Container([ProviderModule(path, watch=False, env={})]):
            pass
    logger.opt(exception=caught.value).error("no start: {}", caught.value)

    assert canary.find(caught.value, seen) == []
