"""The configuration is edited while answers are streamed: HR-02, HR-06, HR-09, F117."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.container import Container
from core.llm import (
    ConfigApplied,
    ConfigRejected,
    EventBus,
    LLMService,
    LLMStream,
    ProviderModule,
    RuntimeRetired,
    UnknownModel,
)
from core.llm.testing import EventRecorder, WireServer
from core.llm.testing.wire_dialects import openai_answer, openai_stream
from core.llm.testing.wire_steps import End, Head, Send, Stall, WaitFor, WireScript, answer

pytestmark = pytest.mark.leakcheck

TEXT = "one answer of five words"
RELOAD = "  reload: {debounce: 20ms, poll_interval: 200ms}\n  health_check: {enabled: false}\n"
ENDLESS = {"local": {"ignore_eos": True}}


def hosted(url: str, *, model: str = "m", key: str = "k", extra: str = "") -> str:
    """One hosted provider behind the alias `fast`."""
    return (
        "llm_service:\n  default_model: fast\n"
        f"  models: {{fast: acme/{model}}}\n  providers:\n"
        f"    acme: {{type: openai_compatible, base_url: '{url}', api_key: {key}, models: [{model}]}}\n{extra}{RELOAD}"
    )


def local(*, model: str = "path: embedded", provider: str = "") -> str:
    """The embedded model, with settings of its own and of its provider."""
    return (
        "llm_service:\n  default_model: local/tiny\n  providers:\n"
        f"    local: {{type: llama_cpp, models: {{tiny: {{{model}}}}}{provider}}}\n{RELOAD}"
    )


class Live:
    """A started container whose configuration is a file."""

    def __init__(self, container: Container, path: Path, events: EventRecorder) -> None:
        self.path = path
        self.events = events
        self.llm = container.get(LLMService)

    async def edit(self, text: str, outcome: type = ConfigApplied) -> Any:
        """Save *text* and return the event that says what became of it."""
        self.events.clear()
        self.path.write_text(text)
        return await self.events.wait_for(outcome, nth=1)

    async def begin(self, model: str | None = None, **options: Any) -> tuple[LLMStream, str]:
        """A stream that has begun, and its first words."""
        stream = await self.llm.stream("Tell me something", model=model, **options).open()
        text = ""
        while not text:
            text += (await anext(stream)).text
        return stream, text


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    """Start a container on a configuration."""
    path = tmp_path / "llm.yaml"
    started: list[tuple[Container, EventRecorder]] = []

    async def start(text: str) -> Live:
        path.write_text(text)
        container = Container([ProviderModule(path, env={})])
        await container.start()
        recorder = EventRecorder(container.get(EventBus))
        started.append((container, recorder))
        return Live(container, path, recorder)

    yield start
    for container, recorder in started:
        await container.stop()
        recorder.close()


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    """Gives the first word at once and the others when `release` is set."""
    async with WireServer() as running:
        running.release = asyncio.Event()
        role, first, *rest = map(Send, openai_stream(TEXT))
        sse = Head(200, {"Content-Type": "text/event-stream"})
        running.otherwise(WireScript((sse, role, first, WaitFor(running.release), *rest, End())))
        yield running


async def rest_of(stream: LLMStream) -> str:
    """What is still to come, to the proper end."""
    text = "".join([event.text async for event in stream])
    assert (await stream.response()).finish_reason.unified == "stop"
    return text


EDITS = {
    "broken YAML": (lambda url: hosted(url).replace("{fast:", "{fast: [", 1), ConfigRejected, "m"),
    "alias changed": (lambda url: hosted(url, model="other"), ConfigApplied, "other"),
    "provider's timeout changed": (
        lambda url: hosted(url).replace("models: [m]", "models: [m], timeouts: {idle: 31s}"),
        ConfigApplied,
        "m",
    ),
}


@pytest.mark.parametrize("name", EDITS)
async def test_a_stream_does_not_notice_an_edit(live: Callable[[str], Any], server: WireServer, name: str) -> None:
    """It ends whole on what it began with; the next call goes where the file then says."""
    edit, outcome, then = EDITS[name]
    running = await live(hosted(server.url))
    stream, text = await running.begin()
    event = await running.edit(edit(server.url), outcome)
    if outcome is ConfigRejected:
        issue = event.issues[0]
        assert (Path(issue.file).name, issue.line) == ("llm.yaml", 3)
        assert issue.column
    server.release.set()
    assert text + await rest_of(stream) == TEXT
    async with running.llm.stream("again") as after:
        assert (await after.response()).content == TEXT
    assert [request.json()["model"] for request in server.requests] == ["m", then]


async def test_a_provider_that_is_removed_finishes_its_streams_and_takes_no_more(
    live: Callable[[str], Any], server: WireServer
) -> None:
    """Then its connections are closed."""
    running = await live(hosted(server.url))
    stream, text = await running.begin()
    spare = hosted("http://127.0.0.1:9").replace("acme", "spare")
    await running.edit(spare)
    with pytest.raises(UnknownModel, match="acme"):
        await running.llm.generate("x", model="acme/m")
    assert "acme" not in running.llm.get_provider_status()
    server.release.set()
    assert text + await rest_of(stream) == TEXT
    retired = await running.events.wait_for(RuntimeRetired, nth=1)
    assert not retired.forced
    async with asyncio.timeout(20):
        await server.connections[0].ended.wait()


async def test_an_unrelated_setting_keeps_the_process_of_a_local_model(live: Callable[[str], Any]) -> None:
    """Also while it generates; its stream goes on, on the same process."""
    running = await live(local())
    stream, _ = await running.begin(extra=ENDLESS)
    pid = (await running.llm.model_status("local/tiny")).pid
    await running.edit(local(model="path: embedded, defaults: {temperature: 0.1}, context_window: 900"))
    await running.edit(local(provider=", timeouts: {total: 5m}"))
    assert (await running.llm.model_status("local/tiny")).pid == pid
    await anext(stream)
    await stream.aclose()
    assert (await running.llm.generate("hello")).content
    assert (await running.llm.model_status("local/tiny")).pid == pid


async def test_a_changed_context_moves_new_calls_to_a_new_process_and_the_stream_stays(
    live: Callable[[str], Any],
) -> None:
    """The old process goes when its last stream has ended, and not before."""
    running = await live(local())
    stream, _ = await running.begin(extra=ENDLESS, max_tokens=400)
    old = (await running.llm.model_status("local/tiny")).pid
    await running.edit(local(model="path: embedded, n_ctx: 512"))
    assert (await running.llm.generate("hello")).content
    new = (await running.llm.model_status("local/tiny")).pid
    assert new not in {old, None}
    assert psutil.pid_exists(old)
    async for _ in stream:
        pass
    assert (await stream.response()).usage.output == 400
    await running.events.wait_for(RuntimeRetired, nth=1)
    assert not psutil.pid_exists(old)
    assert psutil.pid_exists(new)


async def test_a_key_that_is_rotated_under_load_fails_no_call_F117(live: Callable[[str], Any]) -> None:
    """Calls in flight end with the old key, calls that begin after the edit carry the new one."""
    async with WireServer() as server:
        whole = answer(openai_answer("done"))
        server.otherwise(WireScript((Stall(0.03), *whole.steps)))
        running = await live(hosted(server.url, key="key-old-1"))
        failures: list[BaseException] = []
        answered = 0
        stopping = False

        async def client() -> None:
            nonlocal answered
            while not stopping:
                try:
                    assert (await running.llm.generate("x")).content == "done"
                    answered += 1
                except Exception as error:
                    failures.append(error)

        clients = [asyncio.create_task(client()) for _ in range(20)]
        for key in ("key-new-2", "key-new-3"):
            await server.wait_for_requests(len(server.requests) + 60)
            in_flight_and_before = len(server.requests)
            await running.edit(hosted(server.url, key=key))
            swapped = len(server.requests)
            await server.wait_for_requests(swapped + 60)
            used = [request.headers["authorization"] for request in server.requests]
            assert f"Bearer {key}" not in used[:in_flight_and_before]
            # Each client may have begun one call before the edit.
            assert sum(one != f"Bearer {key}" for one in used[swapped:]) <= 20
            assert used[-1] == f"Bearer {key}"
        stopping = True
        await asyncio.gather(*clients)
    assert failures == []
    assert answered == len(server.requests) > 200
    used = [request.headers["authorization"] for request in server.requests]
    assert used == sorted(used, key=["Bearer key-old-1", "Bearer key-new-2", "Bearer key-new-3"].index)
